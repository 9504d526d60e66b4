"""From scored rows to everything a report says in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from harness.analysis.ablation import ablations
from harness.analysis.decisions import decide
from harness.analysis.grid import Grid, build_grid
from harness.analysis.pairs import (
    DeclaredContrast,
    declared_comparisons,
    explored_comparisons,
    instruct_arm,
    level_verdicts,
    power_of,
    ranking_refused,
    raw_arm,
    shares_and_best,
    strategy_pairs,
)
from harness.analysis.sensitivity import sensitivities
from harness.analysis.spread import category_shares, suite_scores, suite_shares, variances
from harness.analysis.summaries import null_floor, predictabilities, summarise
from harness.analysis.values import (
    Ablation,
    Analysis,
    BestWrapper,
    CategoryShare,
    ConditionSummary,
    FileFacts,
    LevelVerdict,
    Metrics,
    NamedWinner,
    NullFloor,
    Power,
    Predictability,
    RecoveredShare,
    Sensitivity,
)
from harness.measured import NOTHING, Measured
from harness.records import Cell, Condition, Scored
from harness.stats.power import default_margin

__all__ = [
    "Ablation",
    "Analysis",
    "BestWrapper",
    "CategoryShare",
    "ConditionSummary",
    "FileFacts",
    "LevelVerdict",
    "Metrics",
    "NamedWinner",
    "NullFloor",
    "Power",
    "Predictability",
    "RecoveredShare",
    "Sensitivity",
    "analyse",
    "decide",
]


def analyse(
    scored: Sequence[Scored],
    *,
    recovery: tuple[str, str] | None,
    contrasts: Sequence[DeclaredContrast],
    reference_level: str,
    seed: int,
    bits_per_weight: Mapping[Cell, float],
    levels: Sequence[str],
    margin: float | None = None,
    files: Mapping[Cell, FileFacts] | None = None,
    measured: Measured = NOTHING,
) -> Analysis:
    """Compute every figure of a report from scored rows, whatever their order.

    ``recovery`` names the base and the instruct stage; ``contrasts`` are (name, a, b) with b − a;
    ``levels`` is the order of display; ``bits_per_weight`` is by cell; ``margin`` is the
    difference that counts as none (0.03; default: what so many items resolve). An item that an arm
    did not answer is wrong there (intention to treat), and counted as missing. ``files`` and
    ``measured`` say what is known of the model files.
    """
    grid = build_grid(scored)
    order = _levels(grid, levels)
    reference = reference_level if reference_level in order or not order else order[0]
    everything = grid.headline | True
    floors = (null_floor(grid, everything), null_floor(grid, grid.headline))
    conditions, controls = (
        tuple(summarise(grid, c, floors, bits_per_weight) for c in which)
        for which in (_ordered(grid, order, recovery), grid.controls)
    )
    repeated = predictabilities(grid)
    shares: list[RecoveredShare] = []
    best: list[BestWrapper] = []
    raw = instruct = None
    if recovery is not None:
        shares, best = shares_and_best(grid, recovery, order, reference, seed)
        raw = raw_arm(grid, recovery[0], reference)
        instruct = instruct_arm(grid, recovery[1], reference)
    winner = next((item.winner for item in best if item.level == reference), None)
    ends = (winner, raw, instruct) if winner and raw and instruct else None
    stages = sorted({c.stage for c in grid.conditions})
    units = len(set(grid.headline_clusters.tolist()))
    margin = default_margin(units) if margin is None else margin
    mains = [
        winner
        if winner is not None and winner.stage == stage
        else instruct_arm(grid, stage, reference)
        for stage in stages
    ]
    explored, interactions = explored_comparisons(grid, order, reference, seed)
    return Analysis(
        recovery=recovery,
        level=reference,
        levels=order,
        seed=seed,
        epochs=1 + max((row.epoch for row in scored), default=0),
        n_items=len(grid.samples),
        n_headline=int(grid.headline.sum()),
        n_units=units,
        headline_kinds=grid.headline_kinds,
        kinds=dict(sorted(Counter(sample.kind for sample in grid.samples).items())),
        categories=dict(sorted(Counter(sample.category for sample in grid.samples).items())),
        conditions=conditions,
        controls=controls,
        floor=floors[1],
        raw=raw,
        instruct=instruct,
        shares=tuple(shares),
        best=tuple(best),
        declared=tuple(declared_comparisons(grid, contrasts, seed)),
        explored=tuple(explored),
        interactions=tuple(interactions),
        pairs=tuple(strategy_pairs(grid, [recovery[0]] if recovery else stages, reference, seed)),
        margin=margin,
        equivalences=tuple(level_verdicts(grid, [arm for arm in mains if arm], order, margin)),
        power=tuple(power_of(grid, raw, winner, len(contrasts))),
        unranked=ranking_refused(grid, recovery[0], reference) if recovery else "",
        predictability=repeated,
        notes=tuple(_notes(grid, recovery, reference_level, reference)),
        ablations=tuple(ablations(grid, raw, instruct, seed)),
        category_shares=tuple(category_shares(grid, ends, seed)) if ends else (),
        variances=tuple(variances(grid, stages, reference, seed)),
        suite_scores=tuple(suite_scores(grid, reference)),
        suite_shares=suite_shares(grid, ends, seed) if ends else None,
        sensitivities=tuple(sensitivities(grid, ends, seed)) if ends else (),
        measured=measured,
        files=files or {},
    )


def _levels(grid: Grid, wanted: Sequence[str]) -> tuple[str, ...]:
    """The levels that were run, in the order asked for; unexpected ones last."""
    ran = {condition.level for condition in grid.conditions}
    known = [level for level in dict.fromkeys(wanted) if level in ran]
    return (*known, *sorted(ran - set(known)))


def _ordered(
    grid: Grid, levels: Sequence[str], recovery: tuple[str, str] | None
) -> list[Condition]:
    """The base stage first and the instruct stage last, raw before the wrappers."""
    ends = {} if recovery is None else {recovery[1]: 2, recovery[0]: 0}
    return sorted(
        grid.conditions,
        key=lambda c: (
            ends.get(c.stage, 1),
            c.stage,
            levels.index(c.level),
            c.strategy != "raw",
            c,
        ),
    )


def _notes(grid: Grid, recovery: tuple[str, str] | None, wanted: str, reference: str) -> list[str]:
    """What a reader must know about how the figures were made."""
    notes = []
    if wanted != reference:
        notes.append(f"The reference level {wanted} was not run; {reference} takes its place.")
    if recovery is None:
        notes.append("No base and instruct pair is named, so no recovered share is computed.")
        return notes
    if raw_arm(grid, recovery[0], reference) is None:
        notes.append(
            f"No recovered share: the strategy raw was not run on {recovery[0]} at {reference}."
        )
    end = instruct_arm(grid, recovery[1], reference)
    if end is None:
        notes.append(f"No recovered share: {recovery[1]} was not run at {reference}.")
    elif end.strategy != "native":
        notes.append(
            f"{recovery[1]} did not run with its own chat template; {end.strategy} stands for it."
        )
    return notes
