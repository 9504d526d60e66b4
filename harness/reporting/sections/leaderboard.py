"""Every wrapper with its score, its recovered share, and what these must be read beside."""

from __future__ import annotations

from harness import numbers
from harness.analysis import Analysis, ConditionSummary
from harness.reporting.markdown import arm_name, bullets, code, paragraphs, table
from harness.sanitize import for_markdown


def leaderboard(analysis: Analysis) -> str:
    """Every wrapper with its score, recovered share and prompt cost, best first."""
    raw = analysis.summary(analysis.raw) if analysis.raw else None
    instruct = analysis.summary(analysis.instruct) if analysis.instruct else None
    if raw is None or not analysis.wrappers:
        return ""
    rows, notes = [], []
    for item in (*([instruct] if instruct else []), *analysis.wrappers, raw):
        share = analysis.share(item.condition, raw.condition)
        told = numbers.NOTHING if share is None else numbers.rate(share.recovery.share)
        if share is not None and share.recovery.share.note:
            notes.append(f"{code(item.condition.strategy)}: {share.recovery.share.note}")
        rows.append(
            [
                arm_name(item.condition),
                numbers.rate(item.headline.prompt_strict),
                numbers.percent(item.headline.null_corrected.value),
                told,
                numbers.decimal(item.mean_prompt_tokens, 0),
                numbers.decimal(item.mean_completion_tokens, 0),
                numbers.percent(item.eos_rate, 0),
            ]
        )
    columns = [
        "arm",
        "score",
        "above floor",
        "recovered share",
        "prompt tokens",
        "answer tokens",
        "ends by itself",
    ]
    return paragraphs(
        table(columns, rows),
        bullets(for_markdown(note) if "`" not in note else note for note in notes),
        "A strategy's own row is judged on the prompts it was compared on; only the best wrapper "
        "above is corrected for having been picked.",
        _beside_the_share(analysis, raw),
        _against_controls(analysis),
    )


def _beside_the_share(analysis: Analysis, raw: ConditionSummary) -> str:
    """What the share must be read beside: both differences, wins and losses, Fieller."""
    explored = {(item.a, item.b): item for item in analysis.explored}
    rows = []
    for item in analysis.wrappers:
        share = analysis.share(item.condition, raw.condition)
        test = explored.get((raw.condition, item.condition))
        if share is None or test is None:
            continue
        rows.append(
            [
                arm_name(item.condition),
                numbers.points(share.recovery.gain),
                numbers.points(share.recovery.rest),
                numbers.rate(share.recovery.fieller),
                numbers.outcomes(test),
                numbers.p_value(test.adjusted_p),
            ]
        )
    columns = [
        "arm",
        "wrapper − raw",
        "instruct − wrapper",
        "share, Fieller",
        "wins / losses / ties against raw",
        "p (BH)",
    ]
    return table(columns, rows) if rows else ""


def _against_controls(analysis: Analysis) -> str:
    """The recovered share with each control in raw's place."""
    controls = list(
        dict.fromkeys(
            share.control for share in analysis.shares if share.wrapper.level == analysis.level
        )
    )
    if len(controls) < 2:
        return ""
    rows = []
    for item in analysis.wrappers:
        cells = []
        for control in controls:
            share = analysis.share(item.condition, control)
            cells.append(numbers.NOTHING if share is None else numbers.rate(share.recovery.share))
        rows.append([arm_name(item.condition), *cells])
    heads = [code(control.strategy) for control in controls]
    return paragraphs(
        "Recovered share against each control, (W − C) / (I − C): strategies that are controls of "
        "others, and responders that ask no model.",
        table(["arm", *heads], rows),
    )
