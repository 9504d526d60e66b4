"""A CSV file and its cells, which neither a spreadsheet nor a terminal will run."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.atomic import writing
from harness.numbers import cell
from harness.sanitize import for_csv, for_terminal

Row = dict[str, Any]

CELL = 32_767
"""Characters of the longest cell that spreadsheets take."""


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """A CSV with LF endings whose cells neither a spreadsheet nor a terminal will run."""
    with writing(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_cell(cell(row[name])) for name in columns])


def _cell(text: str) -> str:
    """A text as a cell: names and reasons repeat a million times, long texts do not."""
    return _short(text) if len(text) < 200 else _cut(for_csv(for_terminal(text)))


@lru_cache(maxsize=10_000)
def _short(text: str) -> str:
    return for_csv(for_terminal(text))


def _cut(text: str) -> str:
    """A cell no longer than a spreadsheet takes, saying how much is missing."""
    if len(text) <= CELL:
        return text
    return f"{text[: CELL - 60]}… ({len(text) - CELL + 60} more characters in samples.jsonl)"
