"""Looking before the end: a betting confidence sequence, and looks with alpha spending."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.records import Verdict
from harness.stats.pairs import tango_at
from harness.stats.rates import Floats, z_of

_GRID = 2001


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a whole suite can still come to: bounds of its mean difference, and its verdicts."""

    low: float
    high: float
    verdicts: frozenset[Verdict]


def foreseen(
    drawn: Floats,
    total: int,
    margin: float,
    known: Floats | Sequence[float] = (),
    *,
    independent: bool,
    alpha: float = 0.05,
) -> Foreseen:
    """The verdicts of :func:`~harness.stats.pairs.noninferiority` that the full run may reach.

    ``drawn`` are differences (new - baseline) of items drawn at random from ``total``; ``known``
    are those of the suite's other items. Of ``alpha``, four fifths go to the betting sequence of
    the mean difference and one fifth to that of the mean absolute one, so with probability
    1 - ``alpha`` the full run's verdict is in every set that is returned while items are drawn.
    ``independent`` says that the full run judges single pass/fail answers by Tango's bound itself;
    otherwise (epochs, paraphrases: one mean per group) its effective size is only known to be at
    least the number of groups less one, and the set is wider for it.
    """
    rest = np.asarray(known, float)
    n = len(rest) + total
    low, high = betting_sequence(drawn, total, alpha=0.8 * alpha)[-1]
    _, most = betting_sequence(np.abs(drawn), total, alpha=0.4 * alpha)[-1]
    low, high = ((float(rest.sum()) + total * end) / n for end in (low, high))
    apart = float(np.abs(rest).sum())
    least, most = (apart + float(np.abs(drawn).sum())) / n, (apart + total * most) / n
    z = z_of(0.9) if independent else _quantile(n - 1)

    def ends(difference: float, discordance: float) -> tuple[float, float]:
        size = n if independent else n - 1
        either = min(1.0, max(discordance, abs(difference)))
        won, lost = (max(0.0, (either + sign * difference) / 2) * size for sign in (1, -1))
        return tango_at(won, lost, size, z)

    verdicts: set[Verdict] = set()
    if (ends(high, least)[0] if independent else high) > -margin:
        verdicts.add("pass")
    if (ends(low, least)[1] if independent else low) < -margin:
        verdicts.add("regress")
    if not (ends(low, most)[0] > -margin or ends(high, most)[1] < -margin):
        verdicts.add("inconclusive")
    return Foreseen(low, high, frozenset(verdicts))


def _quantile(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(max(freedom, 1), 0.95))


def betting_sequence(
    differences: Sequence[float] | Floats, total: int, *, alpha: float = 0.05
) -> list[tuple[float, float]]:
    """Bounds of the suite's mean difference after each item, valid at every look at once.

    The hedged-capital confidence sequence of Waudby-Smith and Ramdas (2023) for sampling without
    replacement: ``differences`` in [−1, 1] are of items drawn from the suite's ``total`` in random
    order, one per item (average epochs first). With probability at least 1 − ``alpha`` the mean
    over the whole suite is inside *all* returned bounds; each one-sided end holds at ``alpha`` / 2.
    After the last item the interval is the full run's mean itself. Raises ValueError for more
    items than ``total`` or values outside [−1, 1].
    """
    x = (np.asarray(differences, float) + 1) / 2
    if len(x) > total:
        raise ValueError(f"{len(x)} items were drawn from a suite of {total}")
    if np.any((x < 0) | (x > 1)):
        raise ValueError("a difference lies outside [−1, 1]")
    means = np.linspace(0, 1, _GRID)
    rising, falling = np.zeros(_GRID), np.zeros(_GRID)
    inside = np.ones(_GRID, dtype=bool)
    seen, squares, bounds = 0.0, 0.25, []
    for t, value in enumerate(x, start=1):
        left = total - t + 1
        rest = (total * means - seen) / left  # the mean of what is left, were this the mean of all
        possible = (rest >= -1e-12) & (rest <= 1 + 1e-12)
        inside &= possible
        rest = np.clip(rest, 1e-9, 1 - 1e-9)
        bet = math.sqrt(2 * math.log(2 / alpha) / (squares / t) / (t * math.log(t + 1)))
        up, down = np.minimum(bet, 0.75 / rest), np.minimum(bet, 0.75 / (1 - rest))
        with np.errstate(divide="ignore"):
            rising += np.log1p(up * (value - rest))
            falling += np.log1p(-down * (value - rest))
        inside &= np.maximum(rising, falling) < math.log(2 / alpha)
        guess = (0.5 + seen) / t
        seen += float(value)
        squares += (float(value) - guess) ** 2
        bounds.append(_ends(means, inside, seen, t, total))
    return bounds


def _ends(
    means: Floats, inside: np.ndarray, seen: float, t: int, total: int
) -> tuple[float, float]:
    """The kept means, a grid step wider on both sides, within what the items left can still do."""
    step = means[1] - means[0]
    least, most = seen / total, (seen + total - t) / total
    kept = means[inside]
    low, high = (kept[0] - step, kept[-1] + step) if len(kept) else (seen / t, seen / t)
    low, high = min(max(low, least), most), max(min(high, most), least)
    return 2 * float(low) - 1, 2 * float(high) - 1


def spending(fractions: Sequence[float], *, alpha: float = 0.05) -> list[float]:
    """Alpha to test with at each pre-declared look (shares of the suite, rising to 1).

    O'Brien–Fleming-like spending (Lan and DeMets 1983), one-sided: by ``fraction`` t at most
    2 − 2Φ(z / √t) of alpha is spent, z the normal quantile of 1 − alpha / 2. What a look may spend
    is tested by itself (Bonferroni between looks), which is valid whatever the looks' dependence.
    """
    from scipy.special import ndtr, ndtri

    t = np.asarray(fractions, float)
    if len(t) == 0 or np.any(np.diff(t) <= 0) or t[0] <= 0 or abs(t[-1] - 1) > 1e-9:
        raise ValueError("looks are rising shares of the suite that end with 1")
    spent = 2 * (1 - ndtr(ndtri(1 - alpha / 2) / np.sqrt(t)))
    return [float(x) for x in np.diff(spent, prepend=0.0)]
