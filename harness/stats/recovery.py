"""The recovered share R = (W − B) / (I − B) of the gap between a base and an instruct arm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.records import Estimate
from harness.stats.bootstrap import bca, resampled_sums
from harness.stats.pairs import RESAMPLES, paired
from harness.stats.rates import Floats, Ints, cluster_sums, mean_and_error, undefined, z_of

MINIMUM_GAP = 0.05
"""A gap between instruct and base below this is too small to divide by."""
_NEGATIVE_DRAWS = 0.01
FEW = 5
"""With fewer discordant items in gain or rest a bootstrap collapses: MOVER-R from Tango's ends."""
WIDEST = 1.0
"""A share whose interval is wider than this is undetermined: no number."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """A recovered share with everything it has to be read beside.

    ``fieller`` has no number either where MOVER-R takes over (it covers 83 % there).
    ``share`` (BCa, or MOVER-R where gain or rest hardly differ) and ``fieller`` are None-valued,
    with the reason as their note ("not estimable: …", "undetermined: …"), where no number may be
    printed; ``gap`` is D = I − B, ``gain`` W − B and ``rest`` I − W, always there.
    """

    share: Estimate
    fieller: Estimate
    gap: Estimate
    gain: Estimate
    rest: Estimate

    @property
    def overstated(self) -> bool:
        """A gap seen with so few items (low end under half of it) tends to be overstated."""
        gap = self.gap
        return gap.value is not None and gap.low is not None and 0 < gap.low < gap.value / 2


def recovered_shares(
    triples: Sequence[tuple[Floats, Floats, Floats]],
    clusters: Ints,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> list[Recovery]:
    """Recovered shares of many (W, B, I) triples of item scores ``(n,)``, resampled jointly.

    An item missing (NaN) from any arm of a triple is dropped from all three. Shares pool as a
    ratio of sums over prompts and are never clipped: below 0 and above 1 are findings.
    """
    if not triples:
        return []
    columns = [column for triple in triples for column in _numerator_and_gap(*triple)]
    units = cluster_sums(np.column_stack(columns), clusters)
    draws = resampled_sums(units, resamples=resamples, seed=seed)
    return [
        _recovery(triple, clusters, units[:, 2 * k : 2 * k + 2], draws[:, 2 * k : 2 * k + 2], level)
        for k, triple in enumerate(triples)
    ]


def _numerator_and_gap(wrapped: Floats, base: Floats, instruct: Floats) -> tuple[Floats, Floats]:
    """W − B and I − B per item, 0 where any of the three is missing."""
    complete = ~(np.isnan(wrapped) | np.isnan(base) | np.isnan(instruct))
    return np.where(complete, wrapped - base, 0.0), np.where(complete, instruct - base, 0.0)


def _recovery(
    triple: tuple[Floats, Floats, Floats],
    clusters: Ints,
    units: Floats,
    draws: Floats,
    level: float,
) -> Recovery:
    complete = np.asarray(~np.isnan(np.column_stack(triple)).any(axis=1))
    wrapped, base, instruct = (arm[complete] for arm in triple)
    groups, n = clusters[complete], int(complete.sum())
    missing = len(complete) - n
    gap = paired(base, instruct, groups, level=level).delta
    gain = paired(base, wrapped, groups, level=level).delta
    rest = paired(wrapped, instruct, groups, level=level).delta

    def refuse(reason: str) -> Recovery:
        nothing = undefined(f"not estimable: {reason}", n=n, n_missing=missing, level=level)
        return Recovery(nothing, nothing, gap, gain, rest)

    if gap.value is None or gap.low is None:
        return refuse("no item was answered by all three arms")
    if gap.value < MINIMUM_GAP - 1e-9:
        return refuse(
            f"instruct minus base is {100 * gap.value:.1f} points, "
            f"under the {100 * MINIMUM_GAP:.0f} that can be divided by"
        )
    if gap.low <= 0:
        return refuse("the interval of instruct minus base includes zero")
    gain_error, gap_error, covariance = _errors(wrapped - base, instruct - base, groups)
    g = (z_of(level) * gap_error / gap.value) ** 2
    if not g < 1:
        return refuse(f"instruct minus base is too uncertain (g = {g:.2f})")
    usable = draws[:, 1] > 1e-9
    if 1 - usable.mean() > _NEGATIVE_DRAWS:
        return refuse(
            f"instruct minus base is not positive in {100 * (1 - usable.mean()):.1f} % of resamples"
        )
    value = float(units[:, 0].sum() / units[:, 1].sum())
    low, high = fieller(gain.value or 0.0, gap.value, gain_error, gap_error, covariance, level)
    beside = Estimate(value, low, high, level, "Fieller", n, missing)
    if min(_discordant(wrapped - base, groups), _discordant(instruct - wrapped, groups)) < FEW:
        ends = _mover_share(wrapped, base, instruct, (gain, rest, gap), groups)
        method = "MOVER-R from Tango's ends"
        told = f"not printed: fewer than {FEW} items differ, where a normal interval is too narrow"
        beside = undefined(told, n=n, n_missing=missing, level=level)
    else:
        ends = _share_interval(value, units, draws[usable], level)
        method = "joint BCa bootstrap over prompts"
    if ends is None:
        return refuse("the interval of the share is undefined")
    share = judged_share(Estimate(value, *ends, level, method, n, missing))
    if share.value is None:
        beside = share
    return Recovery(share, beside, gap, gain, rest)


def judged_share(share: Estimate) -> Estimate:
    """The share, or no number where its interval says nothing: over 100 points, or 0 and 1 both."""
    if share.value is None or share.low is None or share.high is None:
        return share
    both = share.low <= 0 and share.high >= 1
    if not both and share.high - share.low <= WIDEST:
        return share
    told = "holds both nothing and everything" if both else "is wider than 100 points"
    return undefined(
        f"undetermined: its interval {told}",
        n=share.n,
        n_missing=share.n_missing,
        level=share.level,
    )


def _discordant(difference: Floats, clusters: Ints) -> int:
    """Clusters in which the two arms differ at all."""
    return int(np.count_nonzero(cluster_sums(np.abs(difference), clusters) > 1e-12))


def _mover_share(
    wrapped: Floats,
    base: Floats,
    instruct: Floats,
    parts: tuple[Estimate, Estimate, Estimate],
    clusters: Ints,
) -> tuple[float, float] | None:
    """MOVER-R of gain / gap, or of 1 − rest / gap where it is the rest that hardly differs."""
    gain, rest, gap = parts
    few_rest = _discordant(instruct - wrapped, clusters) < _discordant(wrapped - base, clusters)
    top, part = (instruct - wrapped, rest) if few_rest else (wrapped - base, gain)
    sums = cluster_sums(np.column_stack([top, instruct - base]), clusters)
    spread = sums.std(axis=0)
    flat = bool(np.any(spread < 1e-12))
    correlation = 0.0 if flat else float(np.corrcoef(sums[:, 0], sums[:, 1])[0, 1])
    ends = mover_ratio(part, gap, correlation)
    if ends is None or not few_rest:
        return ends
    return 1 - ends[1], 1 - ends[0]


def mover_ratio(
    top: Estimate, bottom: Estimate, correlation: float = 0.0
) -> tuple[float, float] | None:
    """The interval of top / bottom from the intervals of both (MOVER-R; Donner and Zou 2012).

    The ratio r is inside while top − r · bottom, with the variances recovered from the ends that
    matter on that side, is not different from 0. None where the bottom's interval reaches too far.
    """
    if None in (top.value, top.low, top.high, bottom.value, bottom.low, bottom.high):
        return None
    a, a_low, a_high = float(top.value or 0), float(top.low or 0), float(top.high or 0)
    b, b_low, b_high = float(bottom.value or 0), float(bottom.low or 0), float(bottom.high or 0)

    def root(reach: float, other: float, side: int) -> float | None:
        square = b * b - other * other
        middle = a * b - correlation * reach * other
        inside = middle**2 - square * (a * a - reach * reach)
        if square <= 0 or inside < 0:
            return None
        return float((middle + side * math.sqrt(inside)) / square)

    low = root(a - a_low, b_high - b, -1)
    if low is not None and low < 0:  # below zero it is the other end of the gap that matters
        low = root(a - a_low, b - b_low, -1)
    high = root(a_high - a, b - b_low, 1)
    if high is not None and high < 0:
        high = root(a_high - a, b_high - b, 1)
    return None if low is None or high is None else (min(low, a / b), max(high, a / b))


def _share_interval(
    value: float, units: Floats, draws: Floats, level: float
) -> tuple[float, float] | None:
    leave_one_out = units.sum(axis=0) - units
    if np.any(leave_one_out[:, 1] <= 1e-9):
        return None
    ratios = leave_one_out[:, 0] / leave_one_out[:, 1]
    return bca(value, draws[:, 0] / draws[:, 1], ratios, level)


def _errors(gain: Floats, gap: Floats, clusters: Ints) -> tuple[float, float, float]:
    """Standard errors of two means over the same clustered items, and their covariance."""
    _, gain_error, groups = mean_and_error(gain, clusters)
    _, gap_error, _ = mean_and_error(gap, clusters)
    if groups < 2:
        return math.nan, math.nan, math.nan
    residuals = cluster_sums(np.column_stack([gain - gain.mean(), gap - gap.mean()]), clusters)
    product = float((residuals[:, 0] * residuals[:, 1]).sum())
    return gain_error, gap_error, groups / (groups - 1) * product / len(gain) ** 2


def fieller(
    numerator: float,
    denominator: float,
    numerator_error: float,
    denominator_error: float,
    covariance: float,
    level: float = 0.95,
) -> tuple[float, float]:
    """Fieller's interval (1954) of a ratio of two correlated normal means.

    The set of ratios r for which numerator − r · denominator is not significantly different from
    0. Raises ValueError when it is unbounded (the denominator itself is not significant).
    """
    z2 = z_of(level) ** 2
    a = denominator**2 - z2 * denominator_error**2
    b = numerator * denominator - z2 * covariance
    c = numerator**2 - z2 * numerator_error**2
    if not a > 0:
        raise ValueError("Fieller's interval is unbounded: the denominator includes zero")
    root = math.sqrt(max(b * b - a * c, 0.0))
    return (b - root) / a, (b + root) / a
