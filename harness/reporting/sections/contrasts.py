"""Two arms against each other: every two strategies, and what was declared beforehand."""

from __future__ import annotations

from harness import numbers
from harness.analysis import Analysis
from harness.analysis.decisions import ALPHA
from harness.records import Comparison
from harness.reporting.markdown import arm_name, code, paragraphs, table
from harness.sanitize import for_markdown


def strategy_pairs_section(analysis: Analysis) -> str:
    """Every two strategies against each other, one Benjamini–Hochberg family."""
    if not analysis.pairs:
        return ""
    stages = len({item.a.stage for item in analysis.pairs}) > 1
    rows = [
        [
            arm_name(item.b) if stages else code(item.b.strategy),
            code(item.a.strategy),
            numbers.points(item.delta),
            numbers.outcomes(item),
            numbers.p_value(item.adjusted_p),
            "yes" if item.adjusted_p <= ALPHA else "cannot tell",
        ]
        for item in sorted(analysis.pairs, key=lambda item: (item.a.stage, item.adjusted_p))
    ]
    columns = ["strategy", "against", "difference", "wins / losses / ties", "p (BH)", "differs"]
    return paragraphs(
        table(columns, rows, left=2),
        f"At {code(analysis.level)}, all {numbers.size(len(rows), 'pair')} in one family; "
        "intervals are not adjusted. What is not told apart is not shown to be equal.",
    )


def contrasts_section(analysis: Analysis, declared: str = "") -> str:
    """The contrasts declared in the experiment, one Holm family; ``declared`` says when."""
    if not analysis.declared:
        return ""
    rows = [_contrast_row(item) for item in analysis.declared]
    columns = ["contrast", "b − a", "wins / losses / ties", "p", "p (Holm)"]
    return paragraphs(
        table(columns, rows),
        f"Declared {declared or 'in the file'}; p adjusted together by Holm's method, intervals "
        "unadjusted.",
    )


def _contrast_row(item: Comparison) -> list[str]:
    return [
        f"{for_markdown(item.contrast)}: {code(str(item.b))} − {code(str(item.a))}",
        numbers.points(item.delta),
        numbers.outcomes(item),
        numbers.p_value(item.p),
        numbers.p_value(item.adjusted_p),
    ]
