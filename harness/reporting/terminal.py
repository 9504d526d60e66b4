"""The table a run ends with in the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from harness import numbers
from harness.analysis import Analysis
from harness.records import Decision
from harness.reporting.levels import TextTable
from harness.sanitize import for_terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WHOLE_ROWS = 10_000
"""Columns of a table that no terminal shows: wide enough for any row."""


def table_console() -> Console:
    """The console that tables are printed on: as wide as the terminal, or as ``COLUMNS`` says.

    A pipe or a file gets every row on one line, however long its figures are.
    """
    from rich.console import Console

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WHOLE_ROWS
    return console


def summary_table(analysis: Analysis) -> Table:
    """One row per condition: score, recovered share against raw, how answers end, prompt cost.

    Numbers keep their line however narrow the terminal is; a long arm's name is folded.
    """
    from rich.table import Table
    from rich.text import Text

    headline = analysis.n_headline
    table = Table(
        title=Text(f"prompt-level strict accuracy on {numbers.size(headline, 'item')}, 95 %"),
        title_justify="left",
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


def plain_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of texts, the first column to the left and the others to the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for place, head in enumerate(heads):
        first = place == 0
        table.add_column(
            head,
            justify="left" if first else "right",
            overflow="fold",
            no_wrap=not first,
            vertical="bottom",
        )
    for row in rows:
        table.add_row(*(Text(for_terminal(cell)) for cell in row))
    return table


def print_tables(tables: Iterable[TextTable]) -> None:
    """Tables part by part as wide as the terminal is, their notes below."""
    from rich.console import Console

    console = Console()
    for item in tables:
        console.print(f"\n{for_terminal(item.title)}", markup=False, highlight=False)
        for heads, rows in item.parts(console.width):
            console.print(plain_table(heads, rows))
        for note in item.notes:
            console.print(for_terminal(note), markup=False, highlight=False)


def decision_lines(decisions: Sequence[Decision]) -> list[str]:
    """Decisions as lines of text, in the words of the report: verdict, sentence, what is open."""
    lines = []
    for item in decisions:
        lines.append(f"{item.topic} ({item.verdict}): {for_terminal(item.sentence)}")
        if item.settle:
            lines.append(f"    to settle it: {for_terminal(item.settle)}")
    return lines
