"""How far one next-token distribution is from another, over the whole vocabulary.

Figures are named as llama.cpp's perplexity tool prints them (``tools/perplexity/perplexity.cpp``),
and computed as there, but from both models' logits: that tool reads one side from a file of 16-bit
log-probabilities cut at 16 nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from harness.measured import Divergence, Position, Shift
from harness.stats.rates import Floats

POSITIONS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500)
"""First places in an answer of the bins in which a shift is told."""
_MARGINAL = 2
"""Ranks up to here are marginal: the second and the third choice."""

Rows = npt.NDArray[np.float32]

_VALUES = 1 << 19
"""Logits compared at a time: a few arrays of 4 MiB, which a processor's cache nearly holds."""


def log_softmax(rows: Rows) -> Floats:
    """Natural log-probabilities of rows of logits, in double precision."""
    wide = rows.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return wide


def kl_divergence(reference: Rows, other: Rows) -> Floats:
    """KL(reference ‖ other) of each pair of rows of logits, in nats."""
    return _divergence(log_softmax(reference), log_softmax(other))


def _divergence(left: Floats, right: Floats) -> Floats:
    weights = np.exp(left)
    with np.errstate(invalid="ignore"):
        terms = left - right
        terms *= weights
    # A token the reference gives no probability contributes nothing, whatever the other says.
    terms[weights == 0] = 0.0
    return np.asarray(terms.sum(axis=-1), dtype=np.float64)


def _mark(rank: int) -> str:
    return "u" if rank == 0 else "m" if rank <= _MARGINAL else "s"


@dataclass(slots=True)
class Divergences:
    """A walk over two models' rows, a few numbers kept of each: memory grows by 25 bytes a token.

    ``texts`` numbers the text of every token, ``kld`` is KL(reference ‖ other), ``nll`` what each
    gives the token that came (negative logarithms, reference first), ``same`` whether both have
    the same first choice, ``ranks`` how many tokens the other likes better than the one that came.
    """

    texts: list[int] = field(default_factory=list)
    kld: list[float] = field(default_factory=list)
    nll: list[tuple[float, float]] = field(default_factory=list)
    same: list[bool] = field(default_factory=list)
    ranks: list[int] = field(default_factory=list)

    def add(self, text: int, reference: Rows, other: Rows, targets: Sequence[int]) -> None:
        """Take rows ``[n, n_vocab]`` of both models for the ``n`` tokens that came."""
        rows = max(1, _VALUES // reference.shape[-1])
        for begin in range(0, len(targets), rows):
            part = slice(begin, begin + rows)
            self._add(text, reference[part], other[part], np.asarray(targets[part]))

    def _add(self, text: int, reference: Rows, other: Rows, targets: npt.NDArray[np.int_]) -> None:
        left, right = log_softmax(reference), log_softmax(other)
        places = np.arange(len(targets))
        chosen = right[places, targets]
        self.texts += [text] * len(targets)
        self.nll += zip((-left[places, targets]).tolist(), (-chosen).tolist(), strict=True)
        self.same += (left.argmax(axis=-1) == right.argmax(axis=-1)).tolist()
        self.ranks += (right > chosen[:, None]).sum(axis=-1).tolist()
        self.kld += _divergence(left, right).tolist()

    def by_text(self) -> tuple[float, ...]:
        """The mean divergence of each text, in the texts' order."""
        texts, kld = np.asarray(self.texts), np.asarray(self.kld)
        counts = np.bincount(texts)
        sums = np.bincount(texts, weights=kld)
        return tuple((sums[counts > 0] / counts[counts > 0]).tolist())

    def shift(self, arm: str, instruct: str) -> Shift:
        """Where the other model stands to the tokens that came; ValueError as in ``summary``."""
        kld, ranks, texts = (np.asarray(item) for item in (self.kld, self.ranks, self.texts))
        if not len(kld) or not np.isfinite(kld).all():
            raise ValueError("no tokens" if not len(kld) else "a model's logits are not finite")
        begins = np.flatnonzero(np.diff(texts, prepend=-1))
        places = np.arange(len(texts)) - np.repeat(begins, np.diff(begins, append=len(texts)))
        positions = []
        for first, end in pairwise((*POSITIONS, len(texts) + 1)):
            here = (places >= first) & (places < end)
            if here.any():
                positions.append(
                    Position(
                        first,
                        int(here.sum()),
                        float(kld[here].mean()),
                        float((ranks[here] == 0).mean()),
                    )
                )
        return Shift(
            arm=arm,
            instruct=instruct,
            texts=len(begins),
            tokens=len(kld),
            unshifted=float((ranks == 0).mean()),
            marginal=float(((ranks > 0) & (ranks <= _MARGINAL)).mean()),
            shifted=float((ranks > _MARGINAL).mean()),
            mean_kld=float(kld.mean()),
            positions=tuple(positions),
            by_text=self.by_text(),
            sizes=tuple(np.diff(begins, append=len(texts)).tolist()),
            marks=tuple("".join(map(_mark, part)) for part in np.split(ranks, begins[1:])),
        )

    def summary(self, cell: str, reference: str, over: str) -> Divergence:
        """The figures; ValueError when no token was walked or a figure is not finite."""
        kld, nll = np.asarray(self.kld), np.asarray(self.nll).reshape(-1, 2)
        if not len(kld) or not (np.isfinite(kld).all() and np.isfinite(nll).all()):
            raise ValueError("no tokens" if not len(kld) else "a model's logits are not finite")
        change = np.exp(-nll[:, 1]) - np.exp(-nll[:, 0])
        log_ratio, log_ratio_error = _mean(nll[:, 1] - nll[:, 0])
        ratio = float(np.exp(log_ratio))
        mean, error = _mean(kld)
        dp, dp_error = _mean(change)
        same = float(np.mean(self.same))
        return Divergence(
            cell=cell,
            reference=reference,
            over=over,
            texts=len(set(self.texts)),
            tokens=len(kld),
            mean_kld=mean,
            mean_kld_error=error,
            median_kld=float(np.median(kld)),
            p99_kld=float(np.quantile(kld, 0.99)),
            p999_kld=float(np.quantile(kld, 0.999)),
            max_kld=float(kld.max()),
            same_top_p=same,
            same_top_p_error=float(np.sqrt(same * (1 - same) / max(1, len(kld) - 1))),
            mean_dp=dp,
            mean_dp_error=dp_error,
            rms_dp=float(np.sqrt(np.mean(change**2))),
            ppl=float(np.exp(nll[:, 1].mean())),
            ppl_reference=float(np.exp(nll[:, 0].mean())),
            ppl_ratio=ratio,
            ppl_ratio_error=ratio * log_ratio_error,
            by_text=self.by_text(),
        )


def _mean(values: Floats) -> tuple[float, float]:
    """The mean and its standard error, tokens taken as independent (as llama.cpp takes them)."""
    n = len(values)
    return float(values.mean()), float(values.std() / np.sqrt(n - 1)) if n > 1 else 0.0
