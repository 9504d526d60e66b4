"""How far the answer holds: without the instruction, counted in other ways, without a model."""

from __future__ import annotations

from harness import numbers
from harness.analysis import Analysis
from harness.analysis.sensitivity import survival
from harness.reporting.markdown import arm_name, code, paragraphs, table


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


def null_floor_section(analysis: Analysis) -> str:
    """The control responders: what the checks give to answers that no model wrote."""
    if not analysis.controls:
        return ""
    rows = [
        [
            code(item.condition.strategy),
            numbers.rate(item.headline.prompt_strict),
            numbers.rate(item.headline.inst_strict),
        ]
        for item in analysis.controls
    ]
    floor = analysis.floor
    told = (
        f"The null floor is {numbers.percent(floor.value)}, from {code(floor.control)}: the best "
        "responder that does not echo the prompt. Scores above it are (s − s0) / (1 − s0)."
        if floor
        else "No responder but the echo was run, so there is no null floor."
    )
    return paragraphs(
        "Responders that ask no model, judged by the same checks on the same items:",
        table(["responder", "prompt-level strict", "instruction-level strict"], rows),
        told,
    )
