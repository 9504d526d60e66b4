"""Where the spread of outcomes comes from: item, template, paraphrase, seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.records import Estimate
from harness.stats.rates import Floats, Ints

COMPONENTS = ("item", "template", "item × template", "paraphrase", "seed")
RESAMPLES = 1_000
PICKS = 2_000


@dataclass(frozen=True, slots=True)
class Decomposition:
    """The variance of one outcome as components that add up.

    ``components`` are variances by name (:data:`COMPONENTS`), those that the data can tell apart,
    with bootstrap intervals over items; ``total`` is their sum. ``units`` items were answered under
    every template; ``phrasings`` and ``seeds`` are the most that any of them has. ``best`` is, per
    template, how often it has the best mean when one phrasing and one seed of each item are drawn:
    the noise in "which is best" that comes from how often and how each item was asked.
    """

    components: dict[str, Estimate]
    total: float
    units: int
    phrasings: int
    seeds: int
    best: tuple[float, ...]

    def share(self, name: str) -> float | None:
        """A component's part of the total; None where there is nothing to divide."""
        found = self.components.get(name)
        if found is None or found.value is None or not self.total:
            return None
        return found.value / self.total


def decompose(
    units: Ints,
    templates: Ints,
    phrasings: Ints,
    outcomes: Floats,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Decomposition | None:
    """Split the variance of ``outcomes`` ``(n,)`` by the law of total variance.

    ``units`` and ``templates`` are codes ``(n,)`` from 0; ``phrasings`` are codes of the phrasing
    of an item; rows that share all three are seeds. Items × templates are an analysis of variance
    with crossed random effects, phrasings and seeds are nested in their cells, and each mean square
    is corrected for the noise of the level below (Searle, Casella and McCulloch 1992, section 4.4);
    a component below 0 is 0. None without two items that were answered under every template, or
    where no item was asked twice in one template.
    """
    table = _cells(units, templates, phrasings, outcomes)
    if table is None:
        return None
    whole = _components(*table.arrays())
    rng = np.random.default_rng([seed, 0xA0])
    n = len(table.means)
    draws = np.array(
        [
            _components(*(array[chosen] for array in table.arrays()))
            for chosen in (rng.integers(0, n, n) for _ in range(resamples))
        ]
    )
    found = {}
    for place, name in enumerate(COMPONENTS):
        value, drawn = float(whole[place]), draws[:, place]
        if not np.isnan(value):
            low, high = np.quantile(drawn[~np.isnan(drawn)], [0.025, 0.975])
            ends = min(float(low), value), max(float(high), value)
            found[name] = Estimate(value, *ends, 0.95, "bootstrap over items", n)
    return Decomposition(
        components=found,
        total=float(np.nansum(whole)),
        units=n,
        phrasings=table.phrasings,
        seeds=table.seeds,
        best=_best(table, rng),
    )


@dataclass(frozen=True, slots=True)
class _Table:
    """Per item and template ``(units, templates)``: mean, and what its phrasings and seeds say.

    ``between`` is the variance of phrasing means (NaN with one phrasing), ``within`` the mean
    variance over seeds (NaN with one seed), ``noise`` the mean of 1 / seeds, ``asked`` the number
    of phrasings. ``answers`` are the outcomes of each cell.
    """

    means: Floats
    between: Floats
    within: Floats
    noise: Floats
    asked: Floats
    answers: list[list[Floats]]
    phrasings: int
    seeds: int

    def arrays(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """What :func:`_components` reads; rows may be drawn again."""
        return self.means, self.between, self.within, self.noise, self.asked


def _cells(units: Ints, templates: Ints, phrasings: Ints, outcomes: Floats) -> _Table | None:
    grouped: dict[tuple[int, int], dict[int, list[float]]] = {}
    for unit, template, phrasing, outcome in zip(
        units.tolist(), templates.tolist(), phrasings.tolist(), outcomes.tolist(), strict=True
    ):
        if not np.isnan(outcome):
            grouped.setdefault((unit, template), {}).setdefault(phrasing, []).append(outcome)
    names = sorted(set(templates.tolist()))
    whole = [u for u in sorted(set(units.tolist())) if all((u, t) in grouped for t in names)]
    repeated = any(sum(map(len, cell.values())) > 1 for cell in grouped.values())
    if len(whole) < 2 or not names or not repeated:
        return None
    shape = (len(whole), len(names))
    stats = np.full((5, *shape), np.nan)
    answers: list[list[Floats]] = []
    for i, unit in enumerate(whole):
        answers.append([])
        for j, name in enumerate(names):
            cell = [np.array(seeds) for seeds in grouped[unit, name].values()]
            means = np.array([seeds.mean() for seeds in cell])
            spreads = [seeds.var(ddof=1) for seeds in cell if len(seeds) > 1]
            stats[:, i, j] = (
                means.mean(),
                means.var(ddof=1) if len(means) > 1 else np.nan,
                np.mean(spreads) if spreads else np.nan,
                np.mean([1 / len(seeds) for seeds in cell]),
                len(means),
            )
            answers[-1].append(np.concatenate(cell))
    most = max(len(seeds) for cell in grouped.values() for seeds in cell.values())
    means, between, within, noise, asked = stats
    return _Table(means, between, within, noise, asked, answers, int(asked.max()), most)


def _components(
    means: Floats, between: Floats, within: Floats, noise: Floats, asked: Floats
) -> Floats:
    """The five components; NaN for one that these items cannot tell from the next."""
    n, k = means.shape
    seeds = float(np.nanmean(within)) if not np.isnan(within).all() else np.nan
    below = 0.0 if np.isnan(seeds) else seeds
    phrasing = np.nan
    if not np.isnan(between).all():
        repeated = ~np.isnan(between)
        phrasing = float(np.mean(between[repeated] - below * noise[repeated]))
    inside = (0.0 if np.isnan(phrasing) else max(phrasing, 0.0)) / asked + below * noise / asked
    rows, columns = means.mean(axis=1), means.mean(axis=0)
    crossed, template = np.nan, np.nan
    item = float(rows.var(ddof=1)) - float(inside.mean()) / k
    if k > 1:
        residual = means - rows[:, None] - columns[None, :] + means.mean()
        square = float((residual**2).sum()) / ((n - 1) * (k - 1))
        crossed = square - float(inside.mean())
        template = float(columns.var(ddof=1)) - square / n
        item = float(rows.var(ddof=1)) - square / k
    found = np.array([item, template, crossed, phrasing, seeds])
    return np.where(np.isnan(found), np.nan, np.maximum(found, 0.0))


def _best(table: _Table, rng: np.random.Generator) -> tuple[float, ...]:
    """How often each template is best when every item is asked once (ties split)."""
    k = table.means.shape[1]
    sums = np.zeros((PICKS, k))
    for cells in table.answers:
        for column, answers in enumerate(cells):
            sums[:, column] += answers[rng.integers(0, len(answers), PICKS)]
    top = sums >= sums.max(axis=1, keepdims=True) - 1e-9
    return tuple(float(share) for share in (top / top.sum(axis=1, keepdims=True)).mean(axis=0))
