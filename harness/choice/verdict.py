"""From a use's scores to its row: base, instruct, wrapped base suffices, or what would tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np

from harness import numbers
from harness.choice.sides import NATIVE, RAW, Sides
from harness.choice.values import ArmScores, Cell, Choice, Pick, Row, Tax, Unit, Use
from harness.records import Decision, Estimate, Verdict
from harness.stats.pairs import paired
from harness.stats.rates import clustered_rate
from harness.stats.ratios import pooled_ratio, ratio_difference

ALPHA = 0.05
_POWER = 2.04
"""(1.96 + 0.84)² / 1.96²: how many times the units are needed to see it four times of five."""
_MOST = 100_000


def row_of(use: Use, sides: Sides) -> Row:
    """The use's row of the table: every arm's score, the verdict, what tuning cost."""
    by_arm = {(arm.stage, arm.way): arm for arm in use.arms}
    cells = tuple(_cell(use, by_arm.get((stage, way)), stage, way) for stage, way in sides.columns)
    pick, decision = _decided(use, sides, by_arm)
    return Row(
        use.name,
        use.asks,
        use.unit,
        use.units,
        cells,
        pick,
        decision,
        _taxes(use, sides),
        use.notes,
    )


def in_short(choice: Choice) -> str:
    """Every verdict and its uses in a line: ``base: continuation · style; instruct: cloze.``"""
    by_pick: dict[str, list[str]] = {}
    for row in choice.ran:
        by_pick.setdefault(row.pick, []).append(row.use)
    order = [pick for pick in get_args(Pick) if pick in by_pick]
    return "; ".join(f"{pick}: {' · '.join(by_pick[pick])}" for pick in order) + "."


def score(unit: Unit, estimate: Estimate) -> str:
    """A score as it is printed: a share in per cent, anything else with three decimals."""
    if unit == "share" or estimate.value is None:
        return numbers.rate(estimate)
    return f"{numbers.decimal(estimate.value, 3)} {_ends(estimate)}".strip()


def difference(unit: Unit, estimate: Estimate) -> str:
    """A difference as it is printed: points for shares."""
    if unit == "share" or estimate.value is None:
        return numbers.points(estimate)
    sign = "" if abs(estimate.value) < 0.0005 else "+" if estimate.value > 0 else "−"
    named = " bits per byte" if unit == "bits per byte" else ""
    return f"{sign}{abs(estimate.value):.3f}{named} {_ends(estimate)}".strip()


def _ends(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return "(no interval)"
    low, high = (f"{end:.3f}".replace("-", "−") for end in (estimate.low, estimate.high))
    return f"[{low}, {high}]"


def _cell(use: Use, arm: ArmScores | None, stage: str, way: str) -> Cell:
    if arm is None or arm.absent:
        why = use.not_run or (arm.absent if arm else "not asked this way")
        return Cell(stage, way, None, None, why)
    return Cell(stage, way, _estimate(use, arm), arm.tokens)


def _estimate(use: Use, arm: ArmScores) -> Estimate:
    if use.unit != "share":
        return pooled_ratio(arm.values, arm.sizes, most=use.most)
    known = ~np.isnan(arm.values)
    return clustered_rate(
        np.where(known, arm.values, 0.0),
        np.where(known, arm.sizes, 0.0),
        n_missing=int((~known).sum()),
    )


def compared(use: Use, one: ArmScores, other: ArmScores, level: float = 0.95) -> Estimate:
    """``other`` minus ``one`` in the use's unit, paired over its units."""
    if use.unit != "share":
        return ratio_difference(
            one.values, one.sizes, other.values, other.sizes, most=use.most, level=level
        )
    return paired(one.values / one.sizes, other.values / other.sizes, level=level).delta


def _taxes(use: Use, sides: Sides) -> tuple[Tax, ...]:
    """Every tuned stage asked raw, against the raw base."""
    raw = {arm.stage: arm for arm in use.arms if arm.way == RAW and not arm.absent}
    base = raw.get(sides.base)
    if base is None or not use.taxed:
        return ()
    own = _estimate(use, base).value
    found = []
    for stage in sides.stages:
        if stage != sides.base and stage in raw:
            delta = compared(use, base, raw[stage])
            found.append(
                Tax(stage, delta, delta.value / own if own and delta.value is not None else None)
            )
    return tuple(found)


def _decided(
    use: Use, sides: Sides, by_arm: dict[tuple[str, str], ArmScores]
) -> tuple[Pick, Decision]:
    """The verdict of one use; intervals hold for all of its comparisons at once (Bonferroni)."""

    def said(
        pick: Pick, verdict: Verdict, sentence: str, evidence: Sequence[str] = (), settle: str = ""
    ) -> tuple[Pick, Decision]:
        words = f"{use.name}: {sentence}"
        return pick, Decision("use", use.name, verdict, words, tuple(evidence), settle)

    if use.not_run:
        return said("not run", "cannot tell", f"not run, so nothing is claimed ({use.not_run}).")
    base = [arm for arm in by_arm.values() if arm.stage == sides.base and not arm.absent]
    tuned = [arm for arm in by_arm.values() if arm.stage == sides.instruct and not arm.absent]
    if not base or not tuned:
        mute = sides.base if not base else sides.instruct
        why = next((a.absent for (stage, _), a in by_arm.items() if stage == mute), "not asked")
        settle = f"a {mute} model that can be asked this"
        return said("cannot tell", "cannot tell", f"{mute} has no score here: {why}.", (), settle)
    duel = _Duel(use, base, tuned)
    pick, verdict, sentence = duel.verdict()
    settle = duel.settle() if pick == "cannot tell" else ""
    return said(pick, verdict, sentence, duel.evidence(), settle)


def asked(arm: ArmScores) -> str:
    """How a sentence says it: ``asked raw``, ``through its chat template``, ``wrapped by qa``."""
    plain = {RAW: "asked raw", NATIVE: "through its chat template"}
    return plain.get(arm.way, f"wrapped by {arm.way}")


class _Duel:
    """The base's arms against the instruct model's, every one against every other."""

    def __init__(self, use: Use, base: Sequence[ArmScores], tuned: Sequence[ArmScores]) -> None:
        self.use = use
        self.base = sorted(base, key=lambda arm: arm.way != RAW)  # raw first: it costs least
        self.tuned = tuned
        level = 1 - ALPHA / (len(base) * len(tuned))
        self.lead = {
            (id(mine), id(theirs)): _signed(compared(use, theirs, mine, level), use.sign)
            for mine in base
            for theirs in tuned
        }

    def leads(self, mine: ArmScores) -> list[Estimate]:
        """How far one arm of the base is ahead of each of the instruct model's."""
        return [self.lead[id(mine), id(theirs)] for theirs in self.tuned]

    def verdict(self) -> tuple[Pick, Verdict, str]:
        """Ahead of every way to ask the other model, or behind one of its ways, or within."""
        if nothing := self.useless():
            return nothing
        for mine in self.base:
            if all(_above(lead, 0.0) for lead in self.leads(mine)):
                pick: Pick = "base" if mine.way == RAW else "wrapped base"
                told = f"ahead of every way to ask the instruct model, by {self.least(mine)}"
                return pick, "shown", f"take the base model, {asked(mine)}: {told}."
        for mine in self.base:
            if all(_above(lead, -self.use.margin) for lead in self.leads(mine)):
                pick = "base suffices" if mine.way == RAW else "wrapped base suffices"
                told = f"not {self.width()} behind the instruct model ({self.least(mine)})"
                return pick, "equivalent", f"the base model, {asked(mine)}, suffices: {told}."
        for theirs in self.tuned:
            behind = [_signed(self.lead[id(mine), id(theirs)], -1.0) for mine in self.base]
            if all(_above(lead, 0.0) for lead in behind):
                least = difference(self.use.unit, min(behind, key=_value))
                told = f"ahead of every way to ask the base, by {least}"
                return "instruct", "shown", (
                    f"take the instruct model, {asked(theirs)}: {told}."
                )  # fmt: skip
        mine, _ = self.closest()
        told = f"cannot tell: the base, {asked(mine)}, is at {self.least(mine)}"
        return "cannot tell", "cannot tell", f"{told} against the instruct model."

    def useless(self) -> tuple[Pick, Verdict, str] | None:
        """Where all score next to nothing, or what blind answers get, being level means nothing."""
        if self.use.sign < 0:
            return None
        scores = [_estimate(self.use, arm) for arm in (*self.base, *self.tuned)]
        if self.use.unit == "share" and all((s.high or 0.0) < self.use.margin for s in scores):
            told = f"no way to ask either model reaches {self.width()}"
            return "neither", "shown not", f"neither model does this: {told}."
        if any((found.value or 0.0) > self.use.floor for found in scores):
            return None
        blind = score(self.use.unit, replace(scores[0], value=self.use.floor, low=None, high=None))
        told = f"no way to ask either model is above {blind.removesuffix(' (no interval)')}"
        why = "what blind answers get" if self.use.floor else "not one item was right"
        return "cannot tell", "cannot tell", f"cannot tell: {told}, {why}."

    def least(self, mine: ArmScores) -> str:
        """The smallest lead of an arm of the base, as printed."""
        return difference(self.use.unit, min(self.leads(mine), key=_value))

    def width(self) -> str:
        """The margin as printed."""
        if self.use.unit == "share":
            return numbers.plain_points(self.use.margin)
        named = " bits per byte" if self.use.unit == "bits per byte" else ""
        return f"{self.use.margin:g}{named}"

    def closest(self) -> tuple[ArmScores, Estimate]:
        """The base's arm with the best least lead, and that lead."""
        worst = [(mine, min(self.leads(mine), key=_value)) for mine in self.base]
        return max(worst, key=lambda pair: _value(pair[1]))

    def evidence(self) -> tuple[str, ...]:
        """Every comparison, as the base's lead."""
        return tuple(
            f"lead of the base, {asked(mine)}, over the instruct model, {asked(theirs)}: "
            f"{difference(self.use.unit, self.lead[id(mine), id(theirs)])}"
            for mine in self.base
            for theirs in self.tuned
        )

    def settle(self) -> str:
        """About how many units would tell, if the closest two keep the difference they show."""
        if self.useless():
            return f"{self.use.units} that at least one way of asking gets right"
        _, lead = self.closest()
        units = self.use.units
        if lead.low is None or lead.high is None or lead.value is None:
            return f"more {units}: one has no interval"
        reach = (lead.high - lead.low) / 2
        goal = max(abs(lead.value), self.use.margin)
        needed = math.ceil(_POWER * lead.n * (reach / goal) ** 2)
        if needed > _MOST:
            return f"no number of {units} like these that anybody collects"
        return f"about {max(needed, lead.n + 1):,} {units} like these (now {lead.n})"


def _above(estimate: Estimate, bound: float) -> bool:
    return estimate.low is not None and estimate.low > bound


def _value(estimate: Estimate) -> float:
    return estimate.value if estimate.value is not None else -math.inf


def _signed(estimate: Estimate, sign: float) -> Estimate:
    """The estimate turned so that more is better."""
    if sign > 0 or estimate.value is None:
        return estimate
    low, high = (None if end is None else -end for end in (estimate.high, estimate.low))
    return replace(estimate, value=-estimate.value, low=low, high=high)
