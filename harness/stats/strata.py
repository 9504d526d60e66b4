"""Suites weighed equally: means of stratum means, however many items each stratum holds."""

from __future__ import annotations

import math

import numpy as np

from harness.records import Estimate
from harness.stats.rates import Floats, Ints, cluster_sums, undefined, wilson, z_of
from harness.stats.recovery import MINIMUM_GAP, fieller, judged_share


def equal_rate(passes: Floats, strata: Ints, clusters: Ints) -> Estimate:
    """The mean of the strata's rates ``(n,)``, NaN left out; Wilson at the effective sample size.

    The variance is Σ Var(stratum) / S² (Cochran 1977, section 5.3), each stratum's over its
    clusters; where no item varies the effective size is the number of clusters.
    """
    means, covariance, groups, n = _moments(np.asarray(passes, float)[:, None], strata, clusters)
    if means is None:
        return undefined("a suite without a scored item", n=n)
    rate, variance = float(means[0]), float(covariance[0, 0])
    effective = rate * (1 - rate) / variance if variance > 1e-12 else float(groups)
    low, high = wilson(rate * max(effective, 1.0), max(effective, 1.0))
    method = "Wilson at the effective sample size, suites weighed equally"
    return Estimate(rate, min(low, rate), max(high, rate), 0.95, method, n)


def equal_recovery(
    wrapped: Floats, base: Floats, instruct: Floats, strata: Ints, clusters: Ints
) -> tuple[Estimate, Estimate]:
    """Gain and recovered share of the equally weighted means of item scores ``(n,)``.

    The gain has a normal interval, the share Fieller's; an item that an arm lacks (NaN) is left
    out of all three. No share where the gap is under 5 points or not told from none.
    """
    pair = np.column_stack([wrapped - base, instruct - base])
    means, covariance, _, n = _moments(pair, strata, clusters)
    if means is None:
        nothing = undefined("a suite without an item that all three arms answered", n=n)
        return nothing, nothing
    gain, gap = map(float, means)
    errors = np.sqrt(np.diag(covariance))
    reach = z_of(0.95) * float(errors[0])
    delta = Estimate(
        gain, max(gain - reach, -1.0), min(gain + reach, 1.0), 0.95, "normal, by suite", n
    )
    if gap < MINIMUM_GAP - 1e-9 or gap <= z_of(0.95) * float(errors[1]):
        return delta, undefined("not estimable: the gap is too small or too uncertain", n=n)
    low, high = fieller(gain, gap, float(errors[0]), float(errors[1]), float(covariance[0, 1]))
    return delta, judged_share(Estimate(gain / gap, low, high, 0.95, "Fieller, by suite", n))


def _moments(
    values: Floats, strata: Ints, clusters: Ints
) -> tuple[Floats | None, Floats, int, int]:
    """Mean of stratum means of ``values`` ``(n, k)``, its covariance, clusters, and items."""
    known = ~np.isnan(values).any(axis=1)
    values, here, groups = values[known], strata[known], clusters[known]
    names = np.unique(strata)
    k = values.shape[1]
    means, covariance, total = np.zeros(k), np.zeros((k, k)), 0
    for name in names:
        mine = here == name
        if not mine.any():
            return None, covariance, 0, int(known.sum())
        inside = values[mine]
        mean = inside.mean(axis=0)
        sums = cluster_sums(inside - mean, groups[mine])
        count = len(sums)
        total += count
        factor = count / (count - 1) if count > 1 else math.nan
        means += mean / len(names)
        covariance += factor * (sums.T @ sums) / len(inside) ** 2 / len(names) ** 2
    return means, np.nan_to_num(covariance, nan=1.0), total, int(known.sum())
