"""The forms a suite comes in: JSONL, Parquet, a table (CSV), or plain prompts (text)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from harness.datasets.variables import PLACE
from harness.errors import SuiteError
from harness.intake import TEXT_BYTES, load_json, read_text, unknown_key

COLUMNS = ("id", "prompt", "target", "system", "category", "group", "ablated", "max_tokens")
"""Columns of a CSV suite that are keys of a row; checks need JSONL."""

METADATA = "metadata."
"""Begins the name of a column that is kept with the answers. Any other column is a variable."""

SEPARATOR = "---"
"""A line of its own between prompts of several lines in a text file."""


def rows(path: Path) -> Iterator[tuple[int, Any]]:
    """A suite file's rows, each with the line it begins on (Parquet: its number from 1).

    A row that cannot be read is a SuiteError without the place. Raises SuiteError where the file
    as a whole cannot be read.
    """
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
            where = f"{path}:{number}"
            try:
                yield number, parse_line(line, where)
            except SuiteError as error:
                yield number, SuiteError(str(error).removeprefix(f"{where}: "))


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


def _table(path: Path) -> Iterator[tuple[int, Any]]:
    """Rows of a CSV file with a header; an empty cell is a key that is not there."""
    text = read_text(path, SuiteError)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        _refuse_header(path, header, text)
        line = reader.line_num + 1
        for cells in reader:
            if len(cells) > len(header):
                yield (
                    line,
                    SuiteError(
                        f"{len(cells)} cells under {len(header)} columns; "
                        "quote a cell that holds a comma"
                    ),
                )
            elif row := _row(dict(zip(header, cells, strict=False))):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        yield reader.line_num, SuiteError(f"not CSV: {error}")


def _refuse_header(path: Path, header: Sequence[str], text: str) -> None:
    """Raise for a header without prompts, and for a column that nothing uses."""
    if not header:
        raise SuiteError(f"{path}: the suite has no rows")
    used = {match[1] for match in PLACE.finditer(text)}
    for name in header:
        if name not in COLUMNS and name not in used and not name.startswith(METADATA):
            raise SuiteError(
                f"{path}:1: {unknown_key(name, COLUMNS)}, {METADATA}NAME, and a variable that a "
                "prompt holds as {{NAME}}; checks need JSONL"
            )
    if "prompt" not in header or len(set(header)) < len(header):
        raise SuiteError(f"{path}:1: the header names a column prompt, and each column once")


def _row(cells: Mapping[str, str]) -> dict[str, Any]:
    """A line of a table as a row of a suite."""
    given = {name: cell for name, cell in cells.items() if cell.strip()}
    row: dict[str, Any] = {name: given[name] for name in COLUMNS if name in given}
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", row.get("max_tokens", "")):
        row["max_tokens"] = int(row["max_tokens"])
    metadata = {n.removeprefix(METADATA): c for n, c in given.items() if n.startswith(METADATA)}
    known = {*COLUMNS, *(METADATA + name for name in metadata)}
    variables = {name: cell for name, cell in given.items() if name not in known}
    return row | {
        name: part for name, part in (("metadata", metadata), ("variables", variables)) if part
    }


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
