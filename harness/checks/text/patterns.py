"""Regular expressions written by suite authors: compiled once, and never left running."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from harness.checks.text.spans import spans
from harness.errors import CheckError
from harness.records import Span

TIMEOUT = 1.0
"""Seconds a user's pattern may take on one answer."""

_META = re.compile(r"[\\.^$*+?{}\[\]|()]")


class Pattern:
    """A pattern that is searched with a time limit unless it is plain text.

    ``re`` cannot be interrupted and some patterns take exponential time, so anything with a
    metacharacter runs in the ``regex`` package with :data:`TIMEOUT`.
    """

    def __init__(self, source: str, *, ignore_case: bool = False, multiline: bool = False) -> None:
        self.source = source
        self._timed = bool(_META.search(source.replace(r"\b", "")))
        flags = (re.IGNORECASE if ignore_case else 0) | (re.MULTILINE if multiline else 0)
        try:
            self._compiled: Any = (
                _compile(source, flags) if self._timed else re.compile(source, flags)
            )
        except Exception as error:  # regex.error, re.error, RecursionError, OverflowError
            raise CheckError(
                f"the pattern {source!r} is not a regular expression: {error}"
            ) from error

    def count(self, text: str) -> int:
        """How many non-overlapping matches there are; raises TimeoutError."""
        return sum(1 for _ in self._compiled.finditer(text, **self._limit))

    def ends(self, text: str) -> list[int]:
        """Where the non-overlapping matches end; raises TimeoutError."""
        return [match.end() for match in self._compiled.finditer(text, **self._limit)]

    def found(self, text: str) -> bool:
        """Whether there is a match anywhere; raises TimeoutError."""
        return self._compiled.search(text, **self._limit) is not None

    def fills(self, text: str) -> bool:
        """Whether the whole text matches; raises TimeoutError."""
        return self._compiled.fullmatch(text, **self._limit) is not None

    def spans(self, text: str) -> tuple[Span, ...]:
        """The first places that match, none when they cannot be found in time."""
        try:
            return spans(self._compiled.finditer(text, **self._limit))
        except TimeoutError:
            return ()

    @property
    def _limit(self) -> dict[str, float]:
        return {"timeout": TIMEOUT} if self._timed else {}


def _compile(source: str, flags: int) -> Any:
    import regex

    return regex.compile(source, flags)


@lru_cache(maxsize=16_384)
def pattern(source: str, *, ignore_case: bool = False, multiline: bool = False) -> Pattern:
    """The compiled pattern; raises CheckError when it is not a regular expression."""
    return Pattern(source, ignore_case=ignore_case, multiline=multiline)
