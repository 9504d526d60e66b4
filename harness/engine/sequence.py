"""One request while it is being decoded: the only mutable value of the engine.

Knows nothing of llama.cpp: it takes tokens one at a time and says when, and why, to stop.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

from harness.endings import is_loop, opening_patterns, stop_patterns
from harness.records import FinishReason, LogitRules, Sampling


@dataclass(frozen=True, slots=True)
class Job:
    """What the child process needs to know of a request.

    ``seed`` is the sampler's own (never 0xFFFFFFFF, which llama.cpp reads as "random");
    ``line_start`` says that the answer opens at the start of a line; ``stream`` asks for the text
    as it is decoded, ``early`` for it every few tokens, since it may be ended there.
    """

    key: str
    tokens: tuple[int, ...]
    sampling: Sampling
    seed: int = 1
    stops: tuple[str, ...] = ()
    line_start: bool = True
    rules: LogitRules | None = None
    stream: bool = False
    early: bool = False

    @property
    def room(self) -> int:
        """Positions the request may need: prompt, generation limit, and the overrun."""
        return len(self.tokens) + self.sampling.max_tokens + self.sampling.overrun


class Sequence:
    """A job, the bytes it produced so far, and why it ended.

    Invariant: ``text`` is the concatenation of the pieces of ``tokens`` (an end-of-generation
    token has no piece), and ``cut`` is the byte where the first stop string begins, or None.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.tokens: list[int] = []
        self.text = bytearray()
        self.cut: int | None = None
        self.finish: FinishReason | None = None
        self.error: str | None = None
        self.started = time.monotonic()
        self._stops = stop_patterns(job.stops)
        self._longest = max((len(pattern) for pattern in self._stops), default=0)
        self._openers = opening_patterns(job.stops) if job.line_start else ()
        self._last = job.sampling.max_tokens
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._shown = 0

    def accept(self, token: int, piece: bytes, *, end: bool) -> None:
        """Take the next token; afterwards ``finish`` is set if it was the last one."""
        self.tokens.append(token)
        if end:
            self.finish = "stop" if self.cut is not None else "eos"
            return
        before = len(self.text)
        self.text += piece
        if self.cut is None:
            self._look_for_stop(before)
        if len(self.tokens) >= self._last:
            self.finish = self._reason_at_limit()

    @property
    def open(self) -> bool:
        """Whether its answer may still grow."""
        return self.cut is None and self.finish is None

    def fail(self, error: str) -> None:
        """End as failed, with the reason."""
        self.finish, self.error = "failed", error

    def answer(self) -> bytes:
        """The bytes before the first stop string."""
        return bytes(self.text if self.cut is None else self.text[: self.cut])

    def take_shown(self) -> str:
        """Text of the answer not handed out yet; holds back what may become a stop string."""
        end = len(self.text) if self.cut is None else self.cut
        if self.cut is None and self.finish is None:
            end -= _held_back(self.text, self._stops)
            if self._openers and len(self.text) < max(map(len, self._openers)):
                end = min(end, len(self.text) - _held_back(self.text, self._openers))
        new = bytes(self.text[self._shown : end])
        self._shown = max(self._shown, end)
        return self._decoder.decode(new, final=self.finish is not None)

    def _look_for_stop(self, before: int) -> None:
        start = max(0, before - self._longest + 1)
        found = [self.text.find(pattern, start) for pattern in self._stops]
        found += [0 for pattern in self._openers if self.text.startswith(pattern)]
        hits = [place for place in found if place >= 0]
        if hits:
            self.cut = min(hits)
            self._last = len(self.tokens) + self.job.sampling.overrun

    def _reason_at_limit(self) -> FinishReason:
        if self.cut is not None:
            return "stop"
        return "loop" if is_loop(self.tokens) else "length"


def _held_back(text: bytearray, patterns: Seq[bytes]) -> int:
    """Length of the longest end of ``text`` that a stop string begins with."""
    longest = 0
    for pattern in patterns:
        for size in range(min(len(pattern) - 1, len(text)), longest, -1):
            if text.endswith(pattern[:size]):
                longest = size
                break
    return longest


@dataclass(slots=True)
class Slot:
    """One row of every decode: the sequence it holds and what its KV cache holds.

    ``cached`` are the tokens whose keys and values came out of whole prefill chunks: only those
    may be handed on to another item. ``position`` is where the next token goes; ``pending`` are
    prompt tokens still to be fed through decodes (the last of them yields the first logits).
    """

    index: int
    sequence: Sequence | None = None
    cached: tuple[int, ...] = ()
    position: int = 0
    pending: list[int] = field(default_factory=list)
