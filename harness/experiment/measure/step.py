"""Two models over the same texts, in step: their whole distributions are compared and forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from harness.measured import LogitBlock
from harness.protocols import Measurable
from harness.records import EngineSettings, ModelFile, Passage
from harness.stats.divergence import Divergences

_VALUES = 1 << 21
"""Logits of one block: 8 MiB for each of two models, beside what llama.cpp takes for them."""
_LEAST = 8
"""Tokens of the smallest prefill chunk: fewer would read the weights too often."""


def walking(settings: EngineSettings, model: ModelFile) -> EngineSettings:
    """Settings whose prefill chunks are small enough that so many rows of logits are small too."""
    tokens = int(model.metadata.get("inspect.tokens", 0)) or _VALUES
    return replace(settings, chunk=max(_LEAST, min(settings.chunk, _VALUES // tokens)))


def divergences(
    reference: Measurable,
    other: Measurable,
    texts: Sequence[Passage],
    others: Sequence[Passage] | None = None,
) -> Divergences:
    """KL(reference ‖ other) and what goes with it, token by token over the same texts.

    ``others`` are the texts as the other model sees them, where its context differs: the same
    tokens count in both. Raises EngineError when a model cannot read a text.
    """
    found = Divergences()
    walks = reference.logit_rows(texts), other.logit_rows(texts if others is None else others)
    for left, right in in_step(*walks):
        count = len(left.rows)
        targets = texts[left.index].tokens[left.start : left.start + count]
        found.add(left.index, left.rows, right.rows, targets)
    return found


def in_step(
    left: Iterator[LogitBlock], right: Iterator[LogitBlock]
) -> Iterator[tuple[LogitBlock, LogitBlock]]:
    """Blocks of two walks cut to the same rows, whatever each one's blocks are.

    Rows are paired in the order they come: both walks must score equally many tokens of each text.
    """
    one, other = next(left, None), next(right, None)
    while one is not None and other is not None:
        count = min(len(one.rows), len(other.rows))
        assert one.index == other.index, "the walks score different numbers of tokens"
        yield _head(one, count), _head(other, count)
        one = _rest(one, count) or next(left, None)
        other = _rest(other, count) or next(right, None)
    assert one is None and other is None, "one walk is longer than the other"


def _head(block: LogitBlock, count: int) -> LogitBlock:
    return LogitBlock(block.index, block.start, block.rows[:count])


def _rest(block: LogitBlock, count: int) -> LogitBlock | None:
    """What follows the first rows; None when they are all."""
    if count == len(block.rows):
        return None
    return LogitBlock(block.index, block.start + count, block.rows[count:])
