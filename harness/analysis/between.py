"""Two runs against each other: the same arms on the same questions, and what to conclude."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from harness.analysis.grid import build_grid, named_items
from harness.records import CONTROL_STAGE, Comparison, Condition, Decision, Sample, Scored
from harness.stats.pairs import SAME, paired

LEVEL = 0.95
ALPHA = 0.05

Item = tuple[str, str]
"""A question's suite and id."""


@dataclass(frozen=True, slots=True)
class ArmsCompared:
    """One arm in both runs: ``comparison`` is b − a, its interval holds together with the others'.

    ``won`` and ``lost`` are the items that only b, and only a, passes.
    """

    a: Condition
    b: Condition
    comparison: Comparison
    won: tuple[Item, ...]
    lost: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class RunsCompared:
    """Every arm that both runs have, over the questions that both asked alike.

    ``only_a`` and ``only_b`` are questions and arms of one run alone; ``changed`` are questions of
    both whose text or checks differ, which are not compared. ``unchanged`` are arms whose requests
    and verdicts are the very same: there is nothing to test in them.
    """

    arms: tuple[ArmsCompared, ...]
    items: int
    unchanged: tuple[Condition, ...]
    changed: tuple[Item, ...]
    items_only: tuple[int, int]
    arms_only: tuple[tuple[Condition, ...], tuple[Condition, ...]]
    decision: Decision


def compare_rows(
    a: Sequence[Scored], b: Sequence[Scored], *, seed: int = 0, arguments: bool = True
) -> RunsCompared:
    """Compare two runs' judged answers; a missing answer is wrong on its side.

    ``arguments`` False: one side does not know its checks' arguments, so only their ids have to be
    the same.

    Arms are matched by stage, level and strategy, else by stage and strategy, else by strategy,
    where that names one arm of each run.
    """
    ours, theirs = _samples(a), _samples(b)
    both = [item for item in ours if item in theirs]
    same = {item for item in both if _alike(ours[item], theirs[item], arguments)}
    matched = _pairs(_conditions(a), _conditions(b))
    outcomes = [_outcomes(rows, same) for rows in (a, b)]
    unchanged = [
        (one, other)
        for one, other in matched
        if outcomes[0].get(one) and outcomes[0].get(one) == outcomes[1].get(other)
    ]
    pairs = [pair for pair in matched if pair not in unchanged]
    sides = [
        [
            replace(row, condition=Condition(side, "-", str(row.condition)))
            for row in rows
            if (row.sample.suite, row.sample.id) in same
        ]
        for side, rows in (("a", a), ("b", b))
    ]
    grid = build_grid([row for side in sides for row in side])
    headline = [s for s, counted in zip(grid.samples, grid.headline, strict=True) if counted]
    level = 1 - (1 - LEVEL) / max(1, len(pairs))
    arms = []
    for one, other in pairs:
        before = grid.score(Condition("a", "-", str(one)))
        after = grid.score(Condition("b", "-", str(other)))
        found = paired(before, after, grid.headline_clusters, seed=seed, level=level)
        better, worse = after - before > SAME, before - after > SAME
        arms.append(
            ArmsCompared(
                a=one,
                b=other,
                comparison=Comparison(
                    contrast="B − A",
                    a=one,
                    b=other,
                    delta=found.delta,
                    p=found.p,
                    adjusted_p=min(1.0, found.p * len(pairs)),
                    wins=found.wins,
                    losses=found.losses,
                    ties=found.ties,
                ),
                won=named_items(headline, better),
                lost=named_items(headline, worse),
            )
        )
    met = ({pair[0] for pair in matched}, {pair[1] for pair in matched})
    return RunsCompared(
        arms=tuple(arms),
        items=len(headline),
        unchanged=tuple(pair[1] for pair in unchanged),
        changed=tuple(item for item in both if item not in same),
        items_only=(len(ours) - len(both), len(theirs) - len(both)),
        arms_only=(
            tuple(c for c in _conditions(a) if c not in met[0]),
            tuple(c for c in _conditions(b) if c not in met[1]),
        ),
        decision=_decide(arms, len(headline), len(unchanged)),
    )


def _decide(arms: Sequence[ArmsCompared], items: int, unchanged: int) -> Decision:
    """What may be said of B against A: only where an interval and its adjusted p both bear it."""
    worse = [arm for arm in arms if _shown(arm) and (arm.comparison.delta.value or 0) < 0]
    better = [arm for arm in arms if _shown(arm) and (arm.comparison.delta.value or 0) > 0]
    evidence = tuple(
        f"{arm.b}: {arm.comparison.wins} won, {arm.comparison.losses} lost, "
        f"{arm.comparison.ties} tied"
        for arm in (worse + better or list(arms))
    )
    named = "A"
    if unchanged and not arms and items:
        return Decision(
            "compare",
            named,
            "equivalent",
            f"B is A: all {unchanged} arms put the very same requests on {items} items, with the "
            "same verdicts.",
        )
    if not arms or not items:
        return Decision(
            "compare",
            named,
            "inconclusive",
            "The two runs have no arm on a question that both asked alike: nothing is compared.",
            settle="run the same experiment twice",
        )
    count = f"{len(arms)} arm{'s' if len(arms) > 1 else ''}"
    if worse:
        also = f", and more in {_list(better)}" if better else ""
        return Decision(
            "compare",
            named,
            "worse",
            f"B passes fewer items than A in {_list(worse)} (of {count}){also}.",
            evidence,
        )
    if better:
        return Decision(
            "compare", named, "shown", f"B passes more items than A in {_list(better)}.", evidence
        )
    identical = all(arm.comparison.wins == arm.comparison.losses == 0 for arm in arms)
    reach = max(
        max(abs(arm.comparison.delta.low or 0), abs(arm.comparison.delta.high or 0)) for arm in arms
    )
    told = "the same items pass in every arm" if identical else "no arm shows a difference"
    return Decision(
        "compare",
        named,
        "cannot tell",
        f"B cannot be told from A: {told} on {items} items; a difference of up to "
        f"{100 * reach:.1f} points in an arm is not excluded.",
        evidence,
        settle="more items" + (", or fewer arms compared at once" if len(arms) > 1 else ""),
    )


def _shown(arm: ArmsCompared) -> bool:
    delta = arm.comparison.delta
    if delta.low is None or delta.high is None:
        return False
    return arm.comparison.adjusted_p < ALPHA and not delta.low <= 0 <= delta.high


def _list(arms: Sequence[ArmsCompared]) -> str:
    return ", ".join(str(arm.b) for arm in arms)


def _outcomes(
    rows: Iterable[Scored], same: Collection[Item]
) -> dict[Condition, set[tuple[object, ...]] | None]:
    """What each arm asked and got, answer by answer; None where a request is not known."""
    found: dict[Condition, set[tuple[object, ...]] | None] = {}
    for row in rows:
        item = (row.sample.suite, row.sample.id)
        if item not in same:
            continue
        known = found.setdefault(row.condition, set())
        if not row.key or known is None:
            found[row.condition] = None
        else:
            verdicts = tuple((result.check_id, result.strict) for result in row.results)
            known.add((item, row.epoch, row.key, verdicts, row.generation.text))
    return found


def _samples(rows: Iterable[Scored]) -> dict[Item, Sample]:
    return {(row.sample.suite, row.sample.id): row.sample for row in rows}


def _alike(one: Sample, other: Sample, arguments: bool) -> bool:
    """Whether the same was asked and checked."""
    checks = [
        [(spec.id, spec.kwargs if arguments else None) for spec in sample.checks]
        for sample in (one, other)
    ]
    return one.messages == other.messages and checks[0] == checks[1]


def _conditions(rows: Iterable[Scored]) -> list[Condition]:
    return sorted({row.condition for row in rows if row.condition.stage != CONTROL_STAGE})


def _pairs(a: Sequence[Condition], b: Sequence[Condition]) -> list[tuple[Condition, Condition]]:
    found = [(c, c) for c in a if c in b]
    for parts in (lambda c: (c.stage, c.strategy), lambda c: (c.strategy,)):
        if found:
            return found
        named = [[(parts(c), c) for c in side] for side in (a, b)]
        once = [
            {name: c for name, c in side if [n for n, _ in side].count(name) == 1} for side in named
        ]
        found = [(once[0][name], once[1][name]) for name in once[0] if name in once[1]]
    return found
