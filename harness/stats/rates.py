"""Intervals for one rate: Wilson, its clustered form, and the score above the null floor."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.records import Estimate
from harness.stats.binomial import clopper_pearson

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def undefined(note: str, *, n: int = 0, n_missing: int = 0, level: float = 0.95) -> Estimate:
    """An estimate without a value; ``note`` says why."""
    return Estimate(None, None, None, level, "", n, n_missing, note)


def wilson(passes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a rate (Wilson 1927).

    ``n`` may be fractional (an effective sample size). Its ends never leave [0, 1] and it has a
    width even at 0 and 1.
    """
    squared = z_of(level) ** 2
    rate = passes / n
    middle = (rate + squared / (2 * n)) / (1 + squared / n)
    reach = math.sqrt(squared * (rate * (1 - rate) / n + squared / (4 * n * n))) / (1 + squared / n)
    return max(0.0, middle - reach), min(1.0, middle + reach)


FEW = 15
"""Passes (or failures) under which a normal approximation's tail is not trusted for selections."""


def exact_where_few(rate: Estimate, n: float, level: float) -> Estimate:
    """The interval widened to Clopper and Pearson's (1934) where few of ``n`` pass, or few fail.

    Wilson's bound towards 0 (or 1) is too tight there, which the best of many brings out.
    """
    if rate.value is None or rate.low is None or rate.high is None:
        return rate
    if min(rate.value, 1 - rate.value) * n >= FEW:
        return rate
    low, high = clopper_pearson(rate.value * n, n, level)
    return replace(rate, low=min(rate.low, low), high=max(rate.high, high))


def cluster_sums(values: Floats, clusters: Ints) -> Floats:
    """Sum rows that belong together: ``(n,)`` or ``(n, k)`` values -> one row per cluster."""
    _, index = np.unique(clusters, return_inverse=True)
    groups = int(index.max()) + 1 if len(index) else 0
    sums = np.zeros((groups, *values.shape[1:]))
    np.add.at(sums, index, values)
    return sums


def clustered_rate(
    passes: Floats,
    sizes: Floats,
    clusters: Ints | None = None,
    *,
    n_missing: int = 0,
    level: float = 0.95,
    repeats: float = 1.0,
) -> Estimate:
    """A rate Σpasses / Σsizes whose units come in clusters, with an interval that knows it.

    The variance is the linearised one of a ratio of cluster sums (Cochran 1977, section 6.5), with
    G/(G − 1); it gives an effective sample size, corrected for t over G clusters, and Wilson's
    interval at that size is the answer (Dean and Pagano 2015). One pass or fail per cluster gives
    Wilson's interval itself. Item means over ``repeats`` epochs count for as many answers as they
    behave like, up to units × repeats; never for less than one unit.
    """
    from scipy.special import stdtrit

    passes, sizes = np.asarray(passes, float), np.asarray(sizes, float)
    total = float(sizes.sum())
    n = int(np.count_nonzero(sizes))
    if total == 0:
        return undefined("no scored item", n_missing=n_missing, level=level)
    rate = float(passes.sum()) / total
    if clusters is None:
        clusters = np.arange(len(passes))
    residual = cluster_sums(passes - rate * sizes, clusters)
    groups = len(np.unique(np.asarray(clusters)[sizes > 0]))
    alone = groups == n and bool(np.all(sizes[sizes > 0] == 1))
    single = alone and bool(np.isin(passes, (0.0, 1.0)).all())
    variance = float((residual**2).sum()) / total**2
    if single or groups < 2:
        effective = total if single else 1.0
    elif variance > 1e-12:
        variance *= groups / (groups - 1)
        shrunk = (z_of(level) / float(stdtrit(groups - 1, (1 + level) / 2))) ** 2
        effective = max(shrunk * rate * (1 - rate) / variance, 1.0)
        effective = min(effective, total * repeats)
    else:
        effective = float(groups)
    low, high = wilson(rate * effective, effective, level)
    method = "Wilson" if single else "Wilson at the effective sample size"
    return Estimate(rate, min(low, rate), max(high, rate), level, method, n, n_missing)


def null_corrected(score: Estimate, floor: float | None) -> Estimate:
    """The score above what an answer without a model gets: (s − s0) / (1 − s0).

    The floor is a fixed property of the items, so the interval is the score's, moved and
    stretched. Negative values are findings, not errors.
    """
    if score.value is None:
        return score
    if floor is None:
        return undefined("no control responder was run", n=score.n, n_missing=score.n_missing)
    if floor >= 1:
        return undefined(
            "a control responder passes everything", n=score.n, n_missing=score.n_missing
        )
    value, low, high = (
        None if end is None else (end - floor) / (1 - floor)
        for end in (score.value, score.low, score.high)
    )
    return Estimate(
        value, low, high, score.level, f"{score.method}, floor fixed", score.n, score.n_missing
    )


def z_of(level: float) -> float:
    """The two-sided normal quantile of a confidence level (1.96 for 0.95)."""
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))


def mean_and_error(values: Floats, clusters: Ints | None = None) -> tuple[float, float, int]:
    """A mean, its cluster-robust standard error, and how many clusters carry it.

    The error is NaN with fewer than two clusters.
    """
    values = np.asarray(values, float)
    n = len(values)
    mean = float(values.mean()) if n else math.nan
    if clusters is None:
        clusters = np.arange(n)
    residual = cluster_sums(values - mean, clusters)
    groups = len(residual)
    if groups < 2:
        return mean, math.nan, groups
    variance = groups / (groups - 1) * float((residual**2).sum()) / n**2
    return mean, math.sqrt(variance), groups
