"""Scores and shares per category, and of the items that the headline leaves out."""

from __future__ import annotations

from harness import numbers
from harness.analysis import Analysis, ConditionSummary
from harness.reporting.markdown import WIDEST, arm_name, code, paragraphs, table
from harness.sanitize import for_markdown


def by_category(analysis: Analysis) -> str:
    """Prompt-level strict accuracy per category at the reference level."""
    arms = _shown_arms(analysis)
    if not arms or not analysis.categories:
        return ""
    rows = []
    for category, n in analysis.categories.items():
        cells = [numbers.percent(_value(arm, category), 0) for arm in arms]
        rows.append([for_markdown(category), numbers.whole(n), *cells])
    heads = [arm_name(arm.condition) for arm in arms]
    return paragraphs(
        table(["category", "items", *heads], rows),
        f"At {code(analysis.level)}. Few items per category: read these as hints.",
        category_shares_section(analysis),
    )


def other_kinds(analysis: Analysis) -> str:
    """Items the headline leaves out, in a table of their own."""
    kinds = [kind for kind in analysis.kinds if kind not in analysis.headline_kinds]
    arms = _shown_arms(analysis)
    if not kinds or not arms:
        return ""
    rows = [
        [
            arm_name(arm.condition),
            *(numbers.rate(arm.kinds[kind]) for kind in kinds if kind in arm.kinds),
        ]
        for arm in arms
    ]
    heads = [f"{for_markdown(kind)} ({analysis.kinds[kind]})" for kind in kinds]
    return paragraphs(
        "A text to be continued is not an instruction, and the bare prompt is the right way to ask "
        "a base model for it: these items are scored here and stay out of the headline.",
        table(["arm", *heads], rows),
    )


def _shown_arms(analysis: Analysis) -> list[ConditionSummary]:
    """The arms of the reference level; the three that matter where all would not fit."""
    arms = [item for item in analysis.conditions if item.condition.level == analysis.level]
    wanted = analysis.headline_arms
    if len(arms) > WIDEST and wanted:
        return [a for a in arms if (a.condition.stage, a.condition.strategy) in wanted]
    return arms[: 2 * WIDEST]


def _value(arm: ConditionSummary, category: str) -> float | None:
    found = arm.categories.get(category)
    return found.value if found else None


def category_shares_section(analysis: Analysis) -> str:
    """The recovered share of the named winner in each category."""
    if not analysis.category_shares:
        return ""
    rows = [
        [
            for_markdown(item.category),
            numbers.whole(item.n),
            numbers.points(item.recovery.gain),
            numbers.points(item.recovery.gap),
            numbers.rate(item.recovery.share),
        ]
        for item in analysis.category_shares
    ]
    winner = analysis.category_shares[0].wrapper
    return paragraphs(
        f"What {arm_name(winner)} recovers in each category; intervals are for one category at a "
        "time, and the wrapper was picked on all of them:",
        table(["category", "items", "wrapper − raw", "instruct − raw", "recovered share"], rows),
    )
