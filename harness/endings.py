"""Where an answer ends: stop strings as bytes to look for, and answers that repeat themselves."""

from __future__ import annotations

from collections.abc import Sequence

LOOP_TOKENS = 32
"""A tail must be periodic over at least this many tokens to be called a loop."""

LOOP_REPEATS = 4
"""... and repeat its period at least this often."""


def stop_patterns(stops: Sequence[str]) -> tuple[bytes, ...]:
    """The bytes to look for anywhere in what is generated; an empty stop string is none."""
    return tuple(stop.encode("utf-8", "surrogatepass") for stop in stops if stop)


def opening_patterns(stops: Sequence[str]) -> tuple[bytes, ...]:
    """What a stop anchored at a line start looks like at the very start of an answer.

    ``"\\nQuestion:"`` also stops an answer that opens with ``Question:``. A stop of nothing but
    newlines has no such form: an answer may open with an empty line.
    """
    bare = (stop.lstrip("\n") for stop in stops if stop.startswith("\n"))
    return tuple(text.encode("utf-8", "surrogatepass") for text in bare if text.strip())


def first_stop(text: bytes, stops: Sequence[str], *, line_start: bool) -> int | None:
    """The byte where the first stop string begins, None without one.

    ``line_start`` says that the text opens at the start of a line.
    """
    found = [text.find(pattern) for pattern in stop_patterns(stops)]
    if line_start:
        found += [0 for pattern in opening_patterns(stops) if text.startswith(pattern)]
    return min((place for place in found if place >= 0), default=None)


def is_loop(tokens: Sequence[int]) -> bool:
    """Whether the last tokens repeat one period at least 4 times over at least 32 tokens.

    Looked for only where the generation limit was hit: a loop is why such an answer never ended.
    """
    for period in range(1, len(tokens) // LOOP_REPEATS + 1):
        span = max(LOOP_TOKENS, LOOP_REPEATS * period)
        if span > len(tokens):
            break
        tail = tokens[-span:]
        if tail[period:] == tail[:-period]:
            return True
    return False
