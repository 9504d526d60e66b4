"""Scored rows as arrays: one position per item, the same in every condition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.records import CONTROL_STAGE, Condition, Sample, Scored
from harness.stats.rates import Floats, Ints

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """One condition's outcomes, averaged over epochs; arrays ``(items,)``.

    ``strict`` and ``loose`` are shares of epochs in which every supported check passed; an epoch
    that failed, crashed or could not be asked counts as wrong (intention to treat). NaN only where
    a check of the item cannot be judged here. ``observed`` is ``strict`` over the answered epochs
    alone, NaN where there is none; ``missing`` is the share of epochs without an answer.
    ``checks`` counts checks, ``strict_passed`` and ``loose_passed`` those that passed.
    """

    strict: Floats
    loose: Floats
    checks: Floats
    strict_passed: Floats
    loose_passed: Floats
    observed: Floats
    missing: Floats


@dataclass(frozen=True)
class Grid:
    """All rows of a run by condition, over the union of the items of all conditions.

    ``clusters`` ``(items,)`` joins items that are paraphrases of one another; ``units`` names
    them. An item that an arm did not answer is wrong there, and counted as missing beside it; an
    item whose checks are unsupported is NaN in every condition, one without an ablated text in the
    ablated conditions. ``places`` are the items' positions by suite and id.
    """

    samples: tuple[Sample, ...]
    places: Mapping[tuple[str, str], int]
    units: tuple[str, ...]
    clusters: Ints
    headline: Mask
    headline_kinds: tuple[str, ...]
    rows: Mapping[Condition, tuple[Scored, ...]]
    verdicts: Mapping[Condition, Verdicts]
    epochs: float = 1.0
    """The most answers any model arm gives to one item."""

    @property
    def conditions(self) -> list[Condition]:
        """Conditions that asked a model."""
        return [item for item in self.rows if item.stage != CONTROL_STAGE]

    @property
    def controls(self) -> list[Condition]:
        """Control responders."""
        return [item for item in self.rows if item.stage == CONTROL_STAGE]

    def score(self, condition: Condition) -> Floats:
        """Prompt-level strict outcomes of the headline items, a missing answer counted as wrong.

        All NaN if the condition was not run; NaN for items whose checks are unsupported.
        """
        found = self.verdicts.get(condition)
        whole = np.full(len(self.samples), np.nan) if found is None else found.strict
        return whole[self.headline]

    def observed(self, condition: Condition) -> Floats:
        """Like :meth:`score` over answers alone: NaN where the arm gave none."""
        return self.verdicts[condition].observed[self.headline]

    def missing_share(self, condition: Condition) -> float:
        """The share of headline answers that a condition owes; 1 if it was not run."""
        found = self.verdicts.get(condition)
        if found is None:
            return 1.0
        known = self.headline & ~np.isnan(found.strict)
        return float(found.missing[known].mean()) if known.any() else 0.0

    @property
    def headline_samples(self) -> list[Sample]:
        """The headline items."""
        return [s for s, kept in zip(self.samples, self.headline, strict=True) if kept]

    def place(self, row: Scored) -> int:
        """The position of the item that a row answers."""
        return self.places[_name(row.sample)]

    @property
    def headline_clusters(self) -> Ints:
        """Clusters of the headline items."""
        return self.clusters[self.headline]


def build_grid(scored: Sequence[Scored]) -> Grid:
    """Arrange rows into a grid; the order of the rows changes nothing."""
    ordered = sorted(scored, key=_order)
    samples = tuple({_name(row.sample): row.sample for row in ordered}.values())
    place = {_name(sample): index for index, sample in enumerate(samples)}
    by_condition: dict[Condition, list[Scored]] = defaultdict(list)
    for row in ordered:
        by_condition[row.condition].append(row)
    asked, checks, unsupported = _asked(by_condition, place)
    whole = np.array([sample.ablated is None for sample in samples], dtype=bool)
    once = np.ones(len(samples))
    units = tuple(unit_of(sample) for sample in samples)
    numbers = {unit: index for index, unit in enumerate(dict.fromkeys(units))}
    kinds = {sample.kind for sample in samples}
    # A prompt to be continued is not an instruction, and raw is the right way to ask it: counting
    # it would credit the wrapper's control with something nobody asks about.
    headline_kinds = ("instruction",) if "instruction" in kinds else tuple(sorted(kinds))
    return Grid(
        samples=samples,
        places=place,
        units=units,
        clusters=np.array([numbers[unit] for unit in units], dtype=np.int64),
        headline=np.array([sample.kind in headline_kinds for sample in samples], dtype=bool),
        headline_kinds=headline_kinds,
        rows={key: tuple(by_condition[key]) for key in sorted(by_condition)},
        verdicts={
            key: _verdicts(
                [(place[_name(row.sample)], row) for row in rows],
                once if key.stage == CONTROL_STAGE else asked,
                checks,
                unsupported | whole if key.is_ablated else unsupported,
            )
            for key, rows in by_condition.items()
        },
        epochs=float(asked.max(initial=1.0)),
    )


def outcomes(row: Scored) -> tuple[list[bool], list[bool]] | None:
    """Strict and loose verdicts of a row's supported checks; None where it is missing.

    A failed generation is missing; so is an answer none of whose checks is supported.
    """
    supported = [result for result in row.results if result.strict is not None]
    if row.generation.finish_reason == "failed" or not supported:
        return None
    strict = [bool(result.strict) for result in supported]
    loose = [bool(r.strict if r.loose is None else r.loose) for r in supported]
    return strict, loose


def _verdicts(
    rows: Sequence[tuple[int, Scored]], asked: Floats, checks: Floats, unsupported: Mask
) -> Verdicts:
    """One condition's arrays; ``asked`` are the epochs that the run asked of each item."""
    n = len(asked)
    sums, answered = np.zeros((n, 5)), np.zeros(n)
    for place, row in rows:
        judged = outcomes(row)
        if judged is None:
            continue
        strict, loose = judged
        sums[place] += (all(strict), all(loose), len(strict), sum(strict), sum(loose))
        answered[place] += 1
    asked = np.maximum(asked, answered)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums / asked[:, None]
        observed = sums[:, 0] / answered
        counted = np.where(answered > 0, sums[:, 2] / answered, checks)
    nothing = np.where(unsupported, np.nan, 0.0)
    kept = ~unsupported
    return Verdicts(
        strict=means[:, 0] + nothing,
        loose=means[:, 1] + nothing,
        checks=np.where(kept, counted, 0.0),
        strict_passed=np.where(kept, means[:, 3], 0.0),
        loose_passed=np.where(kept, means[:, 4], 0.0),
        observed=observed + nothing,
        missing=1 - answered / asked,
    )


def _asked(
    by_condition: Mapping[Condition, Sequence[Scored]], place: Mapping[tuple[str, str], int]
) -> tuple[Floats, Floats, Mask]:
    """Per item: the most epochs any model arm has, its number of checks, and whether none judges.

    A check is supported by an installation, not by an answer: where one answered row of an item
    has no supported check, the item leaves every arm; an item without checks does so anyway.
    """
    n = len(place)
    epochs, checks, unsupported = np.ones(n), np.ones(n), np.zeros(n, dtype=bool)
    for condition, rows in by_condition.items():
        mine = np.zeros(n)
        for row in rows:
            at = place[_name(row.sample)]
            mine[at] += 1
            judged = outcomes(row)
            if judged is not None:
                checks[at] = max(checks[at], len(judged[0]))
            elif row.generation.finish_reason != "failed" or not row.sample.checks:
                unsupported[at] = True
        if condition.stage != CONTROL_STAGE:
            epochs = np.maximum(epochs, mine)
    return epochs, checks, unsupported


def _name(sample: Sample) -> tuple[str, str]:
    return (sample.suite, sample.id)


def unit_of(sample: Sample) -> str:
    """What an item is one of: paraphrases of one item are one unit."""
    return f"{sample.suite}\n{sample.group or sample.id}"


def named_items(samples: Sequence[Sample], chosen: Mask) -> tuple[tuple[str, str], ...]:
    """Suite and id of the chosen ones among samples."""
    return tuple((s.suite, s.id) for s, yes in zip(samples, chosen, strict=True) if yes)


def _order(row: Scored) -> tuple[str, str, Condition, int]:
    return (row.sample.suite, row.sample.id, row.condition, row.epoch)
