"""Every arm per suite, and what is recovered in each."""

from __future__ import annotations

from harness import numbers
from harness.analysis import Analysis
from harness.reporting.markdown import arm_name, code, paragraphs, table


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
