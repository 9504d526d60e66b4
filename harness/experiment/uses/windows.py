"""A text in windows: what is given, and what has to be predicted after it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.datasets.texts import Document

SHORTEST = 40
"""Characters of the shortest document that can be continued at all."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of one document: ``rest`` has to be predicted after ``context``.

    ``document`` is the document's number. ``context`` ends, and ``rest`` begins with white space,
    between two words wherever the text has any.
    """

    document: int
    context: str
    rest: str


def strided(
    documents: Sequence[Document], *, size: int, most: int | None = None
) -> tuple[Window, ...]:
    """The windows of each document, the first ``most`` of them when a number is given.

    Windows step by ``size`` characters and see up to ``size`` characters before them, so every
    character after the opening (the first quarter of a window) is predicted exactly once, with at
    least the opening as its context. Characters and not tokens are counted: every model, whatever
    its tokenizer, is asked for the same text after the same text.
    """
    found: list[Window] = []
    for number, document in enumerate(documents):
        text = document.text.rstrip()
        if len(text) < SHORTEST:
            continue
        mine: list[Window] = []
        begin = between_words(text, min(size, len(text)) // 4, 1)
        while begin < len(text) and (most is None or len(mine) < most):
            end = between_words(text, begin + size, begin + size // 2)
            mine.append(Window(number, _given(text, begin, size), text[begin:end]))
            begin = end
        found += mine
    return tuple(found)


def _given(text: str, begin: int, size: int) -> str:
    """What stands before a place, without the part of a word it would begin with."""
    given = text[max(0, begin - size) : begin]
    if begin <= size or text[begin - size - 1].isspace():
        return given.lstrip()
    whole = re.sub(r"^\S+\s+", "", given)
    return whole if len(whole) > size // 2 else given


def between_words(text: str, place: int, lowest: int) -> int:
    """The last place from ``place`` down to ``lowest`` where a word has ended, else ``place``."""
    if place >= len(text):
        return len(text)
    for found in range(place, lowest, -1):
        if text[found].isspace() and not text[found - 1].isspace():
            return found
    return place
