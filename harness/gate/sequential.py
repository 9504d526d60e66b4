"""``--sequential``: changed items in a seeded random order, until the gate's outcome is settled.

The looks are declared beforehand. At each the betting confidence sequence of the items drawn so far
(without replacement, so that the last look is the full run) says which verdicts the full run can
still reach; once all of them let the gate through, or none does, the arm's other items are spared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from harness.errors import ConfigError
from harness.gate.baseline import Baseline, Item
from harness.gate.judge import ArmVerdict, Look, change, failing, judge, margin_of
from harness.gate.state import State
from harness.hashing import tagged_hash
from harness.records import Sample, Verdict
from harness.stats.sequential import foreseen

LOOKS = 10
"""The gate looks at every tenth of the items it draws."""


@dataclass(slots=True)
class _Arm:
    """An arm on its way: groups in the order they are drawn, what is known, the looks so far.

    ``first`` are changed items that are not left to chance. ``over``: nothing more is asked.
    ``settled`` are the verdicts that were left when a look ended it.
    """

    name: str
    before: Mapping[str, Item]
    first: set[str]
    order: list[list[str]]
    independent: bool
    margin: float
    answers: dict[str, Item] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    looks: list[Look] = field(default_factory=list)
    settled: frozenset[Verdict] = frozenset()
    over: bool = False

    def drawn(self, looks: int) -> list[list[str]]:
        """The groups drawn in the first so many looks."""
        return self.order[: math.ceil(len(self.order) * looks / LOOKS)]

    def part(self, look: int) -> set[str]:
        """The items that a look (the first is 1) adds to those before."""
        new = self.drawn(look)[len(self.drawn(look - 1)) :]
        return {item for group in new for item in group} | (self.first if look == 1 else set())


def in_looks(
    now: State,
    baseline: Baseline,
    *,
    margin: float | None,
    must_pass: Sequence[str],
    accepted: frozenset[Verdict],
) -> tuple[list[ArmVerdict], int]:
    """Judge every arm look by look; the verdicts, and how many answers were generated.

    ``accepted`` are the verdicts that let the gate through: an arm ends when those it can still
    reach are all accepted, or none is. Raises ConfigError where the items' groups differ in size,
    so that the mean over items is not the mean over draws.
    """
    changed = now.changed(baseline)
    arms = [
        _arm(now, baseline.arms[name].items, name, changed[name], margin, must_pass)
        for name in sorted(now.requests)
    ]
    generated = 0
    for look in range(1, LOOKS + 1):
        if all(arm.over for arm in arms):
            break
        wanted = {arm.name: set() if arm.over else arm.part(look) for arm in arms}
        answered = now.answer(baseline, wanted)
        generated += answered.generated
        for arm in arms:
            if not arm.over:
                arm.answers |= answered.arms[arm.name].items
                arm.reasons |= answered.reasons[arm.name]
                _look(arm, look, now.samples, must_pass, accepted)
    return [_verdict(arm, now, margin, must_pass) for arm in arms], generated


def _arm(
    now: State,
    before: Mapping[str, Item],
    name: str,
    changed: set[str],
    margin: float | None,
    must_pass: Sequence[str],
) -> _Arm:
    """What an arm draws: its changed items, but for those that are asked in any case."""
    first = {
        item
        for item in changed
        if before[item].score is None or set(now.samples[item].tags) & set(must_pass)
    }
    order = _order(now, changed - first)
    groups = _grouped(now.samples, before)
    sizes = {len(group) for group in groups}
    if changed and len(sizes) > 1:
        raise ConfigError(
            f"--sequential draws groups of equal size; {name} has groups of {min(sizes)} to "
            f"{max(sizes)} items: run without it"
        )
    independent = sizes == {1} and now.experiment.epochs == 1
    return _Arm(name, before, first, order, independent, margin_of(margin, len(groups)))


def _order(now: State, items: set[str]) -> list[list[str]]:
    """Groups of items as the experiment's seed shuffles them, the same in every arm."""
    groups = _grouped(now.samples, items)
    seed = now.experiment.seed
    return sorted(groups, key=lambda group: tagged_hash("gate order", [seed, sorted(group)[0]]))


def _grouped(samples: Mapping[str, Sample], items: Iterable[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for item in sorted(items):
        groups.setdefault(samples[item].group or item, []).append(item)
    return list(groups.values())


def _look(
    arm: _Arm,
    look: int,
    samples: Mapping[str, Sample],
    must_pass: Sequence[str],
    accepted: frozenset[Verdict],
) -> None:
    """Log what the full run can still come to; the arm is over where its outcome is settled."""
    drawn = arm.drawn(look)
    broken = failing(arm.answers, samples, must_pass)
    if broken or len(drawn) == len(arm.order):
        arm.over = True
        return
    seen_anyway = set(arm.answers) - {item for group in drawn for item in group}
    seen = foreseen(
        np.array([_mean(arm, group) for group in drawn]),
        len(arm.order),
        arm.margin,
        [_mean(arm, group) for group in _grouped(samples, seen_anyway)],
        independent=arm.independent,
    )
    arm.looks.append(
        Look(len(arm.answers), len(arm.before), seen.low, seen.high, tuple(sorted(seen.verdicts)))
    )
    if is_settled(seen.verdicts, accepted):
        arm.over, arm.settled = True, seen.verdicts


def is_settled(verdicts: frozenset[Verdict], accepted: frozenset[Verdict]) -> bool:
    """Whether the verdicts that are left all let the gate through, or none does."""
    return verdicts <= accepted or not verdicts & accepted


def _mean(arm: _Arm, group: Sequence[str]) -> float:
    """A group's mean difference; an answer that is missing counts as the gate counts it."""
    return float(np.mean([change(arm.before[item], arm.answers[item]) for item in group]))


def _verdict(arm: _Arm, now: State, margin: float | None, must_pass: Sequence[str]) -> ArmVerdict:
    """The full run's verdict where every item was asked; otherwise what is left of it."""
    after = now.arm(arm.name, arm.answers)
    found = judge(
        replace(after, items=arm.before),
        after,
        margin=margin,
        samples=now.samples,
        must_pass=must_pass,
        reasons=arm.reasons,
        asked=len(arm.reasons),
    )
    found = replace(found, looks=tuple(arm.looks))
    if not arm.settled:
        return found
    verdict: Verdict = next(iter(arm.settled)) if len(arm.settled) == 1 else "inconclusive"
    return replace(found, verdict=verdict, sentence=_sentence(arm.looks[-1], arm.margin))


_LEFT = {
    ("pass",): "it passes",
    ("regress",): "it regresses",
    ("inconclusive",): "it is inconclusive",
    ("inconclusive", "pass"): "it cannot regress any more",
    ("inconclusive", "regress"): "it cannot pass any more",
}


def _sentence(last: Look, margin: float) -> str:
    return (
        f"settled after {last.items} of {last.of} items: the full run's difference is in "
        f"[{100 * last.low:+.1f}, {100 * last.high:+.1f}] points (95 % over all looks), margin "
        f"{100 * margin:.1f}: {_LEFT[last.verdicts]}"
    )
