"""Ratios of sums over documents (bits per byte), and paired differences of two of them."""

from __future__ import annotations

import math

import numpy as np

from harness.records import Estimate
from harness.stats.rates import Floats, mean_and_error, undefined

METHOD = "t interval of the linearised ratio over documents"


def pooled_ratio(
    values: Floats, sizes: Floats, *, most: float = math.inf, level: float = 0.95
) -> Estimate:
    """Σvalues / Σsizes over independent units ``(n,)``; NaN in ``values`` is a missing unit.

    The variance is the linearised one of a ratio of sums (Cochran 1977, section 6.5), the quantile
    Student's with n − 1 degrees of freedom. One unit has a value and no interval. The interval
    ends where a ratio must: at 0, and at ``most``.
    """
    nothing, ones = np.zeros_like(values), np.ones_like(values)
    return _difference(values, sizes, nothing, ones, (0.0, most), level)


def ratio_difference(
    a: Floats,
    a_sizes: Floats,
    b: Floats,
    b_sizes: Floats,
    *,
    most: float = math.inf,
    level: float = 0.95,
) -> Estimate:
    """Ratio of b minus ratio of a, over the units that both have; as :func:`pooled_ratio`.

    What one unit adds to both ratios enters together, so the interval is the paired one. It ends
    at −``most`` and ``most``.
    """
    return _difference(b, b_sizes, a, a_sizes, (-most, most), level)


def _difference(
    b: Floats,
    b_sizes: Floats,
    a: Floats,
    a_sizes: Floats,
    ends: tuple[float, float],
    level: float,
) -> Estimate:
    from scipy.special import stdtrit

    columns = [np.asarray(column, float) for column in (b, b_sizes, a, a_sizes)]
    both = ~np.isnan(np.column_stack(columns)).any(axis=1)
    b, b_sizes, a, a_sizes = (column[both] for column in columns)
    n, missing = int(both.sum()), int(len(both) - both.sum())
    if n == 0 or b_sizes.sum() <= 0 or a_sizes.sum() <= 0:
        return undefined("nothing in common", n=n, n_missing=missing, level=level)
    value = float(b.sum() / b_sizes.sum() - a.sum() / a_sizes.sum())
    if n < 2:
        return Estimate(value, None, None, level, "one document: no interval", n, missing)
    _, error, _ = mean_and_error(_linear(b, b_sizes) - _linear(a, a_sizes))
    reach = float(stdtrit(n - 1, (1 + level) / 2)) * error
    low, high = max(value - reach, ends[0]), min(value + reach, ends[1])
    return Estimate(value, low, high, level, METHOD, n, missing)


def _linear(values: Floats, sizes: Floats) -> Floats:
    """What each unit adds to the ratio, to first order: (value − R · size) / mean size."""
    ratio = values.sum() / sizes.sum()
    return np.asarray((values - ratio * sizes) / sizes.mean(), dtype=np.float64)
