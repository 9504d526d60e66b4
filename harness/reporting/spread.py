"""The report's sections on variance and on several suites."""

from __future__ import annotations

from dataclasses import replace

from harness import numbers
from harness.analysis import Analysis
from harness.analysis.values import Variance
from harness.reporting.markdown import arm_name, code, paragraphs, table
from harness.sanitize import for_markdown
from harness.stats.variance import COMPONENTS


def variance_section(analysis: Analysis) -> str:
    """How much of the spread is item, template, paraphrase and seed."""
    if not analysis.variances:
        return ""
    known = {name for item in analysis.variances for name in item.parts.components}
    columns = [name for name in COMPONENTS if name in known]
    rows = [
        [
            for_markdown(item.stage),
            numbers.whole(len(item.arms)),
            numbers.whole(item.parts.units),
            *(_cell(item, name) for name in columns),
        ]
        for item in analysis.variances
    ]
    return paragraphs(
        f"Where the variance of pass and fail comes from at {code(analysis.level)}, over each "
        "stage's wrappers (the bare prompt left out), by the law of total variance:",
        table(["stage", "templates", "items", *columns], rows),
        *(_said(item) for item in analysis.variances),
    )


def _cell(item: Variance, name: str) -> str:
    found = item.parts.components.get(name)
    if found is None or item.parts.total <= 0:
        return numbers.NOTHING
    total = item.parts.total
    low, high = (None if end is None else end / total for end in (found.low, found.high))
    return numbers.rate(replace(found, value=item.parts.share(name), low=low, high=high))


def _said(item: Variance) -> str:
    """How sure "which wrapper is best" is, given how often each item was asked."""
    if len(item.arms) < 2:
        return ""
    best = max(item.parts.best)
    name = item.arms[item.parts.best.index(best)].strategy
    return (
        f"{for_markdown(item.stage)}: asking each item once, in one of its "
        f"{numbers.size(item.parts.phrasings, 'phrasing')} and with one of its "
        f"{numbers.size(item.parts.seeds, 'seed')}, {code(name)} comes out best in "
        f"{numbers.percent(best, 0)} of draws."
    )


def suites_section(analysis: Analysis) -> str:
    """Every arm per suite, pooled over items, and with suites weighed equally."""
    if not analysis.suite_scores:
        return ""
    names = list(analysis.suite_scores[0].suites)
    rows = [
        [
            arm_name(item.condition),
            *(numbers.rate(item.suites[name]) for name in names),
            numbers.rate(item.pooled),
            numbers.rate(item.equal),
        ]
        for item in analysis.suite_scores
    ]
    heads = [f"{code(name)} ({analysis.suite_scores[0].suites[name].n})" for name in names]
    return paragraphs(
        f"Prompt-level strict accuracy at {code(analysis.level)}. Pooled counts every item once, "
        "so the largest suite speaks loudest; the last column is the mean of the suites' scores.",
        table(["arm", *heads, "pooled", "suites weighed equally"], rows),
        _shares(analysis),
    )


def _shares(analysis: Analysis) -> str:
    found = analysis.suite_shares
    if found is None:
        return ""
    rows = [
        [code(name), numbers.points(item.gain), numbers.rate(item.share)]
        for name, item in found.suites.items()
    ]
    rows.append(["suites weighed equally", numbers.points(found.gain), numbers.rate(found.share)])
    return paragraphs(
        f"What {arm_name(found.wrapper)} recovers:",
        table(["suite", "wrapper − raw", "recovered share"], rows),
    )
