"""The verdict of a use, and its odds where nothing is there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.choice.sides import Sides
from harness.choice.uses import USES, absent, measured
from harness.choice.values import ArmScores, Row
from harness.choice.verdict import row_of

SIDES = Sides(("base", "instruct"), "base", "instruct", ("qa",))
ARMS = SIDES.columns
SHARE, BITS = "chat-style instructions", "continuation"


def shares(*columns: np.ndarray) -> Row:
    arms = [
        ArmScores(SHARE, stage, way, np.asarray(column, float), np.ones(len(column)), 10.0)
        for (stage, way), column in zip(ARMS, columns, strict=True)
    ]
    return row_of(measured(SHARE, arms, "items"), SIDES)


def draw(rng: np.random.Generator, share: float, n: int = 200) -> np.ndarray:
    return (rng.random(n) < share).astype(float)


def test_each_verdict_where_it_is_true() -> None:
    rng = np.random.default_rng(3)
    low, high = draw(rng, 0.2), draw(rng, 0.8)
    assert shares(high, low, low, low).pick == "base"
    assert shares(low, high, low, low).pick == "wrapped base"
    assert shares(low, low, high, low).pick == "instruct"
    assert shares(low, low, low, high).pick == "instruct"
    assert shares(high, high, high, low).pick == "base suffices"
    assert shares(low, high, high, low).pick == "wrapped base suffices"
    assert shares(draw(rng, 0.5, 12), low[:12], draw(rng, 0.5, 12), low[:12]).pick == "cannot tell"


def test_level_at_nothing_is_no_suffices() -> None:
    nothing = np.zeros(300)
    found = shares(nothing, nothing, nothing, nothing)
    assert found.pick == "neither"
    assert "neither model does this" in found.decision.sentence
    few = shares(nothing[:6], nothing[:6], nothing[:6], nothing[:6])
    assert few.pick == "cannot tell"
    assert "not one item was right" in few.decision.sentence


def test_level_at_what_blind_answers_get_is_no_suffices() -> None:
    column = np.tile([1.0, 0.0, 0.0, 0.0, 0.0], 60)
    arms = [
        ArmScores("cloze", stage, way, column, np.ones(300), 10.0) for stage, way in SIDES.columns
    ]
    found = row_of(measured("cloze", arms, "documents"), SIDES)
    assert found.pick == "cannot tell"
    assert "above 25.0 %, what blind answers get" in found.decision.sentence


def test_fewer_bits_are_better_and_what_tuning_cost_is_told() -> None:
    rng = np.random.default_rng(5)
    sizes = rng.uniform(500, 900, 20)
    base = sizes * rng.normal(1.0, 0.1, 20)
    worse = base + sizes * rng.normal(0.2, 0.02, 20)
    columns = (base, base + sizes, worse + sizes, worse)
    arms = [
        ArmScores(BITS, stage, way, column, sizes, 10.0)
        for (stage, way), column in zip(ARMS, columns, strict=True)
    ]
    found = row_of(measured(BITS, arms, "documents"), SIDES)
    assert found.pick == "base"
    (tax,) = found.taxes
    assert tax.difference.value == pytest.approx(0.2, abs=0.02)
    assert tax.difference.low is not None
    assert tax.difference.low > 0.15


def test_two_equal_models_are_told_apart_once_in_twenty_at_most() -> None:
    """400 suites: at a true 5 % more than 8 % show here about once in 200 runs."""
    rng = np.random.default_rng(11)
    told = 0
    for _ in range(400):
        columns = [draw(rng, 0.5, 60) for _ in ARMS]
        told += shares(*columns).pick in ("base", "wrapped base", "instruct")
    assert told / 400 <= 0.08


def test_a_side_without_a_score_decides_nothing() -> None:
    arms = [
        ArmScores(SHARE, "base", "raw", np.ones(9), np.ones(9), 1.0),
        absent(SHARE, "instruct", "native", "the model's file has no chat template"),
        absent(SHARE, "instruct", "raw", "no tokens"),
    ]
    found = row_of(measured(SHARE, arms, "items"), SIDES)
    assert found.pick == "cannot tell"
    assert "no chat template" in found.decision.sentence


def test_a_use_that_was_not_run_claims_nothing() -> None:
    found = row_of(replace(USES[BITS]), SIDES)
    assert found.pick == "not run"
    assert all(cell.score is None for cell in found.cells)
