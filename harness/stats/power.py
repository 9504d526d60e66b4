"""What a suite of n paired items can see at all."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from harness.stats import binomial

MANY = 2_000
TYPICAL_DISCORDANCE = 0.1
"""The share of items on which two similar arms disagree, where nothing better is known."""


def exact_power(effect: float, n: int, discordance: float, *, alpha: float = 0.05) -> float:
    """The chance that McNemar's mid-p test on n pairs rejects, when b − a is ``effect``.

    Summed over every number of discordant pairs and every split of them. 0 for an effect larger
    than the discordance, which cannot be.
    """
    return _powers(n, discordance, alpha)(abs(effect))


def minimum_detectable_effect(
    n: int, discordance: float = TYPICAL_DISCORDANCE, *, power: float = 0.8, alpha: float = 0.05
) -> float | None:
    """The smallest paired difference seen with the given power, by :func:`exact_power`.

    None where no difference that the discordance allows is seen so often.
    """
    if n < 1 or not 0 < discordance <= 1:
        return None
    found = _powers(n, discordance, alpha)
    low, high = 0.0, discordance
    if found(high) < power:
        return None
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) >= power else (middle, high)
    return high


def _powers(n: int, discordance: float, alpha: float) -> Callable[[float], float]:
    """Power as a function of the effect, with the test's critical values worked out once."""
    counts = np.arange(n + 1)
    weight = binomial.pmf(counts, n, discordance)
    kept = weight > 1e-9
    counts, weight = counts[kept], weight[kept]
    critical = np.array([_critical(int(count), alpha) for count in counts])

    def power(effect: float) -> float:
        if effect > discordance:
            return 0.0
        favoured = (discordance + effect) / (2 * discordance)
        reject = binomial.cdf(critical, counts, favoured) + binomial.sf(
            counts - critical - 1, counts, favoured
        )
        return float((weight * np.where(critical < 0, 0.0, reject)).sum())

    return power


def _critical(count: int, alpha: float) -> int:
    """The largest smaller side of ``count`` discordant pairs at which mid-p rejects; −1: none."""
    sides = np.arange(count // 2 + 1)
    p = 2 * binomial.cdf(sides, count, 0.5) - binomial.pmf(sides, count, 0.5)
    rejected = np.flatnonzero((p <= alpha) & (2 * sides < count))
    return int(rejected[-1]) if len(rejected) else -1


def items_to_detect(
    effect: float,
    discordance: float = TYPICAL_DISCORDANCE,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """Paired items needed to see an effect, by exact power, within 1 %.

    Starts a little under the normal approximation (Connor 1987) and grows until the power is there;
    beyond :data:`MANY` items the approximation itself is that good, and the exact sum slow.
    Raises ValueError for an effect larger than the discordance, which cannot be.
    """
    if not 0 < effect <= discordance:
        raise ValueError(f"an effect of {effect} does not fit a discordance of {discordance}")
    near = _quantiles(power, alpha) ** 2 * discordance / effect**2
    if near > MANY:
        return math.ceil(near)
    n = max(1, math.floor(0.8 * near))
    while exact_power(effect, n, discordance, alpha=alpha) < power:
        n += max(1, n // 100)
    return n


def default_margin(items: int) -> float:
    """The margin that so many items resolve: 80 % power at no difference, 10 % discordance, 5 %.

    248 items resolve 5 points. At most 0.99, which nothing can fail: too few items to judge with.
    """
    return min(0.99, _reach(0.05, 0.2) * math.sqrt(TYPICAL_DISCORDANCE / max(items, 1)))


def items_for_margin(margin: float, discordance: float) -> int:
    """Paired items that show two equal arms to be within ``margin`` four times of five (TOST).

    By exact power, within 2 %, from the normal approximation up: with few discordant items that one
    promises 80 % and gives 67 % (10 points at 10 % discordance). Beyond :data:`MANY` items it is
    that good itself.
    """
    discordance = max(discordance, 1e-4)
    near = _reach(0.05, 0.1) ** 2 * discordance / margin**2
    if near > MANY:
        return math.ceil(near)
    n = max(1, math.ceil(near))
    while equivalence_power(margin, n, discordance) < 0.8:
        n += max(1, n // 50)
    return n


def equivalence_power(margin: float, n: int, discordance: float, *, alpha: float = 0.05) -> float:
    """The chance that two equal arms on n pairs are shown to be within ``margin`` of each other.

    The rule of :func:`harness.stats.pairs.equivalence`: both of Tango's one-sided bounds inside.
    Summed over every number of discordant pairs and every split of them.
    """
    from harness.stats.pairs import score_excess
    from harness.stats.rates import z_of

    z = z_of(1 - 2 * alpha)
    counts = np.arange(n + 1)
    weight = binomial.pmf(counts, n, discordance)
    kept = weight > 1e-9
    counts, weight = counts[kept][:, None], weight[kept][:, None]
    wins = np.arange(int(counts.max()) + 1)[None, :]
    split = binomial.pmf(wins, counts, 0.5)
    gains = wins.astype(float)
    losses = np.maximum(counts - wins, 0).astype(float)
    within = (score_excess(gains, losses, n, z, margin) > 0) & (
        score_excess(losses, gains, n, z, margin) > 0
    )
    return float((weight * split * within).sum())


def _reach(alpha: float, beta: float) -> float:
    """The sum of two one-sided normal quantiles."""
    from scipy.special import ndtri

    return float(ndtri(1 - alpha) + ndtri(1 - beta))


def _quantiles(power: float, alpha: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(1 - alpha / 2) + ndtri(power))
