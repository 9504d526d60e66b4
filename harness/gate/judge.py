"""Pass, regress or inconclusive: a run against its baseline, arm by arm, item by item.

The rule is non-inferiority with a margin written down beforehand: an arm passes when the one-sided
95 % lower bound of (new − baseline) is above −margin, regresses when the upper bound is below it
or a must-pass item fails. That no difference is *significant* is never taken for equality.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.gate.baseline import Arm, Item
from harness.records import Condition, Sample, Verdict
from harness.stats.pairs import noninferiority
from harness.stats.power import default_margin

DIFFERENTIAL_MISSING = 0.02
"""The share of items that one side may lack beyond the other before nothing is compared."""


@dataclass(frozen=True, slots=True)
class Flip:
    """An item whose verdict changed: both answers, and what the new one was faulted for."""

    item: str
    before: float | None
    after: float | None
    answer_before: str
    answer_after: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """A look of a sequential gate: items known ``of`` all, and what the full run can come to.

    ``low`` and ``high`` bound the full run's difference, at 95 % over all looks together.
    """

    items: int
    of: int
    low: float
    high: float
    verdicts: tuple[Verdict, ...]


TEMPLATE, CONTRAST, LOST = "template: ", "contrast: ", "experiment: "
"""What opens the name of a verdict that is not an arm's own: on a template as it is written, on a
declared contrast, on a part that the experiment gave an arm and gives it no more."""


@dataclass(frozen=True, slots=True)
class ArmVerdict:
    """One arm's (or contrast's) verdict, in a sentence, with the items that flipped.

    ``looks`` is the log of a sequential gate, empty in any other.
    """

    name: str
    verdict: Verdict
    sentence: str
    template: str = ""
    flips: tuple[Flip, ...] = ()
    asked: int = 0
    looks: tuple[Look, ...] = ()

    @property
    def strategy(self) -> str | None:
        """The strategy of the arm that is judged; None for a contrast, or a template alone."""
        if self.name.startswith((TEMPLATE, CONTRAST)):
            return None
        return Condition.named(self.name.removeprefix(LOST)).strategy

    @property
    def of_template(self) -> bool:
        """Whether it is about a template itself, whatever arms use it."""
        return self.name.startswith(TEMPLATE)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Every arm's verdict and the whole: the worst of them."""

    arms: tuple[ArmVerdict, ...]

    @property
    def verdict(self) -> Verdict:
        """``regress`` before ``inconclusive`` before ``pass``."""
        found = {arm.verdict for arm in self.arms}
        order: tuple[Verdict, ...] = ("regress", "inconclusive")
        return next((name for name in order if name in found), "pass")


def judge(
    before: Arm,
    after: Arm,
    *,
    margin: float | None,
    samples: Mapping[str, Sample],
    must_pass: Sequence[str] = (),
    reasons: Mapping[str, str] | None = None,
    asked: int = 0,
) -> ArmVerdict:
    """Judge one arm. ``reasons`` says by item id what a failed answer was faulted for.

    ``asked`` is how many items were answered anew; the others are the baseline's own.
    """
    ids = sorted(after.items)
    flips = tuple(_flips(before.items, after.items, ids, reasons or {}))
    broken = failing(after.items, samples, must_pass)
    if broken:
        sentence = f"{len(broken)} must-pass items fail: {_list(broken)}"
        return ArmVerdict(after.name, "regress", sentence, after.template, flips, asked)
    if not asked:
        sentence = "nothing that could change an answer has changed"
        return ArmVerdict(after.name, "pass", sentence, after.template)
    verdict, sentence = compared(before.items, after.items, margin=margin, samples=samples)
    return ArmVerdict(after.name, verdict, sentence, after.template, flips, asked)


def failing(
    items: Mapping[str, Item], samples: Mapping[str, Sample], must_pass: Sequence[str]
) -> list[str]:
    """The items with a must-pass tag that do not pass in every epoch."""
    wanted = set(must_pass)
    return sorted(
        n for n, item in items.items() if wanted & set(samples[n].tags) and item.score != 1
    )


def compared(
    before: Mapping[str, Item],
    after: Mapping[str, Item],
    *,
    margin: float | None,
    samples: Mapping[str, Sample],
) -> tuple[Verdict, str]:
    """The verdict on ``after`` against ``before`` over the items of ``after``, and its sentence."""
    ids = [name for name in sorted(after) if not _missing(before, name, after)]
    if not ids:
        return "inconclusive", "no item was answered on either side"
    new = np.array([_score(after[name]) for name in ids])
    old = np.array([_score(before[name]) for name in ids])
    gaps = (int(np.isnan(old).sum()), int(np.isnan(new).sum()))
    if abs(gaps[1] - gaps[0]) > DIFFERENTIAL_MISSING * len(ids):
        return "regress", (
            f"{gaps[1]} of {len(ids)} items have no answer, {gaps[0]} had none in the baseline: "
            "more than 2 % apart, so nothing is compared"
        )
    groups = {name: samples[name].group or name for name in ids}
    numbers = {group: place for place, group in enumerate(dict.fromkeys(groups.values()))}
    clusters = np.array([numbers[groups[name]] for name in ids])
    reach = margin_of(margin, len(numbers))
    found = noninferiority(new, old, reach, clusters)
    value = 100 * (found.delta.value or 0.0)
    sentence = (
        f"{value:+.1f} points, 90 % interval [{_points(found.lower)}, {_points(found.upper)}], "
        f"margin {100 * reach:.1f}: {found.wins} items better, {found.losses} worse, "
        f"{found.ties} the same"
    )
    return found.verdict, sentence


def margin_of(margin: float | None, groups: int) -> float:
    """The margin given, or what so many independent items resolve."""
    return default_margin(groups) if margin is None else margin


def change(before: Item, after: Item) -> float:
    """What an item gained: an answer that is missing now counts as wrong, one missing then as
    right, and one missing on both sides not at all.
    """
    if before.score is None and after.score is None:
        return 0.0
    return (after.score or 0.0) - (1.0 if before.score is None else before.score)


def _missing(before: Mapping[str, Item], name: str, after: Mapping[str, Item]) -> bool:
    return after[name].score is None and before[name].score is None


def _score(item: Item) -> float:
    return math.nan if item.score is None else item.score


def _flips(
    before: Mapping[str, Item],
    after: Mapping[str, Item],
    ids: Sequence[str],
    reasons: Mapping[str, str],
) -> list[Flip]:
    """Items whose verdict changed, what got worse first."""
    changed = [
        Flip(
            name,
            before[name].score,
            after[name].score,
            before[name].answer,
            after[name].answer,
            reasons.get(name, ""),
        )
        for name in ids
        if before[name].score != after[name].score
    ]
    return sorted(changed, key=lambda flip: ((flip.after or 0) - (flip.before or 0), flip.item))


def _points(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:+.1f}"


def _list(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
