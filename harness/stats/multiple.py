"""Many comparisons: Holm for what was declared beforehand, Benjamini-Hochberg for the rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted so that any false alarm in the family has probability α (Holm 1979)."""
    p = np.sort(p_values)
    stepped = np.maximum.accumulate(p * np.arange(len(p), 0, -1))
    return _in_their_order(p_values, stepped)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for the expected share of false alarms among the alarms (BH 1995)."""
    p = np.sort(p_values)
    stepped = p * len(p) / np.arange(1, len(p) + 1)
    return _in_their_order(p_values, np.minimum.accumulate(stepped[::-1])[::-1])


def _in_their_order(p_values: Sequence[float], adjusted: Floats) -> list[float]:
    """What was worked out for the sorted p-values, back in the order they came in; at most 1."""
    found = np.empty(len(adjusted))
    found[np.argsort(p_values, kind="stable")] = np.minimum(adjusted, 1.0)
    return [float(value) for value in found]
