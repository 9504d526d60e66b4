"""What is measured of model files beside their answers: speed and memory, and how far two differ.

Frozen values without I/O, like :mod:`harness.records`; a file is named by its ``stage/level``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a model file is, and what it takes.

    ``prefill`` and ``decode`` are tokens per second of one sequence, ``load_seconds`` until the
    weights are there (from the page cache after the first turn). ``peak_bytes`` is the most memory
    of its process, mapped weights included, ``device_bytes`` what it holds on a GPU; None where the
    system does not say, or there is no device.
    """

    prefill: float
    decode: float
    load_seconds: float
    peak_bytes: int | None = None
    device_bytes: int | None = None

    @classmethod
    def middle(cls, turns: Sequence[Speed]) -> Speed:
        """The median of every figure over turns; ValueError where there is none."""
        if not turns:
            raise ValueError("no turn was measured")
        return cls(
            prefill=median(turn.prefill for turn in turns),
            decode=median(turn.decode for turn in turns),
            load_seconds=median(turn.load_seconds for turn in turns),
            peak_bytes=_middle(turn.peak_bytes for turn in turns),
            device_bytes=_middle(turn.device_bytes for turn in turns),
        )


def _middle(sizes: Iterable[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return round(median(known)) if known else None


@dataclass(frozen=True, slots=True)
class Divergence:
    """How far a file's next-token distributions are from the reference file's on the same tokens.

    Named as llama.cpp's perplexity tool prints them: ``kld`` is KL(reference ‖ file) in nats,
    ``same_top_p`` the share of tokens with the same first choice, ``dp`` the file's probability of
    the token that came less the reference's, ``ppl_ratio`` PPL(file) / PPL(reference). Shares and
    probabilities lie between 0 and 1. An ``error`` takes tokens as independent, as that tool does;
    ``by_text`` are the mean divergences of the single texts, which are. ``over`` says what texts.
    """

    cell: str
    reference: str
    over: str
    texts: int
    tokens: int
    mean_kld: float
    mean_kld_error: float
    median_kld: float
    p99_kld: float
    p999_kld: float
    max_kld: float
    same_top_p: float
    same_top_p_error: float
    mean_dp: float
    mean_dp_error: float
    rms_dp: float
    ppl: float
    ppl_reference: float
    ppl_ratio: float
    ppl_ratio_error: float
    by_text: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """Tokens of answers from place ``first`` on: how many, their mean KL, the unshifted share."""

    first: int
    tokens: int
    mean_kld: float
    unshifted: float


@dataclass(frozen=True, slots=True)
class Shift:
    """How an arm of the base model takes the instruct model's own answers, token by token.

    By the rank that the arm gives the token that came: ``unshifted`` (its own first choice),
    ``marginal`` (second or third), ``shifted`` (Lin et al. 2023, arXiv 2312.01552), as shares.
    ``mean_kld`` is KL(instruct ‖ arm) in nats; ``by_text`` are the means of the single answers,
    ``sizes`` their tokens. Ends of turn are left out: the two models may end by different tokens.
    ``items`` are the samples answered, ``marks`` a letter per token of each answer: ``u``, ``m`` or
    ``s`` as above.
    """

    arm: str
    instruct: str
    texts: int
    tokens: int
    unshifted: float
    marginal: float
    shifted: float
    mean_kld: float
    positions: tuple[Position, ...]
    by_text: tuple[float, ...]
    sizes: tuple[int, ...]
    items: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogitBlock:
    """Consecutive rows of one text: ``rows[i]`` is the distribution of ``tokens[start + i]``.

    The rows, ``[n, n_vocab]`` float32, are a view of memory that the next block overwrites.
    """

    index: int
    start: int
    rows: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a run's model files.

    ``speeds`` are by ``stage/level``; ``texts`` are the sha256 of the files that were read, by
    name; ``pieces`` the texts of the tokens that shifts are about, by sample; ``notes`` say what
    could not be measured, and why.
    """

    speeds: Mapping[str, Speed] = field(default_factory=dict)
    divergences: tuple[Divergence, ...] = ()
    shifts: tuple[Shift, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    pieces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything was measured or tried."""
        return bool(self.speeds or self.divergences or self.shifts or self.notes)

    def divergence(self, cell: str, over: str) -> Divergence | None:
        """A file's divergence over the texts of that name, None when it was not measured."""
        found = (item for item in self.divergences if (item.cell, item.over) == (cell, over))
        return next(found, None)


NOTHING = Measured()
"""Of a run of which only answers were asked for."""
