"""Conditions against each other: recovered shares, contrasts, levels, interactions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from harness.analysis.grid import Grid, named_items
from harness.analysis.values import BestWrapper, LevelVerdict, NamedWinner, Power, RecoveredShare
from harness.records import Comparison, Condition
from harness.stats.best import Level, best_of_many, scaled
from harness.stats.multiple import benjamini_hochberg, holm
from harness.stats.pairs import SAME, Paired, equivalence, paired
from harness.stats.power import TYPICAL_DISCORDANCE, minimum_detectable_effect
from harness.stats.rates import Floats
from harness.stats.recovery import recovered_shares
from harness.stats.selection import deal_folds

RAW = "raw"
NATIVE = "native"
CONTROL_STRATEGIES = (RAW, "raw_nl", "icl_3")
"""Strategies that are controls of others: no wrapper, any separator, examples without style."""
DIFFERENTIAL_MISSINGNESS = 0.02
"""Arms whose shares of missing answers differ by more than this are not ranked."""

DeclaredContrast = tuple[str, Condition, Condition]


def raw_arm(grid: Grid, stage: str, level: str) -> Condition | None:
    """The bare prompt on a stage at a level, None when it was not run."""
    condition = Condition(stage, level, RAW)
    return condition if condition in grid.rows else None


def instruct_arm(grid: Grid, stage: str, level: str) -> Condition | None:
    """The instruct end of the share: its own chat template where it ran, else its first wrapper."""
    ran = _arms(grid, stage, level)
    order = sorted(
        ran,
        key=lambda c: (
            c.strategy != NATIVE,
            not c.strategy.startswith(NATIVE),
            c.strategy == RAW,
            c,
        ),
    )
    return order[0] if order else None


def wrapped_arms(grid: Grid, stage: str, level: str) -> list[Condition]:
    """Every strategy but raw on a stage at a level."""
    return [c for c in _arms(grid, stage, level) if c.strategy != RAW]


def _arms(grid: Grid, stage: str, level: str) -> list[Condition]:
    """Every arm of a stage at a level that asks the items as they are."""
    return [c for c in grid.conditions if (c.stage, c.level) == (stage, level) and not c.is_ablated]


def eligible_arms(grid: Grid, stage: str, level: str) -> list[Condition]:
    """The wrappers that may be called best: no control, no re-judged view of another arm."""
    return [
        c
        for c in wrapped_arms(grid, stage, level)
        if c.strategy not in CONTROL_STRATEGIES and c.is_strategy
    ]


def shares_and_best(
    grid: Grid, pair: tuple[str, str], levels: Sequence[str], reference: str, seed: int
) -> tuple[list[RecoveredShare], list[BestWrapper]]:
    """Recovered shares against raw at every level and against each control at the reference.

    At a level that the instruct stage was not run at it stands for itself at the reference.
    All of them see the same bootstrap resamples; so does the choice of the best wrapper, made at
    the reference level and carried to the others.
    """
    wanted: list[tuple[Condition, Condition, Condition]] = []
    for level in levels:
        raw = raw_arm(grid, pair[0], level)
        instruct = instruct_arm(grid, pair[1], level) or instruct_arm(grid, pair[1], reference)
        wrappers = wrapped_arms(grid, pair[0], level)
        if raw is None or instruct is None or not wrappers:
            continue
        controls = [raw]
        if level == reference:
            controls += [c for c in wrappers if c.strategy in CONTROL_STRATEGIES] + grid.controls
        wanted += [(w, c, instruct) for c in controls for w in wrappers if w != c]
    triples = [(grid.score(w), grid.score(c), grid.score(i)) for w, c, i in wanted]
    found = recovered_shares(triples, grid.headline_clusters, seed=seed)
    shares = [RecoveredShare(*names, share) for names, share in zip(wanted, found, strict=True)]
    return shares, _best(grid, pair, levels, reference, seed)


def _best(
    grid: Grid, pair: tuple[str, str], levels: Sequence[str], reference: str, seed: int
) -> list[BestWrapper]:
    """The folds' choice of the reference level, there and at every level that ran its wrappers."""
    wrappers = eligible_arms(grid, pair[0], reference)
    instruct = instruct_arm(grid, pair[1], reference)
    if not wrappers or instruct is None:
        return []
    strategies = [c.strategy for c in wrappers]
    names, data = [], []
    for level in (reference, *(name for name in levels if name != reference)):
        arms = [Condition(pair[0], level, name) for name in (*strategies, RAW)]
        there = replace(instruct, level=level)
        arms.append(there if instruct_arm(grid, pair[1], level) else instruct)
        if any(arm not in grid.rows for arm in arms):
            if level == reference:
                return []
            continue
        names.append(level)
        scores = np.column_stack([grid.score(arm) for arm in arms[:-2]])
        data.append(Level(scores, grid.score(arms[-2]), grid.score(arms[-1])))
    units = [unit for unit, kept in zip(grid.units, grid.headline, strict=True) if kept]
    dealt = deal_folds(units, seed=seed)
    folds = np.array([dealt[unit] for unit in units], dtype=np.int64)
    found = best_of_many(data[0], data[1:], folds, grid.headline_clusters, seed=seed)
    if found is None:
        return []
    selection, named, chosen = found
    best = [
        BestWrapper(
            level=level,
            winner=Condition(pair[0], level, strategies[selection.winner]),
            score=item.score,
            recovery=item.recovery,
            folds=Counter(strategies[pick] for pick in selection.chosen),
            named=NamedWinner(
                wrappers[named.winner],
                named.score,
                dict(zip(strategies, named.gains, strict=True)),
                named.chance,
            )
            if level == reference
            else None,
            fixed=item.fixed,
            interaction=item.interaction,
        )
        for level, item in zip(names, chosen, strict=True)
    ]
    return sorted(best, key=lambda item: levels.index(item.level))


def ranking_refused(grid: Grid, stage: str, level: str) -> str:
    """Why the wrappers of a stage cannot be ranked, empty if they can.

    An arm that answers fewer items than another is not compared on what it can do.
    """
    arms = _arms(grid, stage, level)
    owed = sorted((grid.missing_share(arm), arm.strategy) for arm in arms)
    if len(owed) < 2 or owed[-1][0] - owed[0][0] <= DIFFERENTIAL_MISSINGNESS:
        return ""
    (least, fuller), (most, emptier) = owed[0], owed[-1]
    return (
        f"{emptier} owes {100 * most:.1f} % of its answers and {fuller} {100 * least:.1f} %: "
        "arms that miss different shares are not ranked"
    )


def declared_comparisons(
    grid: Grid, contrasts: Sequence[DeclaredContrast], seed: int
) -> list[Comparison]:
    """The declared contrasts, adjusted as one Holm family; one that was not run has no p."""
    found = [
        _comparison(
            name, a, b, paired(grid.score(a), grid.score(b), grid.headline_clusters, seed=seed)
        )
        for name, a, b in contrasts
    ]
    tested = [item for item in found if not math.isnan(item.p)]
    adjusted = iter(holm([item.p for item in tested]))
    return [
        item if math.isnan(item.p) else replace(item, adjusted_p=next(adjusted)) for item in found
    ]


def explored_comparisons(
    grid: Grid, levels: Sequence[str], reference: str, seed: int
) -> tuple[list[Comparison], list[Comparison]]:
    """The exploratory grid: wrapping, quantization, and their interaction, one BH family.

    Wrapping: each strategy against raw on the same stage and level. Quantization: each level
    against the reference for the same stage and strategy. Interaction: a difference in
    differences, (W − B) at a level minus (W − B) at the reference.
    """
    simple, crossed = [], []
    arms = [c for c in grid.conditions if not c.is_ablated]
    for c in sorted(arms, key=lambda c: (c.stage, c.strategy, levels.index(c.level))):
        raw = raw_arm(grid, c.stage, c.level)
        if raw is not None and c != raw:
            simple.append((f"wrapping: {c} − {raw}", raw, c))
        before = Condition(c.stage, reference, c.strategy)
        if c.level != reference and c.level in levels and before in grid.rows:
            simple.append((f"quantization: {c} − {before}", before, c))
            before_raw = raw_arm(grid, c.stage, reference)
            if raw is not None and before_raw is not None and c != raw:
                crossed.append((before, before_raw, c, raw))
    found = [
        _comparison(
            name, a, b, paired(grid.score(a), grid.score(b), grid.headline_clusters, seed=seed)
        )
        for name, a, b in simple
    ] + [_interaction(grid, *item, seed) for item in crossed]
    final = _adjusted(found)
    return final[: len(simple)], final[len(simple) :]


def strategy_pairs(grid: Grid, stages: Sequence[str], level: str, seed: int) -> list[Comparison]:
    """Every two strategies of a stage at a level, the bare prompt left out: one BH family.

    raw is every strategy's own comparison already; a re-judged view is no strategy.
    """
    found = []
    for stage in stages:
        arms = [c for c in wrapped_arms(grid, stage, level) if c.is_strategy]
        found += [
            _comparison(
                f"strategies: {b} − {a}",
                a,
                b,
                paired(grid.score(a), grid.score(b), grid.headline_clusters, seed=seed),
            )
            for a, b in combinations(arms, 2)
        ]
    return _adjusted(found)


def level_verdicts(
    grid: Grid, arms: Sequence[Condition], levels: Sequence[str], margin: float
) -> list[LevelVerdict]:
    """Each arm at every other level against itself: equivalent within the margin, or worse."""
    found = []
    for arm in arms:
        for level in levels:
            there = replace(arm, level=level)
            if level == arm.level or there not in grid.rows or arm not in grid.rows:
                continue
            a, b = grid.score(arm), grid.score(there)
            judged = equivalence(a, b, margin, grid.headline_clusters)
            flips = float(np.nanmean(np.abs(a - b))) if judged.delta.n else 0.0
            found.append(
                LevelVerdict(
                    there,
                    arm,
                    judged.verdict,
                    judged.delta,
                    judged.margin,
                    flips,
                    gained=named_items(grid.headline_samples, b - a > SAME),
                    lost=named_items(grid.headline_samples, a - b > SAME),
                )
            )
    return found


def _adjusted(found: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons as one Benjamini-Hochberg family; one without a test counts as p = 1."""
    p_values = benjamini_hochberg([1.0 if math.isnan(item.p) else item.p for item in found])
    return [replace(item, adjusted_p=p) for item, p in zip(found, p_values, strict=True)]


def _interaction(
    grid: Grid, before: Condition, before_raw: Condition, c: Condition, raw: Condition, seed: int
) -> Comparison:
    # A difference of differences lies in [−2, 2]: halved it is one of arms, then doubled back.
    then: Floats = (grid.score(before) - grid.score(before_raw)) / 2
    now: Floats = (grid.score(c) - grid.score(raw)) / 2
    outcome = paired(then, now, grid.headline_clusters, seed=seed)
    outcome = replace(outcome, delta=scaled(outcome.delta, 2))
    return _comparison(
        f"interaction: ({c} − {raw}) − ({before} − {before_raw})", before, c, outcome
    )


def power_of(grid: Grid, raw: Condition | None, best: Condition | None, family: int) -> list[Power]:
    """What these items can show: at a typical discordance, and at the one seen here."""
    wanted = [(TYPICAL_DISCORDANCE, "the usual assumption for two similar arms")]
    n = len(np.unique(grid.headline_clusters))
    if raw is not None and best is not None:
        seen = paired(grid.score(raw), grid.score(best), grid.headline_clusters)
        wanted.append((seen.discordance, f"as seen between {raw.strategy} and {best.strategy}"))
    found = []
    for discordance, basis in wanted:
        if n and discordance:
            effect = minimum_detectable_effect(n, discordance)
            first = minimum_detectable_effect(n, discordance, alpha=0.05 / max(family, 1))
            found.append(Power(n, discordance, effect, basis, max(family, 1), first))
    return found


def _comparison(name: str, a: Condition, b: Condition, outcome: Paired) -> Comparison:
    p = math.nan if outcome.delta.value is None else outcome.p
    return Comparison(
        contrast=name,
        a=a,
        b=b,
        delta=outcome.delta,
        p=p,
        adjusted_p=p,
        wins=outcome.wins,
        losses=outcome.losses,
        ties=outcome.ties,
    )
