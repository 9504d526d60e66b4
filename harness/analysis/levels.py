"""An arm's levels, row by row: what is known of each, what told it from the others, how far to go.

Scores need many items to tell two levels apart, next-token distributions few texts; what a
divergence costs in score only outcomes can say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from harness import numbers
from harness.analysis.values import (
    Analysis,
    BestWrapper,
    ConditionSummary,
    FileFacts,
    LevelVerdict,
)
from harness.measured import Divergence, Speed
from harness.records import Condition, Decision, Verdict
from harness.stats.pairs import sign_flip
from harness.stats.power import items_for_margin

ALPHA = 0.05

Decider = Literal["flips", "KL", "neither", "reference"]
"""What told a level from the reference, or at least from the next larger level."""


@dataclass(frozen=True, slots=True)
class LevelRow:
    """One level of an arm. ``verdict`` is None at the reference, as are divergences from it.

    ``best`` is the best wrapper at this level, for the arm that is it; ``divergences`` are of its
    file from the reference's, over the reference's own answers first; ``further`` says that it is
    shown to be further from the reference than the next larger level.
    """

    condition: Condition
    facts: FileFacts | None
    summary: ConditionSummary | None
    verdict: LevelVerdict | None
    best: BestWrapper | None
    divergences: tuple[Divergence, ...]
    speed: Speed | None
    further: bool
    decided: Decider


def level_rows(analysis: Analysis) -> Mapping[Condition, tuple[LevelRow, ...]]:
    """The rows of each arm that is judged over levels, the largest file first, by the arm."""
    arms = dict.fromkeys(item.reference for item in analysis.equivalences)
    return {
        arm: rows_of(analysis, arm, [v for v in analysis.equivalences if v.reference == arm])
        for arm in arms
    }


def rows_of(
    analysis: Analysis, arm: Condition, verdicts: Sequence[LevelVerdict]
) -> tuple[LevelRow, ...]:
    """The arm's own level first, then the others from the largest file down."""
    by_level = {item.condition.level: item for item in verdicts}
    others = sorted(by_level, key=lambda level: -_bits(analysis, replace(arm, level=level)))
    rows: list[LevelRow] = []
    for level in (arm.level, *others):
        condition = replace(arm, level=level)
        apart = divergences_of(analysis, condition)
        verdict = by_level.get(level)
        further = bool(apart) and further_than(apart[0], _same(rows, apart[0]))
        best = analysis.best_at(level)
        own = best is not None and (best.winner.stage, best.winner.strategy) == _name(arm)
        rows.append(
            LevelRow(
                condition=condition,
                facts=analysis.files.get(condition.cell),
                summary=analysis.summary(condition),
                verdict=verdict,
                best=best if own else None,
                divergences=apart,
                speed=analysis.measured.speeds.get(str(condition.cell)),
                further=further,
                decided=_decider(verdict, further),
            )
        )
    return tuple(rows)


def divergences_of(analysis: Analysis, condition: Condition) -> tuple[Divergence, ...]:
    """How far a level's file is from the reference's, over the reference's own answers first."""
    cell = str(condition.cell)
    found = [item for item in analysis.measured.divergences if item.cell == cell]
    return tuple(sorted(found, key=lambda item: item.over.startswith("text ")))


def further_than(item: Divergence, nearer: Divergence | None) -> bool:
    """Whether a level is shown to be further from the reference than another, over the same texts.

    Texts are what is drawn: a sign-flip test of their mean divergences, the nearer one's being 0
    where it is the reference itself. One-sided at 5 %.
    """
    mine = np.asarray(item.by_text)
    other = np.zeros_like(mine) if nearer is None else np.asarray(nearer.by_text)
    if len(mine) != len(other) or not len(mine):
        return False
    difference = mine - other
    return bool(difference.sum() > 0 and sign_flip(difference) / 2 < ALPHA)


def what_decided(rows: Sequence[LevelRow]) -> str:
    """Which of the two told the levels apart, flips or KL divergence, in one sentence or two."""
    judged = [row for row in rows if row.verdict is not None]
    if not any(row.divergences for row in judged):
        return ""
    flips = [row.condition.level for row in judged if row.decided == "flips"]
    told = [(rows[rows.index(row) - 1], row) for row in judged if row.decided == "KL"]
    open_ = [row.condition.level for row in judged if row.decided == "neither"]
    parts = []
    if flips and not told and not open_:
        items = numbers.size(judged[0].verdict.delta.n, "item") if judged[0].verdict else ""
        parts.append(f"Flips decided every level: the outcomes of {items} were enough.")
    elif flips:
        parts.append(f"Flips decided {numbers.listed(flips)}.")
    if told:
        between = numbers.listed([_apart(near, far) for near, far in told])
        parts.append(
            f"KL divergence told where flips could not: {between}. What that costs in score it "
            "does not say."
        )
    if open_:
        parts.append(f"Neither told {numbers.listed(open_)} from the next larger level.")
    return " ".join(parts)


def alike(rows: Sequence[LevelRow]) -> list[tuple[str, ...]]:
    """Levels whose files hold the same tensor types: one file under several names."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for row in rows:
        if row.facts is not None and row.facts.types:
            types = (row.facts.size, *sorted(row.facts.types.items()))
            groups.setdefault(types, []).append(row.condition.level)
    return [tuple(names) for names in groups.values() if len(names) > 1]


def level_decisions(analysis: Analysis) -> tuple[Decision, ...]:
    """How far each arm that matters may be quantized, one decision per arm.

    Levels are tested from the largest file down and the walk stops at the first that is not shown
    equivalent (a fixed sequence, which needs no adjustment for the number of levels).
    """
    arms = dict.fromkeys(item.reference for item in analysis.equivalences)
    return tuple(
        _level_decision(
            analysis, arm, [item for item in analysis.equivalences if item.reference == arm]
        )
        for arm in arms
    )


def _level_decision(analysis: Analysis, arm: Condition, found: Sequence[LevelVerdict]) -> Decision:
    name, margin = f"{arm.stage} {arm.strategy}", numbers.plain_points(analysis.margin)
    smaller = _smaller(analysis, arm, found)
    rows = rows_of(analysis, arm, found)
    told = [*(_level_evidence(analysis, item) for item in smaller), what_decided(rows)]
    evidence = tuple(filter(None, told))
    kept: LevelVerdict | None = None
    stopped: LevelVerdict | None = None
    for item in smaller:
        if item.verdict != "equivalent":
            stopped = item
            break
        kept = item
    worse = [item.condition.level for item in smaller if item.verdict == "worse"]
    but = f"; {numbers.listed(worse)} {'is' if len(worse) == 1 else 'are'} worse" if worse else ""
    settle = _settle_level(stopped, analysis) if stopped else ""
    if kept is not None:
        sentence = (
            f"{name}: take {kept.condition.level}, the smallest level shown to be within {margin} "
            f"of {arm.level}{but}."
        )
        return Decision("level", name, "equivalent", sentence, evidence, settle)
    verdict: Verdict = "worse" if worse and len(worse) == len(smaller) else "cannot tell"
    sentence = (
        f"{name}: keep {arm.level}; no smaller level is shown to be within {margin} of it{but}."
    )
    return Decision("level", name, verdict, sentence, evidence, settle)


def _smaller(
    analysis: Analysis, arm: Condition, found: Sequence[LevelVerdict]
) -> list[LevelVerdict]:
    """The levels of fewer bits than the reference, the largest first; as listed if unknown."""

    def bits(condition: Condition) -> float | None:
        summary = analysis.summary(condition)
        return summary.bits_per_weight if summary else None

    own = bits(arm)
    if own is None or any(bits(item.condition) is None for item in found):
        return list(found)
    kept = [item for item in found if (bits(item.condition) or 0.0) < own]
    return sorted(kept, key=lambda item: -(bits(item.condition) or 0.0))


def _level_evidence(analysis: Analysis, item: LevelVerdict) -> str:
    summary = analysis.summary(item.condition)
    bits = summary.bits_per_weight if summary else None
    size = f" ({numbers.decimal(bits, 2)} bits per weight)" if bits is not None else ""
    apart = divergences_of(analysis, item.condition)
    told = (
        f"; mean KLD {numbers.nats(apart[0].mean_kld)}, same top p "
        f"{numbers.percent(apart[0].same_top_p)} over {apart[0].over}"
        if apart
        else ""
    )
    return (
        f"{item.condition.level}{size} − {item.reference.level}: {numbers.points(item.delta)} "
        f"(90 %), {numbers.percent(item.flips)} of items flip: {item.verdict}{told}"
    )


def _settle_level(item: LevelVerdict, analysis: Analysis) -> str:
    if item.verdict == "worse":
        return ""
    needed = items_for_margin(item.margin, item.flips)
    if needed <= analysis.n_units:
        return (
            f"{item.condition.level}: the difference seen is near the margin itself: name a wider "
            f"one, or keep {item.reference.level}"
        )
    return (
        f"{item.condition.level}: {numbers.size(needed, 'item')} show a level that costs nothing "
        f"to be within {numbers.plain_points(item.margin)} four times of five"
    )


def _apart(near: LevelRow, far: LevelRow) -> str:
    mine, own = far.divergences[0], _same([near], far.divergences[0])
    against = f" against {numbers.nats(own.mean_kld)}" if own else ""
    than = f"further from {mine.reference.rpartition('/')[2]} than {near.condition.level}"
    if own is None:
        than = f"not {near.condition.level}"
    return f"{far.condition.level} is {than} (mean KLD {numbers.nats(mine.mean_kld)}{against})"


def _same(rows: Sequence[LevelRow], item: Divergence) -> Divergence | None:
    """The last row's divergence over the same texts; None where that row is the reference."""
    found = rows[-1].divergences if rows else ()
    return next((other for other in found if other.over == item.over), None)


def _decider(verdict: LevelVerdict | None, further: bool) -> Decider:
    if verdict is None:
        return "reference"
    if verdict.verdict != "undecided":
        return "flips"
    return "KL" if further else "neither"


def _bits(analysis: Analysis, condition: Condition) -> float:
    facts = analysis.files.get(condition.cell)
    return facts.bits_per_weight or 0.0 if facts else 0.0


def _name(condition: Condition) -> tuple[str, str]:
    return (condition.stage, condition.strategy)
