"""Texts of the user's own, to be continued: files, folders of files, JSONL rows with a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.datasets.files import SEPARATOR, parse_line, text_lines
from harness.errors import SuiteError
from harness.intake import read_text, shown
from harness.resources import resource_dir

MOST = 10_000
"""Most documents that are taken from all files together."""


def locate_use(name: str, base_dir: Path = Path()) -> Path:
    """A file or folder of the user's, or a shipped one by its name (``tiny-texts``).

    Raises SuiteError naming what is shipped.
    """
    path = base_dir / name
    if path.exists():
        return path
    folder = resource_dir("datasets") / "uses"
    shipped = sorted(file.stem for file in folder.glob("*.jsonl"))
    if name in shipped:
        return folder / f"{name}.jsonl"
    raise SuiteError(f"there is no file {name!r:.80}; shipped: {', '.join(shipped) or 'none'}")


@dataclass(frozen=True, slots=True)
class Document:
    """One independent text and where it is from (``notes.txt``, ``notes.jsonl:3``)."""

    name: str
    text: str


def load_documents(paths: Sequence[Path], *, limit: int | None = None) -> tuple[Document, ...]:
    """The documents of these files in order, the first ``limit`` of them when one is given.

    A file is one document, or the texts between lines that hold ``---`` alone; a ``.jsonl`` file
    has one a row (``{"text": ...}``); a folder is its files by name. Raises SuiteError naming the
    file (and line) that cannot be read or holds nothing.
    """
    found: list[Document] = []
    for path in paths:
        for file in files_in(path):
            found += _documents(file)
            if len(found) > MOST:
                raise SuiteError(f"{file}: more than {MOST:,} documents; give fewer files")
    return tuple(found[:limit])


def files_in(path: Path) -> list[Path]:
    """The file itself, or a folder's files by name; SuiteError where it holds none."""
    if not path.is_dir():
        return [path]
    files = sorted(part for part in path.iterdir() if part.is_file())
    if not files:
        raise SuiteError(f"{path}: the folder holds no files to read")
    return files


def _documents(path: Path) -> list[Document]:
    if path.suffix.lower() == ".jsonl":
        return [_row(path, number, line) for number, line in text_lines(path)]
    text = read_text(path, SuiteError)
    parts: list[list[str]] = [[]]
    for line in text.splitlines(keepends=True):
        if line.strip() == SEPARATOR:
            parts.append([])
        else:
            parts[-1].append(line)
    texts = [body for part in parts if (body := "".join(part).strip("\n")).strip()]
    if not texts:
        raise SuiteError(f"{path}: the file holds no text")
    if len(texts) == 1:
        return [Document(path.name, texts[0])]
    return [Document(f"{path.name}#{number}", body) for number, body in enumerate(texts, 1)]


def _row(path: Path, number: int, line: str) -> Document:
    row = parse_line(line, f"{path}:{number}")
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise SuiteError(f'{path}:{number}: wanted {{"text": "..."}}, found {shown(row)}')
    return Document(f"{path.name}:{number}", text)
