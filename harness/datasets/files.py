"""The forms a suite comes in: JSONL, Parquet, a table (CSV), or plain prompts (text)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from harness.errors import SuiteError
from harness.intake import TEXT_BYTES, load_json, read_text, unknown_key

COLUMNS = ("id", "prompt", "target", "system", "category", "group")
"""Columns that a CSV suite may have; checks need JSONL."""

SEPARATOR = "---"
"""A line of its own between prompts of several lines in a text file."""


def rows(path: Path) -> Iterator[tuple[int, Any]]:
    """A suite file's rows, each with the line it begins on (Parquet: its number from 1)."""
    suffix = path.suffix.lower()
    if suffix in {".tsv", ".xlsx", ".json", ".yaml", ".yml"}:
        raise SuiteError(
            f"{path}: a suite is JSONL, CSV, text (a prompt a line) or Parquet, found a "
            f"{suffix} file; datasets/README.md shows a row"
        )
    if suffix == ".parquet":
        yield from enumerate(_parquet(path), 1)
    elif suffix == ".csv":
        yield from _table(path)
    elif suffix in {".txt", ".md"}:
        yield from _prompts(path)
    else:
        for number, line in text_lines(path):
            yield number, parse_line(line, f"{path}:{number}")


def _prompts(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """A prompt a line; or, where a line holds ``---`` alone, the texts between such lines."""
    lines = read_text(path, SuiteError).splitlines()
    if not any(line.strip() == SEPARATOR for line in lines):
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, {"prompt": line.strip()}
        return
    begin = 1
    held: list[str] = []
    for number, line in enumerate([*lines, SEPARATOR], 1):
        if line.strip() != SEPARATOR:
            held.append(line)
            continue
        if text := "\n".join(held).strip():
            yield begin, {"prompt": text}
        begin, held = number + 1, []


def _table(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with a header; an empty cell is a key that is not there."""
    reader = csv.reader(io.StringIO(read_text(path, SuiteError), newline=""), strict=True)
    try:
        header = next(reader, [])
        for name in header:
            if name not in COLUMNS:
                raise SuiteError(f"{path}:1: {unknown_key(name, COLUMNS)}; checks need JSONL")
        if "prompt" not in header or len(set(header)) < len(header):
            raise SuiteError(f"{path}:1: the header names a column prompt, and each column once")
        line = reader.line_num + 1
        for cells in reader:
            if len(cells) > len(header):
                raise SuiteError(
                    f"{path}:{line}: {len(cells)} cells under {len(header)} columns; "
                    "quote a cell that holds a comma"
                )
            row = {name: cell for name, cell in zip(header, cells, strict=False) if cell.strip()}
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise SuiteError(f"{path}:{reader.line_num}: not CSV: {error}") from error


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a JSONL file that hold something, numbered from 1; SuiteError if unreadable."""
    lines = read_text(path, SuiteError).split("\n")
    yield from ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def parse_line(line: str, where: str, *, surrogates: bool = False) -> Any:
    """The JSON value of one line; raises SuiteError naming ``where``.

    Half a surrogate pair is refused unless ``surrogates``: a prompt cannot hold one, while an
    answer is judged whatever it holds.
    """
    return load_json(line, where, SuiteError, surrogates=surrogates)


def _parquet(path: Path) -> list[dict[str, Any]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise SuiteError(
            f"{path}: reading Parquet needs pyarrow: pip install 'gguf-pair-harness[ifeval]'"
        ) from error
    if path.stat().st_size > TEXT_BYTES:
        raise SuiteError(f"{path}: {path.stat().st_size} bytes; at most {TEXT_BYTES} are read")
    try:
        return cast("list[dict[str, Any]]", parquet.read_table(path).to_pylist())
    except Exception as error:  # pyarrow's own tree, and what lies under it
        raise SuiteError(f"{path}: not a Parquet file that can be read: {error}") from error
