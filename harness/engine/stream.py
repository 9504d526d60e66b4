"""Text as it is generated, for a listener."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from harness.protocols import OnToken, Until


class Stream:
    """Tells a listener each text once, also when a dead child's requests start again."""

    def __init__(self, told: OnToken) -> None:
        self._told = told
        self._shown: Counter[str] = Counter()
        self._reached: Counter[str] = Counter()

    def begin(self) -> None:
        """Requests start from the beginning of their answers."""
        self._reached.clear()

    def tell(self, key: str, text: str) -> None:
        """Pass on what of the text was not shown before."""
        fresh = text[max(0, self._shown[key] - self._reached[key]) :]
        self._reached[key] += len(text)
        self._shown[key] = max(self._shown[key], self._reached[key])
        if fresh:
            self._told(key, fresh)


class Cutter:
    """Ends answers where ``until`` says so, at a place that no timing moves.

    The child goes on until it hears of it; what it decoded meanwhile is left out.
    """

    def __init__(self, until: Until) -> None:
        self._until = until
        self._texts: dict[str, str] = {}
        self._cuts: dict[str, tuple[str, int]] = {}

    def begin(self) -> None:
        """Requests start from the beginning of their answers."""
        self._texts.clear()
        self._cuts.clear()

    def tell(self, key: str, text: str, tokens: int) -> bool:
        """Take more of an answer; True the first time that it may end."""
        if key in self._cuts:
            return False
        self._texts[key] = self._texts.get(key, "") + text
        if not self._until(key, self._texts[key]):
            return False
        self._cuts[key] = (self._texts.pop(key), tokens)
        return True

    def cut(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """A ``finished`` event as it is when its answer was ended early, else as it came."""
        self._texts.pop(event["key"], None)
        found = self._cuts.pop(event["key"], None)
        if found is None:
            return event
        text, tokens = found
        kept = event["tokens"][:tokens]
        ending = {"tokens": kept, "finish": "decided", "error": None}
        return {**event, "text": text, "answer": text, **ending}
