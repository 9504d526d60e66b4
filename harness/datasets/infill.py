"""Gaps to be filled: JSONL rows of prefix, suffix and reference, or HumanEval-infilling's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.datasets.files import parse_line, text_lines
from harness.errors import SuiteError
from harness.intake import shown, unknown_key

KEYS = ("id", "prefix", "suffix", "reference", "tests", "path", "repo", "files")
PUBLISHED = ("task_id", "entry_point", "prompt", "suffix", "canonical_solution", "test")
"""What a row of HumanEval-infilling holds (Bavarian et al. 2022, openai/human-eval-infilling)."""
MOST = 20_000


@dataclass(frozen=True, slots=True)
class Infill:
    """A text with a gap: ``reference`` stands between ``prefix`` and ``suffix``.

    ``tests`` is Python with assert, run behind the filled text (empty: none). ``path``, ``repo``
    and ``files`` (path, text) say where the text stands, and what stands beside it there.
    """

    id: str
    prefix: str
    suffix: str
    reference: str
    tests: str = ""
    path: str = ""
    repo: str = ""
    files: tuple[tuple[str, str], ...] = ()


def load_infill(paths: Sequence[Path], *, limit: int | None = None) -> tuple[Infill, ...]:
    """The gaps of these files in order, the first ``limit`` of them when one is given.

    Raises SuiteError naming file, line and key.
    """
    found: list[Infill] = []
    seen: dict[str, str] = {}
    for path in paths:
        before = len(found)
        for number, line in text_lines(path):
            where = f"{path}:{number}"
            item = _item(parse_line(line, where), where, f"{path.stem}-{number}")
            if item.id in seen:
                raise SuiteError(f"{where}: id: {item.id!r:.80} is already at {seen[item.id]}")
            seen[item.id] = where
            found.append(item)
            if len(found) > MOST:
                raise SuiteError(f"{where}: more than {MOST:,} gaps; give fewer")
        if len(found) == before:
            raise SuiteError(f"{path}: the file holds no gaps")
    return tuple(found[:limit])


def _item(row: Any, where: str, name: str) -> Infill:
    if not isinstance(row, dict):
        raise SuiteError(f"{where}: wanted an object with prefix, suffix, reference: {shown(row)}")
    if "canonical_solution" in row:
        return _published(row, where)
    for key in row:
        if key not in KEYS:
            raise SuiteError(f"{where}: {unknown_key(key, KEYS)}")
    texts = {key: _text(row, key, where) for key in ("prefix", "suffix", "reference")}
    if not texts["reference"].strip():
        raise SuiteError(f"{where}: reference: the gap holds nothing to be filled in")
    rest = {key: _text(row, key, where, "") for key in ("tests", "path", "repo")}
    return Infill(_text(row, "id", where, name), **texts, **rest, files=_files(row, where))


def _published(row: Mapping[str, Any], where: str) -> Infill:
    held = {key: _text(row, key, where) for key in PUBLISHED}
    return Infill(
        id=held["task_id"],
        prefix=held["prompt"],
        suffix=held["suffix"],
        reference=held["canonical_solution"],
        tests=f"{held['test']}\n\ncheck({held['entry_point']})\n",
    )


def _files(row: Mapping[str, Any], where: str) -> tuple[tuple[str, str], ...]:
    given = row.get("files", [])
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise SuiteError(f'{where}: files: wanted a list of {{"path": ..., "text": ...}}')
    return tuple((_text(item, "path", where), _text(item, "text", where)) for item in given)


def _text(row: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = row.get(key, default)
    if not isinstance(value, str):
        what = "is required and missing" if key not in row else f"wanted a text: {shown(value)}"
        raise SuiteError(f"{where}: {key}: {what}")
    return value
