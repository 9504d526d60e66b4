"""What a level costs, and how near a wrapper brings the base, token by token."""

from __future__ import annotations

from harness import numbers
from harness.analysis import Analysis
from harness.records import Condition
from harness.reporting.levels import TextTable, level_tables
from harness.reporting.markdown import arm_name, bullets, code, paragraphs, table
from harness.reporting.scrub import scrub_text
from harness.reporting.shift import shift_table
from harness.sanitize import for_markdown


def level_section(analysis: Analysis) -> str:
    """Scores and shares per level, what a level costs, and whether it costs wrappers more."""
    if len(analysis.levels) < 2:
        return ""
    return paragraphs(
        _level_table(analysis),
        *(text_table(item) for item in level_tables(analysis)),
        bullets(for_markdown(scrub_text(note)) for note in analysis.measured.notes),
        _level_costs(analysis),
        _interactions(analysis),
    )


def shift_section(analysis: Analysis) -> str:
    """How the base takes the instruct model's answers, raw and under every wrapper."""
    item = shift_table(analysis)
    return text_table(item) if item else ""


def text_table(item: TextTable) -> str:
    """A table that other presentations have too, in Markdown."""
    heads = [for_markdown(head) for head in item.heads]
    rows = [[code(row[0]), *row[1:]] for row in item.rows]
    return paragraphs(
        f"**{for_markdown(item.title)}**",
        table(heads, rows),
        bullets(for_markdown(note) for note in item.notes),
    )


def _level_table(analysis: Analysis) -> str:
    if analysis.raw is None or analysis.instruct is None:
        return ""
    rows = []
    for level in analysis.levels:
        raw = analysis.summary(_at(analysis.raw, level))
        instruct = analysis.summary(_at(analysis.instruct, level))
        best = analysis.best_at(level)
        bits = [item.bits_per_weight for item in (raw, instruct) if item]
        told = " / ".join(numbers.decimal(value, 2) for value in dict.fromkeys(bits))
        rows.append(
            [
                code(level),
                told or numbers.NOTHING,
                numbers.rate(raw.headline.prompt_strict) if raw else numbers.NOTHING,
                numbers.rate(best.score) if best else numbers.NOTHING,
                numbers.rate(instruct.headline.prompt_strict) if instruct else numbers.NOTHING,
                numbers.rate(best.recovery.share) if best else numbers.NOTHING,
                numbers.rate(best.fixed) if best else numbers.NOTHING,
            ]
        )
    columns = [
        "level",
        "bits per weight",
        "raw",
        "best wrapper",
        "instruct",
        "share of the level's gap",
        f"share of the {code(analysis.level)} gap",
    ]
    return paragraphs(
        table(columns, rows),
        "Bits per weight are read from the files' tensors (base / instruct), not from the label. "
        f"The instruct side of every share is {_policy(analysis)}.",
    )


def _policy(analysis: Analysis) -> str:
    """At which level the instruct model stands in the shares of each level."""
    assert analysis.instruct is not None
    others = [level for level in analysis.levels if level != analysis.level]
    if all(analysis.summary(_at(analysis.instruct, level)) is None for level in others):
        return f"{arm_name(analysis.instruct)} at {code(analysis.level)}, whatever the level"
    return f"{arm_name(analysis.instruct)} at the same level"


def _level_costs(analysis: Analysis) -> str:
    wanted = analysis.headline_arms
    items = [
        item
        for item in analysis.explored
        if item.contrast.startswith("quantization:")
        and (not wanted or (item.b.stage, item.b.strategy) in wanted)
    ]
    rows = [
        [
            code(str(item.b)),
            numbers.points(item.delta),
            numbers.flips(item),
            numbers.p_value(item.adjusted_p),
        ]
        for item in items
    ]
    if not rows:
        return ""
    return paragraphs(
        f"Against {code(analysis.level)}, item by item:",
        table(["arm", "difference", "flips", "p (BH)"], rows),
    )


def _interactions(analysis: Analysis) -> str:
    """Difference in differences with the choice made at the reference level."""
    best = analysis.best_at(analysis.level)
    if best is None:
        return ""
    rows = [
        [code(item.level), numbers.points(item.interaction)]
        for item in analysis.best
        if item.interaction is not None
    ]
    if not rows:
        return ""
    return paragraphs(
        "Does quantization take more from the best wrapper than from raw? (best wrapper − raw) at "
        f"the level minus the same at {code(analysis.level)}, with the choice of wrapper made at "
        f"{code(analysis.level)} on other prompts; intervals are not adjusted for the number of "
        "levels:",
        table(["level", "difference in differences"], rows),
    )


def _at(condition: Condition, level: str) -> Condition:
    return Condition(condition.stage, level, condition.strategy)
