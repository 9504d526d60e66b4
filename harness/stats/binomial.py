"""The binomial distribution, and the intervals of one count, from scipy's special functions.

``scipy.stats`` has the same and takes a second of processor time to import, which each command
that analyses a run would pay, then checks its arguments at every call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def pmf(k: ArrayLike, n: ArrayLike, p: ArrayLike) -> Any:
    """P(X = k) of ``n`` trials that succeed with probability ``p``, elementwise; 0 outside 0..n."""
    from scipy.special import gammaln, xlog1py, xlogy

    k, n, p = np.asarray(k), np.asarray(n), np.asarray(p)
    wins = np.clip(k, 0, n)
    ways = gammaln(n + 1) - gammaln(wins + 1) - gammaln(n - wins + 1)
    return np.where(k == wins, np.exp(ways + xlogy(wins, p) + xlog1py(n - wins, -p)), 0.0)[()]


def cdf(k: ArrayLike, n: ArrayLike, p: ArrayLike) -> Any:
    """P(X ≤ k), elementwise; 0 below k = 0."""
    from scipy.special import bdtr

    k = np.asarray(k)
    return np.where(k < 0, 0.0, bdtr(np.maximum(k, 0), n, p))


def sf(k: ArrayLike, n: ArrayLike, p: ArrayLike) -> Any:
    """P(X > k), elementwise; 1 below k = 0."""
    from scipy.special import bdtrc

    return bdtrc(k, n, p)


def clopper_pearson(passes: float, n: float, level: float) -> tuple[float, float]:
    """The exact interval of a rate (Clopper and Pearson 1934); ``passes`` may be fractional."""
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = betaincinv(passes, n - passes + 1, tail) if passes > 0 else 0.0
    high = betaincinv(passes + 1, n - passes, 1 - tail) if passes < n else 1.0
    return float(low), float(high)
