"""The best of several wrappers: its worth, with the selection run again in every resample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.records import Estimate
from harness.stats.bootstrap import resample_counts
from harness.stats.pairs import RESAMPLES, paired, tango_with_error
from harness.stats.rates import (
    Floats,
    Ints,
    cluster_sums,
    clustered_rate,
    exact_where_few,
    wilson,
    z_of,
)
from harness.stats.recovery import Recovery, judged_share, recovered_shares
from harness.stats.selection import FOLDS, Selection, cross_fitted


@dataclass(frozen=True, slots=True)
class Level:
    """One level's item scores: candidates ``(n, k)``, the raw and the instruct arm ``(n,)``."""

    scores: Floats
    base: Floats
    instruct: Floats


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the folds' choice of the reference level is worth at one level.

    ``fixed`` is the share of the reference level's own gap, ``interaction`` the gain here minus
    the gain there (None at the reference level itself).
    """

    score: Estimate
    recovery: Recovery
    fixed: Estimate
    interaction: Estimate | None


@dataclass(frozen=True, slots=True)
class Named:
    """Simultaneous claims about column ``winner``, and the chance that it is the best.

    ``gains`` are the gains of all columns, every interval holding at once.
    """

    winner: int
    score: Estimate
    gains: tuple[Estimate, ...]
    chance: float

    @property
    def gain(self) -> Estimate:
        """The winner's gain over the raw prompt."""
        return self.gains[self.winner]


def best_of_many(
    reference: Level,
    others: Sequence[Level],
    folds: Ints,
    clusters: Ints,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> tuple[Selection, Named, list[Chosen]] | None:
    """Choose a column per fold at the reference level and judge it there and at the other levels.

    Folds are fixed per cluster and choose for each other, so folds' outcomes depend on one
    another: the whole procedure runs again in each bootstrap draw, and its standard deviation
    gives the intervals (as an effective sample size, so that they stay in range). Items with NaN
    in any arm leave all. None where nothing can be chosen.
    """
    levels = [reference, *others]
    columns = [np.column_stack([item.scores, item.base, item.instruct]) for item in levels]
    complete = ~np.isnan(np.column_stack(columns)).any(axis=1)
    columns = [item[complete] for item in columns]
    folds, clusters = folds[complete], clusters[complete]
    k = reference.scores.shape[1]
    selection = cross_fitted(columns[0][:, :k], folds) if complete.any() else None
    if selection is None:
        return None
    units, draws, sizes = _draws(columns, folds, clusters, k, seed, resamples)
    picks = _picks(folds, selection)
    values = [item[np.arange(len(item)), picks] for item in columns]
    judge = _Judge(columns, values, draws, sizes, clusters, k, seed, level, units)
    named = _named(columns[0], draws[0], sizes, clusters, k, selection.winner, level)
    return selection, named, [judge.at(place) for place in range(len(levels))]


def _picks(folds: Ints, selection: Selection) -> Ints:
    chosen = dict(zip(np.unique(folds).tolist(), selection.chosen, strict=True))
    return np.array([chosen[fold] for fold in folds.tolist()], dtype=np.int64)


def _draws(
    columns: Sequence[Floats], folds: Ints, clusters: Ints, k: int, seed: int, resamples: int
) -> tuple[int, list[Floats], Floats]:
    """Per level ``(resamples, k + 3)`` sums: every arm, and the value of the re-run selection."""
    _, first = np.unique(clusters, return_index=True)
    fold_of = folds[first]
    sizes = cluster_sums(np.ones(len(clusters)), clusters)
    units = [cluster_sums(item, clusters) for item in columns]
    names = np.unique(fold_of)
    found: list[list[Floats]] = [[] for _ in units]
    drawn = []
    for counts in resample_counts(len(first), resamples=resamples, seed=seed):
        rows = np.arange(len(counts))
        parts = [counts[:, fold_of == f] for f in names]
        by_fold = [
            [part @ unit[fold_of == f] for f, part in zip(names, parts, strict=True)]
            for unit in units
        ]
        total = np.sum([part[:, :k] for part in by_fold[0]], axis=0)
        chosen = [np.argmax(np.round(total - part[:, :k], 9), axis=1) for part in by_fold[0]]
        for place, pieces in enumerate(by_fold):
            worth = np.sum(
                [piece[rows, pick] for piece, pick in zip(pieces, chosen, strict=True)], axis=0
            )
            found[place].append(np.column_stack([np.sum(pieces, axis=0), worth]))
        drawn.append(counts @ sizes)
    return len(first), [np.concatenate(item) for item in found], np.concatenate(drawn)


@dataclass(frozen=True, slots=True)
class _Judge:
    """Everything that judging one level needs."""

    columns: Sequence[Floats]
    values: Sequence[Floats]
    draws: Sequence[Floats]
    sizes: Floats
    clusters: Ints
    k: int
    seed: int
    level: float
    units: int

    def at(self, place: int) -> Chosen:
        base, instruct = self.columns[place][:, self.k], self.columns[place][:, self.k + 1]
        fixed_base, fixed_instruct = self.columns[0][:, self.k], self.columns[0][:, self.k + 1]
        own, fixed = recovered_shares(
            [
                (self.values[place], base, instruct),
                (self.values[place], fixed_base, fixed_instruct),
            ],
            self.clusters,
            seed=self.seed,
            level=self.level,
        )
        worth, raw = self._mean(place, self.k + 2), self._mean(place, self.k)
        own = replace(
            own,
            gain=self._difference(self.values[place] - base, worth - raw),
            rest=self._difference(
                instruct - self.values[place], self._mean(place, self.k + 1) - worth
            ),
            share=self._share(own, worth - raw, self._mean(place, self.k + 1) - raw),
        )
        there = self._mean(0, self.k)
        share = self._share(fixed, worth - there, self._mean(0, self.k + 1) - there)
        interaction = None
        if place:
            before = self.values[0] - fixed_base
            gain = self._mean(0, self.k + 2) - there
            half = self._difference(
                (self.values[place] - base - before) / 2, (worth - raw - gain) / 2
            )
            interaction = scaled(half, 2)
        return Chosen(self._score(place), own, share, interaction)

    def _mean(self, place: int, column: int) -> Floats:
        return np.asarray(self.draws[place][:, column] / self.sizes)

    def _score(self, place: int) -> Estimate:
        values = self.values[place]
        rate, sd = float(values.mean()), float(self._mean(place, self.k + 2).std())
        n = rate * (1 - rate) / sd**2 if sd > 1e-9 and 0 < rate < 1 else float(self.units)
        low, high = wilson(rate * n, n, self.level)
        method = "Wilson (exact where few pass), selection re-run in each resample"
        found = Estimate(rate, min(low, rate), max(high, rate), self.level, method, len(values))
        # At most as many columns as folds make the score: Šidák's level over them.
        return exact_where_few(found, float(self.units), self.level ** (1 / min(self.k, FOLDS)))

    def _difference(self, difference: Floats, draws: Floats) -> Estimate:
        mean = float(difference.mean())
        low, high = tango_with_error(
            difference, float(draws.std()), float(self.units), z_of(self.level)
        )
        method = "Tango, selection re-run in each resample"
        ends = (min(low, mean), max(high, mean))
        return Estimate(mean, *ends, self.level, method, len(difference))

    def _share(self, found: Recovery, gain: Floats, gap: Floats) -> Estimate:
        """± z times the linearised standard deviation, never narrower than without selection."""
        share = found.share
        if share.value is None or share.low is None or share.high is None or not found.gap.value:
            return share
        reach = z_of(self.level) * float((gain - share.value * gap).std()) / found.gap.value
        low, high = min(share.low, share.value - reach), max(share.high, share.value + reach)
        method = "selection re-run in each resample"
        return judged_share(replace(share, low=low, high=high, method=method))


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """An estimate in other units."""
    value, low, high = (
        None if end is None else factor * end
        for end in (estimate.value, estimate.low, estimate.high)
    )
    return replace(estimate, value=value, low=low, high=high)


def max_t(centre: Floats, draws: Floats, level: float = 0.95) -> float:
    """The critical value that holds for all ``k`` columns at once: draws ``(resamples, k)``.

    The quantile of the largest studentised deviation over the columns with any spread; never
    under the single-test normal quantile.
    """
    spread = draws.std(axis=0)
    moving = spread > 1e-9
    if not moving.any():
        return z_of(level)
    largest = (np.abs(draws[:, moving] - centre[moving]) / spread[moving]).max(axis=1)
    return max(z_of(level), float(np.quantile(largest, level)))


def _named(
    columns: Floats, draws: Floats, sizes: Floats, clusters: Ints, k: int, winner: int, level: float
) -> Named:
    from scipy.special import ndtr

    scores, base = columns[:, :k], columns[:, k]
    means = draws[:, :k] / sizes[:, None]
    gains = means - (draws[:, k] / sizes)[:, None]
    wide = 2 * float(ndtr(max_t(scores.mean(axis=0), means, level))) - 1
    score = clustered_rate(scores[:, winner], np.ones(len(scores)), clusters, level=wide)
    wide = 2 * float(ndtr(max_t((scores - base[:, None]).mean(axis=0), gains, level))) - 1
    # Šidák's level: resamples cannot see the spread of a column in which nothing passes.
    score = exact_where_few(score, float(len(np.unique(clusters))), level ** (1 / k))
    found = [paired(base, scores[:, column], clusters, level=wide).delta for column in range(k)]
    rounded = np.round(means, 9)
    top = rounded == rounded.max(axis=1, keepdims=True)
    chance = float((top[:, winner] / top.sum(axis=1)).mean())
    method = f"simultaneous max-T over {k}"
    return Named(
        winner,
        replace(score, level=level, method=f"{method}, exact where few pass"),
        tuple(replace(gain, level=level, method=method) for gain in found),
        chance,
    )
