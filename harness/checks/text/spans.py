"""Where in an answer a check found what it looks for, so that a reader can be shown it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

from harness.records import Span

MOST = 20
"""Places kept of one verdict: enough to look at, and a bound on what an answer can make us keep."""


def spans(matches: Iterable[Any]) -> tuple[Span, ...]:
    """The first places of regular-expression matches, empty ones left out."""
    return tuple(islice((m.span() for m in matches if m.end() > m.start()), MOST))


def occurrences(
    text: str,
    wanted: Iterable[str],
    *,
    ignore_case: bool = False,
    collapse_whitespace: bool = False,
    whole_words: bool = False,
) -> tuple[Span, ...]:
    """Where any of the wanted texts stands in the text as it is written, in order."""
    found = {
        place
        for item in wanted
        if item
        for place in spans(
            _literal(item, ignore_case, collapse_whitespace, whole_words).finditer(text)
        )
    }
    return tuple(sorted(found))[:MOST]


@lru_cache(maxsize=4096)
def _literal(text: str, ignore_case: bool, collapse: bool, whole: bool) -> re.Pattern[str]:
    source = r"\s+".join(map(re.escape, text.split())) if collapse else re.escape(text)
    if whole:
        source = rf"(?<!\w){source}(?!\w)"
    return re.compile(source, re.IGNORECASE if ignore_case else 0)


def line_spans(lines: Iterable[str], kept: Callable[[str], bool]) -> Iterator[Span]:
    """Where the lines lie that ``kept`` says yes to, of a text split at newlines."""
    start = 0
    for line in lines:
        if kept(line):
            yield start, start + len(line)
        start += len(line) + 1
