"""How far the answer holds: per category, without the instruction, counted in other ways."""

from __future__ import annotations

from harness import numbers
from harness.analysis import Analysis
from harness.analysis.sensitivity import survival
from harness.reporting.markdown import arm_name, code, paragraphs, table
from harness.sanitize import for_markdown


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


def unasked_section(analysis: Analysis) -> str:
    """The ablated arms: what passes when the prompt holds no instruction."""
    if not analysis.ablations:
        return ""
    rows = []
    for item in analysis.ablations:
        bare = analysis.summary(item.ablated)
        score = numbers.rate(bare.headline.prompt_strict) if bare else numbers.NOTHING
        rows.append(
            [
                f"{arm_name(item.condition)} at {code(item.condition.level)}",
                score,
                numbers.points(item.effect),
                numbers.rate(item.unasked),
                numbers.rate(item.gained) if item.gained else numbers.NOTHING,
                numbers.rate(item.share) if item.share else numbers.NOTHING,
            ]
        )
    columns = [
        "arm",
        "score unasked",
        "asked − unasked",
        "of its passes, unasked",
        "of its gain over raw, unasked",
        "share recovered unasked",
    ]
    return paragraphs(
        "The same arms asked without the instruction, judged by the same checks. What passes "
        "unasked shows that the arm answers, not that it follows an instruction.",
        table(columns, rows),
        "The gain over raw counts the items that the arm passes and raw fails; the last column is "
        "(ablated − raw) / (instruct − raw).",
    )


def sensitivity_section(analysis: Analysis) -> str:
    """One table that says whether the verdict survives another way to count."""
    if not analysis.sensitivities:
        return ""
    rows = [
        [
            item.way,
            numbers.points(item.recovery.gain),
            numbers.points(item.recovery.rest),
            numbers.rate(item.recovery.share),
            f"{item.claims[0]}; {item.claims[1]}",
            "" if index == 0 else _survival(item.changes, item.survives),
        ]
        for index, item in enumerate(analysis.sensitivities)
    ]
    columns = ["answers counted", "wrapper − raw", "instruct − wrapper", "share", "claims"]
    winner = analysis.sensitivities[0].wrapper
    return paragraphs(
        survival(analysis.sensitivities),
        table([*columns, "survives"], rows),
        f"The wrapper is {arm_name(winner)} throughout; its choice is not made again here, and its "
        "intervals are not corrected for it.",
    )


def _survival(changes: bool, survives: bool) -> str:
    return ("yes" if survives else "no") if changes else "changes nothing"
