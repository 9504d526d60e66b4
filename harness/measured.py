"""What is measured of model files beside their answers: speed and memory, and how far two differ.

Frozen values without I/O, like :mod:`harness.records`; a file is named by its ``stage/level``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median


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
