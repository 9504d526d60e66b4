from __future__ import annotations

import numpy as np
import pytest

from benchmarks.coverage import looked
from harness.stats.pairs import noninferiority
from harness.stats.power import default_margin
from harness.stats.sequential import betting_sequence, foreseen, spending


def test_the_sequence_ends_with_the_full_runs_mean() -> None:
    d = np.array([1.0] * 10 + [-1.0] * 4 + [0.0] * 46)
    low, high = betting_sequence(d, 60)[-1]
    assert (low, high) == pytest.approx((0.1, 0.1), abs=0.002)


def test_the_mean_is_inside_at_every_look_together() -> None:
    # 200 suites of 150 items, every look counted: at most 5 % may ever miss; more than 18 misses
    # has odds under 1 in 100 even at exactly 5 %, and the sequence is conservative.
    rng = np.random.default_rng(4)
    suite = np.array([1.0] * 12 + [-1.0] * 6 + [0.0] * 132)
    misses = 0
    for _ in range(200):
        bounds = np.array(betting_sequence(rng.permutation(suite), 150))
        misses += bool(np.any((bounds[:, 0] > 0.04 + 1e-9) | (bounds[:, 1] < 0.04 - 1e-9)))
    assert misses <= 18


def test_bounds_narrow_and_stay_in_range() -> None:
    rng = np.random.default_rng(1)
    bounds = betting_sequence(rng.permutation([1.0] * 20 + [0.0] * 180), 200)
    assert all(-1 <= low <= high <= 1 for low, high in bounds)
    assert bounds[99][1] - bounds[99][0] < bounds[19][1] - bounds[19][0]


def test_looks_spend_the_whole_alpha_and_most_of_it_late() -> None:
    spent = spending([0.2, 0.4, 0.6, 0.8, 1.0])
    assert sum(spent) == pytest.approx(0.05)
    assert spent == sorted(spent)
    assert spending([1.0]) == pytest.approx([0.05])


@pytest.mark.parametrize("looks", [[], [0.5], [0.6, 0.5, 1.0], [0.0, 1.0]])
def test_looks_that_are_no_plan_are_refused(looks: list[float]) -> None:
    with pytest.raises(ValueError, match="looks"):
        spending(looks)


def suite_of(n: int, win: float, loss: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.choice([1.0, -1.0, 0.0], n, p=[win, loss, 1 - win - loss])


@pytest.mark.slow
@pytest.mark.parametrize(("win", "loss"), [(0.0, 0.0), (0.03, 0.03), (0.05, 0.12), (0.02, 0.1)])
def test_the_full_runs_verdict_is_among_those_foreseen(win: float, loss: float) -> None:
    # Every look of 25 suites: a miss has at most 5 % odds by construction and far less in fact.
    margin, misses = default_margin(150), 0
    for seed in range(25):
        suite = suite_of(150, win, loss, seed)
        full = noninferiority(suite, np.zeros(150), margin).verdict
        misses += any(
            full not in foreseen(suite[:seen], 150, margin, independent=True).verdicts
            for seen in range(15, 150, 15)
        )
    assert misses <= 4


def test_the_last_item_leaves_the_full_runs_verdict_alone() -> None:
    for seed in range(30):
        suite = suite_of(120, 0.04, 0.09, seed)
        full = noninferiority(suite, np.zeros(120), 0.05)
        if min(abs(-0.05 - (full.lower or 0)), abs(-0.05 - (full.upper or 0))) > 0.01:
            assert foreseen(suite, 120, 0.05, independent=True).verdicts == {full.verdict}


def test_known_items_count_as_what_they_are() -> None:
    # 100 changed items among 400: three quarters are known to be equal.
    changed = np.array([-1.0, 0.0] * 20)
    alone = foreseen(changed, 100, 0.05, independent=True)
    among = foreseen(changed, 100, 0.05, np.zeros(300), independent=True)
    assert among.low == pytest.approx(alone.low / 4)
    assert among.high == pytest.approx(alone.high / 4)


def test_means_of_epochs_leave_more_open_than_single_answers() -> None:
    drawn = suite_of(100, 0.0, 0.02, 1)
    single = foreseen(drawn, 120, 0.1, independent=True).verdicts
    epochs = foreseen(drawn, 120, 0.1, independent=False).verdicts
    assert single <= epochs


def test_ten_points_cost_half_of_the_items_at_most() -> None:
    margin = default_margin(312)
    shares = [looked(suite_of(312, 0.02, 0.12, seed), margin)[1] for seed in range(15)]
    assert np.median(shares) <= 0.5
