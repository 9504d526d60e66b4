"""Whether the verdict survives when answers are counted in another way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import nan

import numpy as np

from harness import numbers
from harness.analysis.grid import Grid, outcomes
from harness.analysis.values import Ends, Sensitivity, claims_of
from harness.records import Condition, Scored
from harness.stats.rates import Floats
from harness.stats.recovery import recovered_shares

Outcome = Callable[[Scored], float]
"""What an answer counts for: 1, 0, or NaN to leave its item out."""

REPORTED = "as reported"


def _reported(row: Scored) -> float:
    return float(bool(row.passed))


def _missing(as_what: float) -> Outcome:
    return lambda row: as_what if row.passed is None else _reported(row)


def _unended_wrong(row: Scored) -> float:
    return 0.0 if row.generation.finish_reason in ("length", "loop") else _reported(row)


def _loose(row: Scored) -> float:
    judged = outcomes(row)
    return float(judged is not None and all(judged[1]))


def _view(name: str) -> Outcome:
    def read(row: Scored) -> float:
        seen = getattr(row.views, name)
        return _reported(row) if seen is None or row.passed is None else float(seen)

    return read


WAYS: dict[str, Outcome] = {
    REPORTED: _reported,
    "missing answers right": _missing(1.0),
    "missing answers left out": _missing(nan),
}
"""Ways to count. As reported, a missing answer is wrong and an unended one is judged."""

WHOLE_WAYS: dict[str, Outcome] = {
    "answers without an end wrong": _unended_wrong,
    "loose verdicts": _loose,
    "cut before another speaker's turn": _view("first_turn"),
    "not cut at a stop string": _view("untrimmed"),
}
"""Further ways that need whole answers, and say nothing of those that were cut early."""


def sensitivities(grid: Grid, arms: Ends, seed: int) -> list[Sensitivity]:
    """The two claims about one wrapper (against raw, against instruct) under each way to count.

    The wrapper is the named winner throughout, its choice not made again: the table asks whether
    the counting matters, and every row is paired with the same items. A way that changes no answer
    is marked, not left out.
    """
    cut = any(r.generation.finish_reason == "decided" for arm in arms for r in grid.rows[arm])
    ways = WAYS if cut else WAYS | WHOLE_WAYS
    triples = []
    for outcome in ways.values():
        scores = [_scores(grid, arm, outcome) for arm in arms]
        triples.append((scores[0], scores[1], scores[2]))
    found = recovered_shares(triples, grid.headline_clusters, seed=seed)
    reported = claims_of(found[0])
    return [
        Sensitivity(
            way=way,
            wrapper=arms[0],
            recovery=recovery,
            changes=not all(map(_same, triple, triples[0])),
            claims=claims_of(recovery),
            survives=claims_of(recovery) == reported,
        )
        for way, triple, recovery in zip(ways, triples, found, strict=True)
    ]


def survival(table: Sequence[Sensitivity]) -> str:
    """Whether the claims survive every way to count that changes an answer."""
    others = [item for item in table[1:] if item.changes]
    lost = [item.way for item in others if not item.survives]
    if not others:
        return "No other way to count changes an answer: the verdict does not depend on it."
    change = "changes" if len(others) == 1 else "change"
    ways = f"{numbers.size(len(others), 'other way')} to count that {change} any answer"
    if not lost:
        return f"The verdict survives {ways}."
    return f"The verdict does not survive {numbers.listed(lost)}, of {ways}."


def _same(one: Floats, other: Floats) -> bool:
    return bool(np.array_equal(one, other, equal_nan=True))


def _scores(grid: Grid, condition: Condition, outcome: Outcome) -> Floats:
    """Headline scores ``(items,)``, epochs averaged; NaN where every epoch is left out.

    An epoch that was not asked (no row) counts as a missing one does as reported: wrong.
    """
    n = len(grid.samples)
    sums, left_out, rows = np.zeros(n), np.zeros(n), np.zeros(n)
    for row in grid.rows[condition]:
        at, value = grid.place(row), outcome(row)
        rows[at] += 1
        if np.isnan(value):
            left_out[at] += 1
        else:
            sums[at] += value
    asked = np.maximum(rows, grid.epochs) - left_out
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = np.where(asked > 0, sums / asked, nan)
    scores[np.isnan(grid.verdicts[condition].strict)] = nan
    return np.asarray(scores[grid.headline])
