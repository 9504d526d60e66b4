"""Log-probabilities of given text: rows of logits in, a few numbers per token out.

Rows come in blocks of bounded size, are reduced at once and forgotten, so that memory does not
grow with the text. What a reduction keeps is one :class:`TokenScores` per text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.engine.runner import Runner
from harness.engine.scheduler import common
from harness.measured import LogitBlock
from harness.records import Passage, TokenScores

Rows = npt.NDArray[np.float32]

BLOCK_VALUES = 1 << 24
"""Most logits held at a time: 64 MiB of float32."""


def rows_per_block(n_vocab: int, chunk: int) -> int:
    """Prefill chunk for scoring: as many tokens as have logits in one block."""
    return max(2, min(chunk, BLOCK_VALUES // n_vocab))


def score_rows(rows: Rows, targets: Sequence[int]) -> dict[str, list[Any]]:
    """Reduce rows of logits, one per target token, to what :class:`TokenScores` holds."""
    found: dict[str, list[Any]] = {
        name: [] for name in ("logprobs", "ranks", "entropies", "tops", "margins")
    }
    for row, target in zip(rows, targets, strict=True):
        top = int(row.argmax())
        shifted = row - row[top]
        weights = np.exp(shifted)
        total = weights.sum(dtype=np.float64)
        mean = np.dot(weights, np.where(np.isfinite(shifted), shifted, 0.0)) / total
        best = row[top]
        row[top] = -np.inf
        second = row.max()
        row[top] = best
        found["logprobs"].append(float(shifted[target] - np.log(total)))
        found["ranks"].append(int(np.count_nonzero(row > row[target])))
        found["entropies"].append(float(np.log(total) - mean))
        found["tops"].append(top)
        found["margins"].append(float(best - second))
    return found


class Scorer:
    """Feeds texts through one sequence of a runner; keeps the chunks two texts share."""

    def __init__(self, runner: Runner, chunk: int) -> None:
        self._runner = runner
        self._chunk = chunk
        self._cached: tuple[int, ...] = ()

    def blocks(self, index: int, text: Passage) -> Iterator[LogitBlock]:
        """The rows of logits that predict the text's scored tokens, block by block.

        Chunks end at multiples of the chunk, and a text is alone in its decodes: its numbers do
        not depend on the texts around it.
        """
        tokens, chunk = text.tokens[:-1], self._chunk
        first = max(text.start, 1) - 1  # the row after tokens[first] predicts tokens[first + 1]
        kept = min(common(self._cached, tokens), first) // chunk * chunk
        if not self._runner.model.trimmable:
            kept = 0
        self._runner.trim(0, kept)
        self._cached = tokens
        for begin in range(kept, len(tokens), chunk):
            end = min(begin + chunk, len(tokens))
            rows = self._decode(tokens[begin:end], begin, max(first, begin))
            if len(rows):
                yield LogitBlock(index, max(first, begin) + 1, rows)

    def _decode(self, tokens: tuple[int, ...], begin: int, first: int) -> Rows:
        """Decode one chunk; the rows of its positions from ``first`` on.

        Every row of the chunk is an output, wanted or not: what a row's number is would otherwise
        depend on where the scored part begins. A chunk of one token gets a dummy beside it.
        """
        size = len(tokens)
        if first >= begin + size:
            outputs, wanted = [False] * size, 0
        else:
            outputs, wanted = [True] * size, begin + size - first
        dummy = size == 1
        self._runner.decode(
            [*tokens, 0] if dummy else tokens,
            [*range(begin, begin + size), 0] if dummy else range(begin, begin + size),
            [*[0] * size, 1] if dummy else [0] * size,
            [*outputs, outputs[0]] if dummy else outputs,
        )
        if dummy:
            self._runner.trim(1, 0)
        if not wanted:
            return np.empty((0, self._runner.model.vocabulary.size), dtype=np.float32)
        return self._runner.logits(size + dummy)[size - wanted : size]


def scored(scorer: Scorer, texts: Sequence[Passage], tell: Callable[[TokenScores], None]) -> None:
    """Score texts one after another; ``tell`` gets each as soon as it is done."""
    for index, text in enumerate(texts):
        kept: dict[str, list[Any]] = {
            name: [] for name in ("logprobs", "ranks", "entropies", "tops", "margins")
        }
        for block in scorer.blocks(index, text):
            targets = text.tokens[block.start : block.start + len(block.rows)]
            for name, values in score_rows(block.rows, targets).items():
                kept[name] += values
        tell(TokenScores(index=index, **{name: tuple(values) for name, values in kept.items()}))
