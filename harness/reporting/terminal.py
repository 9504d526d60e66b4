"""The table a run ends with in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis import Analysis
from harness.reporting import numbers
from harness.sanitize import for_terminal

if TYPE_CHECKING:
    from rich.table import Table


def summary_table(analysis: Analysis) -> Table:
    """One row per condition: score, recovered share against raw, how answers end, prompt cost.

    Numbers keep their line however narrow the terminal is; a long arm's name is folded.
    """
    from rich.table import Table
    from rich.text import Text

    headline = analysis.n_headline
    table = Table(
        title=Text(f"prompt-level strict accuracy on {numbers.size(headline, 'item')}, 95 %"),
        caption=Text(_caption(analysis)),
        title_justify="left",
        caption_justify="left",
        box=None,
        pad_edge=False,
    )
    levels = len({item.condition.level for item in analysis.conditions}) > 1
    table.add_column("arm", overflow="fold", vertical="bottom")
    if levels:
        table.add_column("level", no_wrap=True)
    for name in ("score", "recovered", "eos", "prompt\ntokens"):
        table.add_column(name, justify="right", no_wrap=True)
    for item in analysis.conditions:
        c = item.condition
        shares = [s for s in analysis.shares if s.wrapper == c and s.control.strategy == "raw"]
        cells = [
            f"{c.stage} {c.strategy}",
            *([c.level] if levels else []),
            numbers.rate(item.headline.prompt_strict),
            numbers.rate(shares[0].recovery.share) if shares else "",
            numbers.percent(item.eos_rate, 0),
            numbers.decimal(item.mean_prompt_tokens, 0),
        ]
        table.add_row(*(Text(for_terminal(cell)) for cell in cells))
    return table


def _caption(analysis: Analysis) -> str:
    best = analysis.best_at(analysis.level)
    if best is None:
        return ""
    name = for_terminal(best.winner.strategy)
    if best.recovery.share.value is None:
        return f"recovered share at {analysis.level}: {best.recovery.share.note}"
    return (
        f"at {for_terminal(analysis.level)} the best wrapper (overall {name}, judged on other "
        f"prompts than it was chosen on) recovers {numbers.rate(best.recovery.share)}"
    )
