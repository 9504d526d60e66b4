"""What an arm passes without being asked to, and whether that is most of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness import numbers
from harness.analysis.grid import Grid
from harness.analysis.values import Ablation, Analysis
from harness.records import ABLATED, Condition, Decision, Estimate, Verdict
from harness.stats.pairs import paired
from harness.stats.rates import Floats, clustered_rate
from harness.stats.recovery import recovered_shares

_HALF = 0.5


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


def unasked_decisions(analysis: Analysis) -> tuple[Decision, ...]:
    """Does an arm pass because it was asked to? One decision per arm with an ablated control,
    at the reference level.

    For a wrapper of the base the question is about what it gains over raw, else about all that it
    passes; more than half by the whole interval is "shown".
    """
    found = [item for item in analysis.ablations if item.condition.level == analysis.level]
    return tuple(_unasked_decision(item) for item in found)


def _unasked_decision(item: Ablation) -> Decision:
    name = f"{item.condition.stage} {item.condition.strategy}"
    gains = item.gained is not None and item.gained.value is not None
    share = item.gained if gains and item.gained else item.unasked
    what = "what it gains over the raw prompt" if gains else "what it passes"
    evidence = [
        f"asked − unasked: {numbers.points(item.effect)}",
        f"of all that it passes, {numbers.rate(item.unasked)} passes unasked",
    ]
    if item.share is not None:
        evidence.append(f"share of the gap recovered without asking: {numbers.rate(item.share)}")
    told = f"{numbers.rate(share)} of {numbers.size(share.n, 'item')}"
    verdict: Verdict = "cannot tell"
    settle = ""
    if share.low is None or share.high is None:
        sentence = f"{name}: it passes nothing, asked or not."
    elif share.low > _HALF:
        verdict = "shown"
        sentence = f"{name}: most of {what} needs no instruction: it passes unasked too ({told})."
    elif share.high < _HALF:
        verdict = "shown not"
        sentence = f"{name}: most of {what} it passes only when asked (unasked {told})."
    else:
        sentence = f"{name}: whether most of {what} needs the instruction cannot be told ({told})."
        settle = "more items with an ablated text that the arm passes"
    return Decision("unasked", name, verdict, sentence, tuple(evidence), settle)


def _beside(one: Condition, other: Condition) -> bool:
    return (one.stage, one.level) == (other.stage, other.level)


def _of_passes(grid: Grid, passes: Floats, unasked: Floats) -> Estimate:
    """The share of ``passes`` (one weight per item) that is there unasked too."""
    weights = np.where(np.isnan(passes) | np.isnan(unasked), 0.0, passes)
    kept = weights > 0
    hits = weights[kept] * unasked[kept]
    return clustered_rate(hits, weights[kept], grid.headline_clusters[kept], repeats=grid.epochs)
