"""One condition at a time: its metrics, how its answers ended, what they cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.analysis.grid import Grid, Mask, Verdicts, outcomes
from harness.analysis.values import ConditionSummary, Metrics, NullFloor, Predictability
from harness.records import Cell, Condition, Estimate, Scored
from harness.stats.agreement import agreement
from harness.stats.rates import Floats, clustered_rate, null_corrected

ECHO = "echo"
LEFT_OUT = "left out"
"""How an item ends that an arm cannot express: it was never asked, so nothing failed."""
FINISH_REASONS = ("eos", "stop", "length", "loop", "decided", "failed", LEFT_OUT)


def null_floor(grid: Grid, mask: Mask) -> NullFloor | None:
    """The best non-echo control on the masked items; ties go to the first name."""
    found = []
    for control in grid.controls:
        score = rate(grid, grid.verdicts[control], grid.verdicts[control].strict, None, mask)
        if control.strategy != ECHO and score.value is not None:
            found.append(NullFloor(control.strategy, score.value))
    return max(found, key=lambda floor: floor.value, default=None)


def summarise(
    grid: Grid,
    condition: Condition,
    floors: tuple[NullFloor | None, NullFloor | None],
    bits_per_weight: Mapping[Cell, float],
) -> ConditionSummary:
    """All figures of one condition; ``floors`` are those of all items and of the headline's."""
    verdicts, rows = grid.verdicts[condition], grid.rows[condition]
    answered = [row for row in rows if row.generation.finish_reason != "failed"]
    reasons: Counter[str] = Counter(_ending(row) for row in rows)
    everything = np.ones(len(grid.samples), dtype=bool)
    return ConditionSummary(
        condition=condition,
        overall=_whole(rows, _metrics(grid, verdicts, everything, floors[0])),
        headline=_whole(rows, _metrics(grid, verdicts, grid.headline, floors[1])),
        kinds=_by(grid, verdicts, [sample.kind for sample in grid.samples]),
        categories=_by(grid, verdicts, [sample.category for sample in grid.samples]),
        common=rate(grid, verdicts, verdicts.observed, None, _common(grid)),
        bounds=_bounds(verdicts, grid.headline),
        missing_share=grid.missing_share(condition),
        n_generations=len(rows),
        n_failed=reasons["failed"],
        n_unsupported=sum(
            result.strict is None
            for row in answered
            if row.generation.finish_reason != "decided"
            for result in row.results
        ),
        finish={reason: reasons[reason] / len(rows) for reason in FINISH_REASONS},
        eos_rate=reasons["eos"] / len(answered) if answered else None,
        mean_prompt_tokens=_mean([row.generation.prompt_tokens for row in answered]),
        mean_completion_tokens=_mean([row.generation.completion_tokens for row in answered]),
        tokens_per_second=_speed(answered),
        bits_per_weight=bits_per_weight.get(condition.cell),
        health=_health(answered),
        views=_views(answered),
    )


def _whole(rows: Sequence[Scored], metrics: Metrics) -> Metrics:
    """Without the figures that answers which were cut early leave open."""
    if not any(map(is_open, rows)):
        return metrics
    names = ("inst_strict", "prompt_loose", "inst_loose")
    return replace(metrics, **{name: _left_open(getattr(metrics, name)) for name in names})


def is_open(row: Scored) -> bool:
    """Whether the answer was cut while a verdict on it was open."""
    return row.generation.finish_reason == "decided" and any(
        result.strict is None or result.loose is None for result in row.results
    )


def _left_open(estimate: Estimate) -> Estimate:
    note = "cut early: answers ended while it was open"
    return replace(estimate, value=None, low=None, high=None, note=note)


def _ending(row: Scored) -> str:
    """How an answer ended; what no model was asked has no request."""
    generation = row.generation
    never = generation.finish_reason == "failed" and not generation.request_key
    return LEFT_OUT if never else generation.finish_reason


def predictabilities(grid: Grid) -> tuple[Predictability, ...]:
    """How each condition repeats itself over epochs and over paraphrases, where there are any."""
    found = []
    for condition in grid.conditions:
        seeds: dict[tuple[str, str], list[bool]] = {}
        phrasings: dict[str, list[bool]] = {}
        for row in grid.rows[condition]:
            judged = outcomes(row)
            if judged is None:
                continue
            passed = all(judged[0])
            seeds.setdefault((row.sample.suite, row.sample.id), []).append(passed)
            if row.sample.group is not None and row.epoch == 0:
                phrasings.setdefault(f"{row.sample.suite}\n{row.sample.group}", []).append(passed)
        for kind, repeats in (("seeds", seeds.values()), ("paraphrases", phrasings.values())):
            summary = agreement([*repeats])
            if summary is not None:
                found.append(Predictability(condition, kind, summary))
    return tuple(found)


def _metrics(grid: Grid, verdicts: Verdicts, mask: Mask, floor: NullFloor | None) -> Metrics:
    strict = rate(grid, verdicts, verdicts.strict, None, mask)
    return Metrics(
        prompt_strict=strict,
        inst_strict=rate(grid, verdicts, verdicts.strict_passed, verdicts.checks, mask),
        prompt_loose=rate(grid, verdicts, verdicts.loose, None, mask),
        inst_loose=rate(grid, verdicts, verdicts.loose_passed, verdicts.checks, mask),
        null_corrected=null_corrected(strict, floor.value if floor else None),
    )


def rate(
    grid: Grid, verdicts: Verdicts, passes: Floats, sizes: Floats | None, mask: Mask
) -> Estimate:
    """A clustered rate over the masked items; without sizes each item weighs one.

    ``n_missing`` counts items without any answer: they are in ``n``, as wrong.
    """
    weights = (~np.isnan(passes)).astype(float) if sizes is None else sizes
    known = mask & (weights > 0)
    return clustered_rate(
        passes[known],
        weights[known],
        grid.clusters[known],
        n_missing=int((known & (verdicts.missing >= 1)).sum()),
        repeats=grid.epochs,
    )


def _bounds(verdicts: Verdicts, mask: Mask) -> tuple[float, float] | None:
    """The score with every missing answer wrong, and with every one right."""
    known = mask & ~np.isnan(verdicts.strict)
    if not known.any():
        return None
    strict, missing = verdicts.strict[known], verdicts.missing[known]
    return float(strict.mean()), float((strict + missing).mean())


def _common(grid: Grid) -> Mask:
    """Headline items that every model condition answered at least once."""
    kept = grid.headline.copy()
    for condition in grid.conditions:
        if condition.is_ablated:
            continue
        kept &= ~np.isnan(grid.verdicts[condition].observed)
    return np.asarray(kept, dtype=bool)


def _by(grid: Grid, verdicts: Verdicts, labels: Sequence[str]) -> dict[str, Estimate]:
    column = np.array(labels, dtype=object)
    return {
        label: rate(grid, verdicts, verdicts.strict, None, np.asarray(column == label, dtype=bool))
        for label in sorted(set(labels))
    }


def _views(rows: Sequence[Scored]) -> dict[str, float]:
    """The share of judged answers that pass in each other reading of the text."""
    shares = {}
    for name in ("first_turn", "untrimmed"):
        judged = [getattr(row.views, name) for row in rows]
        share = _mean([float(value) for value in judged if value is not None])
        if share is not None:
            shares[name] = share
    return shares


def _health(rows: Sequence[Scored]) -> dict[str, float]:
    """The mean of every health figure over the answers that have it."""
    keys = sorted({key for row in rows for key in row.health})
    means = {}
    for key in keys:
        mean = _mean([row.health[key] for row in rows if key in row.health])
        if mean is not None:
            means[key] = mean
    return means


def _speed(rows: Sequence[Scored]) -> float | None:
    seconds = sum(row.generation.seconds for row in rows)
    return sum(row.generation.completion_tokens for row in rows) / seconds if seconds > 0 else None


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else None
