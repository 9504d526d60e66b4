"""Text as it is generated, for a listener."""

from __future__ import annotations

from collections import Counter

from harness.protocols import OnToken


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
