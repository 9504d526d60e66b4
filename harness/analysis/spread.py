"""Where the spread comes from: variance by source, recovery by category, scores by suite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.analysis.grid import Grid
from harness.analysis.pairs import raw_arm, wrapped_arms
from harness.analysis.summaries import rate
from harness.analysis.values import CategoryShare, Ends, SuiteScores, SuiteShares, Variance
from harness.records import Condition
from harness.stats.rates import Floats, Ints
from harness.stats.recovery import Recovery, recovered_shares
from harness.stats.strata import equal_rate, equal_recovery
from harness.stats.variance import decompose


def variances(grid: Grid, stages: Sequence[str], level: str, seed: int) -> list[Variance]:
    """The variance of each stage's outcomes over its wrappers, headline items, at one level.

    Only where items were asked more than once: several epochs, or paraphrases. The bare prompt is
    left out beside other strategies: that it differs from them is no spread of wrappers.
    """
    found = []
    for stage in stages:
        arms = [c for c in wrapped_arms(grid, stage, level) if c.is_strategy]
        if not arms and (raw := raw_arm(grid, stage, level)):
            arms = [raw]
        parts = decompose(*_table(grid, arms), seed=seed) if arms else None
        if parts is not None:
            found.append(Variance(stage, tuple(arms), parts))
    return found


def _table(grid: Grid, arms: Sequence[Condition]) -> tuple[Ints, Ints, Ints, Floats]:
    """Codes of item, template and phrasing and the outcome, one row per headline answer."""
    rows = []
    for code, arm in enumerate(arms):
        unsupported = np.isnan(grid.verdicts[arm].strict)
        for row in grid.rows[arm]:
            at = grid.place(row)
            if grid.headline[at] and not unsupported[at]:
                rows.append((grid.clusters[at], code, at, float(bool(row.passed))))
    table = np.array(rows, dtype=float).reshape(-1, 4)
    codes = table[:, :3].astype(np.int64)
    return codes[:, 0], codes[:, 1], codes[:, 2], table[:, 3]


def category_shares(grid: Grid, arms: Ends, seed: int) -> list[CategoryShare]:
    """The recovered share of one wrapper in each category of headline items, by name."""
    names = np.array([sample.category for sample in grid.headline_samples], dtype=object)
    return [
        CategoryShare(name, arms[0], int((names == name).sum()), recovery)
        for name, recovery in _by_part(grid, arms, names, seed).items()
    ]


def suite_scores(grid: Grid, level: str) -> list[SuiteScores]:
    """Each arm's score per suite, pooled and with suites weighed equally; none for one suite."""
    suites = np.array([sample.suite for sample in grid.samples], dtype=object)
    mine = suites[grid.headline]
    names, strata = np.unique(mine, return_inverse=True)
    if len(names) < 2:
        return []
    found = []
    for condition in grid.conditions:
        if condition.level != level or condition.is_ablated:
            continue
        verdicts = grid.verdicts[condition]
        rates = {
            name: rate(grid, verdicts, verdicts.strict, None, grid.headline & (suites == name))
            for name in names.tolist()
        }
        pooled = rate(grid, verdicts, verdicts.strict, None, grid.headline)
        equal = equal_rate(grid.score(condition), strata, grid.headline_clusters)
        found.append(SuiteScores(condition, rates, pooled, equal))
    return found


def suite_shares(grid: Grid, arms: Ends, seed: int) -> SuiteShares | None:
    """What one wrapper recovers in each suite and with suites weighed equally; None for one."""
    suites = np.array([sample.suite for sample in grid.headline_samples], dtype=object)
    names, strata = np.unique(suites, return_inverse=True)
    if len(names) < 2:
        return None
    wrapped, base, instruct = (grid.score(arm) for arm in arms)
    gain, share = equal_recovery(wrapped, base, instruct, strata, grid.headline_clusters)
    return SuiteShares(arms[0], _by_part(grid, arms, suites, seed), gain, share)


def _by_part(grid: Grid, arms: Ends, labels: NDArray[np.object_], seed: int) -> dict[str, Recovery]:
    """What the wrapper recovers of the headline items that share a label ``(items,)``, by label."""
    wrapped, base, instruct = (grid.score(arm) for arm in arms)
    found = {}
    for label in sorted(set(labels.tolist())):
        mine = labels == label
        triple = (wrapped[mine], base[mine], instruct[mine])
        found[label] = recovered_shares([triple], grid.headline_clusters[mine], seed=seed)[0]
    return found
