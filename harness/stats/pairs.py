"""Two arms on the same items: differences, exact tests, flips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.records import Estimate
from harness.stats import binomial
from harness.stats.rates import Floats, Ints, cluster_sums, mean_and_error, undefined, z_of

RESAMPLES = 10_000
SAME = 1e-12
"""Outcomes no further apart than this are the same."""
_EXACT_UP_TO = 13
"""Sign-flip tests with at most this many non-zero differences are enumerated (2^13 patterns)."""


@dataclass(frozen=True, slots=True)
class Paired:
    """b − a over the items both arms answered.

    ``wins`` are items where b does better, ``losses`` where a does; ``discordance`` is the mean
    squared difference (for one answer per item: the share of items whose verdict differs).
    """

    delta: Estimate
    p: float
    test: str
    wins: int
    losses: int
    ties: int
    discordance: float

    @property
    def flips(self) -> float | None:
        """The share of items whose outcome changed, in either direction."""
        n = self.wins + self.losses + self.ties
        return (self.wins + self.losses) / n if n else None


def paired(
    a: Floats,
    b: Floats,
    clusters: Ints | None = None,
    *,
    seed: int = 0,
    level: float = 0.95,
) -> Paired:
    """Compare two arms item by item; NaN on either side drops the item on both.

    Pass/fail outcomes of independent items: McNemar's mid-p test and Tango's score interval.
    Item means over epochs, or items that come in clusters (paraphrases of one item): a sign-flip
    permutation test over clusters and Tango's interval at the effective sample size. One cluster,
    one coin.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    both = ~(np.isnan(a) | np.isnan(b))
    missing = int(len(both) - both.sum())
    difference = (b - a)[both]
    n = len(difference)
    if n == 0:
        return Paired(undefined("no item in common", n_missing=missing), 1.0, "", 0, 0, 0, 0.0)
    groups = np.arange(n) if clusters is None else np.asarray(clusters)[both]
    wins = int((difference > SAME).sum())
    losses = int((difference < -SAME).sum())
    binary = bool(np.isin(a[both], (0.0, 1.0)).all() and np.isin(b[both], (0.0, 1.0)).all())
    if binary and len(np.unique(groups)) == n:
        low, high = tango(wins, losses, n, level)
        estimate = Estimate((wins - losses) / n, low, high, level, "Tango", n, missing)
        p, test = mcnemar_mid_p(wins, losses), "McNemar mid-p"
    else:
        estimate = _clustered_difference(difference, groups, level, missing)
        p, test = sign_flip(cluster_sums(difference, groups), seed=seed), "sign-flip permutation"
    discordance = float((difference**2).mean())
    return Paired(estimate, p, test, wins, losses, n - wins - losses, discordance)


def mcnemar_exact(wins: int, losses: int) -> float:
    """McNemar's exact two-sided p: of the discordant pairs, is either direction favoured?"""
    return min(1.0, float(2 * binomial.cdf(min(wins, losses), wins + losses, 0.5)))


def mcnemar_mid_p(wins: int, losses: int) -> float:
    """McNemar's mid-p (Lancaster 1961; Fagerland, Lydersen and Laake 2013): half the point counts.

    Holds its level where the exact test wastes it: the exact two-sided p minus the probability of
    the observed split.
    """
    n = wins + losses
    if n == 0:
        return 1.0
    p = 2 * binomial.cdf(min(wins, losses), n, 0.5) - binomial.pmf(wins, n, 0.5)
    return min(1.0, float(p))


def sign_flip(differences: Floats, *, seed: int = 0, resamples: int = RESAMPLES) -> float:
    """Two-sided p of a paired permutation test: under the null each difference may change sign.

    Enumerated when few differences are non-zero, else ``resamples`` seeded draws with the
    observed arrangement counted in (Phipson and Smyth 2010), so p is never 0. Draws are made from
    packed random bits, hundreds of times faster than ``scipy.stats.permutation_test``.
    """
    d = np.asarray(differences, float)
    d = d[np.abs(d) > SAME]
    if len(d) == 0:
        return 1.0
    observed = abs(d.sum()) - 1e-9 * np.abs(d).sum()
    total = d.sum()
    if len(d) <= _EXACT_UP_TO:
        patterns = (np.arange(2 ** len(d))[:, None] >> np.arange(len(d))) & 1
        return float((np.abs(total - 2 * (patterns @ d)) >= observed).mean())
    rng = np.random.default_rng([seed, 0x51])
    hits = 0
    for start in range(0, resamples, 1000):
        rows = min(1000, resamples - start)
        width = (len(d) + 7) // 8
        raw = np.frombuffer(rng.bytes(rows * width), np.uint8).reshape(rows, width)
        flips = np.unpackbits(raw, axis=1, count=len(d))
        hits += int((np.abs(total - 2 * (flips @ d)) >= observed).sum())
    return (hits + 1) / (resamples + 1)


def tango(wins: float, losses: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Tango's score interval (1998) of the paired difference (wins − losses) / n.

    It keeps a sensible width where the Wald interval has none (no discordant pair). A one-sided
    95 % bound is an end of the 90 % interval. Counts may be fractional (an effective sample size).
    Raises ValueError for counts that do not fit n.
    """
    return tango_at(wins, losses, n, z_of(level))


def tango_at(wins: float, losses: float, n: float, z: float) -> tuple[float, float]:
    """:func:`tango` at a quantile ``z`` of one's own (Student's, for few clusters)."""
    if n <= 0 or wins < 0 or losses < 0 or wins + losses > n * (1 + 1e-9):
        raise ValueError(f"{wins} wins and {losses} losses do not fit {n} pairs")
    difference = (wins - losses) / n
    return -_upper(losses, wins, n, z, -difference), _upper(wins, losses, n, z, difference)


def score_excess(wins: Floats, losses: Floats, n: float, z: float, delta: float) -> Floats:
    """How far ``delta`` lies above what a score test of size z rejects: positive beyond the bound.

    Tango's upper bound of (wins − losses) / n lies below ``delta`` exactly where it is positive.
    """
    # The restricted maximum-likelihood estimate of P(loss) when the difference is delta
    # (Tango 1998) enters the variance under the hypothesis.
    half = (-wins - losses + (2 * n - wins + losses) * delta) / 2
    constant = -2 * n * losses * delta * (1 - delta)
    loss_rate = (np.sqrt(np.maximum(half * half - constant, 0.0)) - half) / (2 * n)
    variance = n * (2 * loss_rate + delta * (1 - delta))
    found: Floats = n * delta - (wins - losses) - z * np.sqrt(np.maximum(variance, 0.0))
    return found


def _upper(wins: float, losses: float, n: float, z: float, difference: float) -> float:
    """The difference above the observed one that a score test of size z just rejects."""
    from scipy.optimize import brentq

    if difference >= 1 - 1e-9:
        return 1.0

    def excess(delta: float) -> float:
        return float(score_excess(np.float64(wins), np.float64(losses), n, z, delta))

    # Without discordant pairs the observed difference is itself a root; the bound is the next one.
    start = difference + 1e-9 * (1 - difference)
    return float(brentq(excess, start, 1.0, xtol=1e-12))


def tango_with_error(
    difference: Floats, error: float, fallback: float, z: float
) -> tuple[float, float]:
    """Tango's interval of a mean difference whose standard error is known from elsewhere.

    Gains and losses are mean positive and negative parts; the effective sample size is the one at
    which independent pairs with these shares would have this error (``fallback`` where there is no
    spread). Its ends stay inside [−1, 1], and one answer per item gives Tango's interval itself.
    """
    won, lost = float(np.maximum(difference, 0).mean()), float(np.maximum(-difference, 0).mean())
    spread = won + lost - (won - lost) ** 2
    n = spread / error**2 if error > 1e-9 and spread > 1e-12 else fallback
    return tango_at(won * n, lost * n, n, z)


def _clustered_difference(
    difference: Floats, clusters: Ints, level: float, missing: int
) -> Estimate:
    from scipy.special import stdtrit

    n = len(difference)
    mean, error, groups = mean_and_error(difference, clusters)
    if groups < 2:
        return Estimate(mean, -1.0, 1.0, level, "one cluster: no interval", n, missing)
    t = float(stdtrit(groups - 1, (1 + level) / 2))
    low, high = tango_with_error(difference, error, float(groups), t)
    return Estimate(
        mean, min(low, mean), max(high, mean), level, "Tango at the effective size", n, missing
    )


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """Is ``new`` at most ``margin`` worse than the baseline? ``delta`` is new − baseline.

    ``lower`` and ``upper`` are one-sided bounds at ``confidence``, the ends of ``delta``. ``pass``:
    lower > −margin; ``regress``: upper < −margin; otherwise ``inconclusive``.
    """

    verdict: Literal["pass", "regress", "inconclusive"]
    delta: Estimate
    lower: float | None
    upper: float | None
    margin: float
    confidence: float
    wins: int
    losses: int
    ties: int


def noninferiority(
    new: Floats,
    baseline: Floats,
    margin: float,
    clusters: Ints | None = None,
    *,
    confidence: float = 0.95,
) -> NonInferiority:
    """Judge item scores ``(n,)`` against a baseline's, by one-sided bounds of the difference.

    Tango's score bound for one answer per item; a clustered bound for epoch means or paraphrases.
    A missing answer (NaN) of the new side counts as wrong and of the baseline as right: missing is
    never a way to pass. Raises ValueError for a margin outside (0, 1).
    """
    if not 0 < margin < 1:
        raise ValueError(f"margin is {margin}: give a share of items between 0 and 1, such as 0.05")
    ours = np.nan_to_num(np.asarray(new, float), nan=0.0)
    theirs = np.nan_to_num(np.asarray(baseline, float), nan=1.0)
    found = paired(theirs, ours, clusters, level=2 * confidence - 1)
    low, high = found.delta.low, found.delta.high
    verdict: Literal["pass", "regress", "inconclusive"] = "inconclusive"
    if low is not None and low > -margin:
        verdict = "pass"
    elif high is not None and high < -margin:
        verdict = "regress"
    counts = (found.wins, found.losses, found.ties)
    return NonInferiority(verdict, found.delta, low, high, margin, confidence, *counts)


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Two one-sided tests: ``delta`` (b − a) carries the 90 % interval that decides at 5 %."""

    verdict: Literal["equivalent", "worse", "undecided"]
    delta: Estimate
    margin: float


def equivalence(
    a: Floats, b: Floats, margin: float, clusters: Ints | None = None, *, alpha: float = 0.05
) -> Equivalence:
    """Is b within ``margin`` of a (TOST, Schuirmann 1987, by Tango's bounds), or worse than a?

    ``worse``: not shown equivalent, and the one-sided upper bound of b − a is below 0.
    """
    delta = paired(a, b, clusters, level=1 - 2 * alpha).delta
    verdict: Literal["equivalent", "worse", "undecided"] = "undecided"
    if delta.low is not None and delta.high is not None:
        if delta.low > -margin and delta.high < margin:
            verdict = "equivalent"
        elif delta.high < 0:
            verdict = "worse"
    return Equivalence(verdict, delta, margin)
