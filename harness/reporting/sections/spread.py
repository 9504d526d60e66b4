"""How far answers and scores vary when they are asked again."""

from __future__ import annotations

from dataclasses import replace

from harness import numbers
from harness.analysis import Analysis
from harness.analysis.values import Variance
from harness.reporting.markdown import arm_name, code, paragraphs, table
from harness.sanitize import for_markdown
from harness.stats.variance import COMPONENTS


def predictability_section(analysis: Analysis) -> str:
    """Agreement across seeds and paraphrases, pass-all beside the mean."""
    items = [item for item in analysis.predictability if item.condition.level == analysis.level]
    rows = [
        [
            arm_name(item.condition),
            item.kind,
            numbers.whole(item.agreement.n),
            numbers.decimal(item.agreement.repeats),
            numbers.percent(item.agreement.mean),
            numbers.percent(item.agreement.pass_all),
            numbers.percent(item.agreement.agreement),
        ]
        for item in items
    ]
    if not rows:
        return ""
    columns = ["arm", "repeats over", "items", "repeats", "mean", "pass all", "pairs that agree"]
    return table(columns, rows, left=2)


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
