"""Use: going on with a text of the user's. Bits per byte of what really follows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from harness import numbers
from harness.choice.uses import absent, measured
from harness.choice.values import ArmScores, Perplexity, Use
from harness.errors import TemplateError
from harness.experiment.uses import words
from harness.experiment.uses.seats import Seat
from harness.experiment.uses.teacher import (
    Forced,
    Unfaithful,
    bits,
    forced,
    perplexity_chunks,
    scored,
)
from harness.experiment.uses.windows import Window
from harness.records import TokenScores
from harness.stats.rates import Floats

NAME = "continuation"

FEW = 6
"""With fewer documents their windows count as independent, and the report says so."""

Scored = Sequence[tuple[Forced, TokenScores]]


def units_of(windows: Sequence[Window]) -> tuple[tuple[int, ...], str]:
    """Each window's unit, and what the units are: documents, or windows where those are few."""
    numbers = {name: place for place, name in enumerate(dict.fromkeys(w.document for w in windows))}
    if len(numbers) >= FEW:
        return tuple(numbers[window.document] for window in windows), "documents"
    return tuple(range(len(windows))), "windows"


class Continuation:
    """The trial: every window scored in every way of every stage."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self.windows = windows
        self.units, self.named = units_of(windows)

    @property
    def size(self) -> str:
        """What it asks of each way of a stage, in words."""
        return numbers.size(len(self.windows), "window of text", "windows of text") + " to score"

    def measure(self, seat: Seat) -> Iterator[ArmScores]:
        """Each way's bits and bytes, and its last words, or why it has none."""
        for way in seat.ways:
            seat.say(f"{seat.stage} {way}: scoring {len(self.windows)} windows of text")
            try:
                found = scored(seat, forced(seat, way, self.windows))
            except (TemplateError, Unfaithful) as error:
                yield absent(NAME, seat.stage, way, str(error))
                yield absent(words.NAME, seat.stage, way, str(error))
                continue
            yield arm_scores(seat, way, found, self.units)
            yield words.arm_scores(seat, way, found, self.units)

    def uses(self, arms: Sequence[ArmScores]) -> Iterator[Use]:
        """The uses, once every stage was measured."""
        yield measured(NAME, arms, self.named, self._notes())
        yield measured(words.NAME, arms, self.named)

    def _notes(self) -> tuple[str, ...]:
        if self.named != "windows":
            return ()
        count = len({window.document for window in self.windows})
        return (
            f"{numbers.size(count, 'document')}: the intervals are over windows, which resemble "
            f"one another; they hold for these texts, not for others like them ({FEW} documents or "
            "more say something of others)",
        )


def arm_scores(seat: Seat, way: str, found: Scored, units: Sequence[int]) -> ArmScores:
    """Bits and bytes of one arm, summed over each unit."""
    values, sizes = np.zeros(max(units) + 1), np.zeros(max(units) + 1)
    for unit, (item, scores) in zip(units, found, strict=True):
        values[unit] += bits(scores)
        sizes[unit] += item.size
    tokens = sum(len(item.passage.tokens) for item, _ in found) / len(values)
    return ArmScores(NAME, seat.stage, way, values, sizes, tokens)


def perplexity(seat: Seat, texts: Sequence[str], n_ctx: int) -> Perplexity | None:
    """The stage's perplexity on these texts by llama-perplexity's convention; None: too short."""
    tokenizer = seat.tokenizer
    if tokenizer is None or "logprobs" not in seat.model.abilities:
        return None
    chunks = [chunk for text in texts for chunk in perplexity_chunks(tokenizer, text, n_ctx)]
    if not chunks:
        return None
    seat.say(f"{seat.stage}: scoring {len(chunks)} chunks of {n_ctx} tokens")
    every: list[Floats] = [np.array(s.logprobs) for s in seat.scores(chunks)]
    nats = -float(np.concatenate(every).sum())
    tokens = sum(map(len, every))
    size = sum(
        sum(map(len, tokenizer.token_bytes(chunk.tokens[chunk.start :]))) for chunk in chunks
    )
    value = math.exp(nats / tokens)
    return Perplexity(seat.stage, n_ctx, len(chunks), tokens, value, nats / math.log(2) / size)
