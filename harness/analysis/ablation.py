"""What an arm passes without being asked to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.analysis.grid import Grid
from harness.analysis.values import Ablation
from harness.records import ABLATED, Condition, Estimate
from harness.stats.pairs import paired
from harness.stats.rates import Floats, clustered_rate
from harness.stats.recovery import recovered_shares


def ablations(
    grid: Grid, raw: Condition | None, instruct: Condition | None, seed: int
) -> list[Ablation]:
    """Every arm that ran with and without the instruction, on the items that have both prompts.

    ``raw`` and ``instruct`` are the ends of the recovered share: what a wrapper gains over raw is
    told apart where it ran on raw's stage and level.
    """
    found = []
    for bare in grid.conditions:
        asked = replace(bare, strategy=bare.strategy.removesuffix(ABLATED))
        if not bare.is_ablated or asked not in grid.rows:
            continue
        passes, unasked = grid.score(asked), grid.score(bare)
        gained = share = None
        if raw is not None and asked != raw and _beside(asked, raw):
            before = grid.score(raw)
            gained = _of_passes(grid, passes * (1 - before), unasked)
            if instruct is not None:
                triple = (unasked, before, grid.score(instruct))
                share = recovered_shares([triple], grid.headline_clusters, seed=seed)[0].share
        found.append(
            Ablation(
                condition=asked,
                ablated=bare,
                effect=paired(unasked, passes, grid.headline_clusters, seed=seed).delta,
                unasked=_of_passes(grid, passes, unasked),
                gained=gained,
                share=share,
            )
        )
    return found


def _beside(one: Condition, other: Condition) -> bool:
    return (one.stage, one.level) == (other.stage, other.level)


def _of_passes(grid: Grid, passes: Floats, unasked: Floats) -> Estimate:
    """The share of ``passes`` (one weight per item) that is there unasked too."""
    weights = np.where(np.isnan(passes) | np.isnan(unasked), 0.0, passes)
    kept = weights > 0
    hits = weights[kept] * unasked[kept]
    return clustered_rate(hits, weights[kept], grid.headline_clusters[kept], repeats=grid.epochs)
