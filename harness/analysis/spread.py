"""Where the spread comes from, and what several suites say together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.analysis.grid import Grid, Mask
from harness.analysis.values import SuiteScores, SuiteShares, Variance
from harness.records import Condition, Estimate
from harness.stats.rates import Floats, Ints, clustered_rate
from harness.stats.recovery import recovered_shares
from harness.stats.strata import equal_rate, equal_recovery
from harness.stats.variance import decompose

RAW = "raw"


def variances(grid: Grid, stages: Sequence[str], level: str, seed: int) -> list[Variance]:
    """The variance of each stage's outcomes over its wrappers, headline items, at one level.

    Only where items were asked more than once: several epochs, or paraphrases. The bare prompt is
    left out beside other strategies: that it differs from them is no spread of wrappers.
    """
    found = []
    for stage in stages:
        arms = [
            c for c in grid.conditions if (c.stage, c.level) == (stage, level) and c.is_strategy
        ]
        arms = [c for c in arms if c.strategy != RAW] or arms
        parts = decompose(*_table(grid, arms), seed=seed) if arms else None
        if parts is not None:
            found.append(Variance(stage, tuple(arms), parts))
    return found


def _table(grid: Grid, arms: Sequence[Condition]) -> tuple[Ints, Ints, Ints, Floats]:
    """Codes of item, template and phrasing and the outcome, one row per headline answer."""
    place = {(sample.suite, sample.id): at for at, sample in enumerate(grid.samples)}
    rows = []
    for code, arm in enumerate(arms):
        unsupported = np.isnan(grid.verdicts[arm].strict)
        for row in grid.rows[arm]:
            at = place[row.sample.suite, row.sample.id]
            if grid.headline[at] and not unsupported[at]:
                rows.append((grid.clusters[at], code, at, float(bool(row.passed))))
    table = np.array(rows, dtype=float).reshape(-1, 4)
    codes = table[:, :3].astype(np.int64)
    return codes[:, 0], codes[:, 1], codes[:, 2], table[:, 3]


def suite_scores(grid: Grid, level: str) -> list[SuiteScores]:
    """Each arm's score per suite, pooled and with suites weighed equally; none for one suite."""
    names, strata = _suites(grid)
    if len(names) < 2:
        return []
    found = []
    for condition in grid.conditions:
        if condition.level != level or condition.is_ablated:
            continue
        score = grid.score(condition)
        rates = {
            name: _rate(grid, score, np.asarray(strata == code)) for code, name in enumerate(names)
        }
        pooled = _rate(grid, score, np.ones(len(score), dtype=bool))
        equal = equal_rate(score, strata, grid.headline_clusters)
        found.append(SuiteScores(condition, rates, pooled, equal))
    return found


def _rate(grid: Grid, score: Floats, mask: Mask) -> Estimate:
    known = mask & ~np.isnan(score)
    clusters = grid.headline_clusters[known]
    return clustered_rate(score[known], np.ones(int(known.sum())), clusters, repeats=grid.epochs)


def suite_shares(
    grid: Grid,
    raw: Condition | None,
    wrapper: Condition | None,
    instruct: Condition | None,
    seed: int,
) -> SuiteShares | None:
    """What one wrapper recovers in each suite and with suites weighed equally."""
    names, strata = _suites(grid)
    if len(names) < 2 or raw is None or wrapper is None or instruct is None:
        return None
    arms = [grid.score(arm) for arm in (wrapper, raw, instruct)]
    suites = {}
    for code, name in enumerate(names):
        mine = strata == code
        triple = (arms[0][mine], arms[1][mine], arms[2][mine])
        clusters = grid.headline_clusters[mine]
        suites[name] = recovered_shares([triple], clusters, seed=seed)[0]
    gain, share = equal_recovery(arms[0], arms[1], arms[2], strata, grid.headline_clusters)
    return SuiteShares(wrapper, suites, gain, share)


def _suites(grid: Grid) -> tuple[list[str], Ints]:
    """The suites of the headline items by name, and each item's code."""
    mine = [s.suite for s, kept in zip(grid.samples, grid.headline, strict=True) if kept]
    names = sorted(set(mine))
    return names, np.array([names.index(name) for name in mine], dtype=np.int64)
