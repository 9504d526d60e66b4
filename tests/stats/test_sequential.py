from __future__ import annotations

import numpy as np
import pytest

from harness.stats.sequential import betting_sequence, spending


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
