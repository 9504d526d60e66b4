from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.stats.ratios import pooled_ratio, ratio_difference


def test_equal_sizes_give_students_interval_of_a_mean() -> None:
    values = np.array([2.0, 3.0, 5.0, 7.0, 11.0])
    found = pooled_ratio(values, np.full(5, 2.0))
    low, high = stats.t.interval(0.95, 4, loc=values.mean() / 2, scale=stats.sem(values) / 2)
    assert (found.value, found.low, found.high) == pytest.approx((values.mean() / 2, low, high))


def test_a_difference_with_equal_sizes_is_the_paired_t_interval() -> None:
    rng = np.random.default_rng(1)
    a, sizes = rng.normal(5, 1, 12), np.full(12, 4.0)
    b = a + rng.normal(0.2, 0.1, 12)
    found = ratio_difference(a, sizes, b, sizes)
    expected = stats.ttest_rel(b, a).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low / 4, expected.high / 4))


def test_a_missing_unit_leaves_both_sides_and_one_unit_has_no_interval() -> None:
    a, b = np.array([1.0, np.nan, 4.0]), np.array([2.0, 2.0, 5.0])
    found = ratio_difference(a, np.ones(3), b, np.ones(3))
    assert (found.value, found.n, found.n_missing) == (1.0, 2, 1)
    alone = pooled_ratio(np.array([3.0]), np.array([2.0]))
    assert (alone.value, alone.low, alone.high) == (1.5, None, None)
    assert pooled_ratio(np.array([np.nan]), np.array([1.0])).value is None


def test_an_interval_ends_where_a_bounded_ratio_must() -> None:
    a, b, ones = np.array([0.0, 0.0, 1.0]), np.array([1.0, 1.0, 0.9]), np.ones(3)
    cut, free = (ratio_difference(a, ones, b, ones, **most) for most in ({"most": 1.0}, {}))
    assert free.high is not None and free.high > 1
    assert (cut.value, cut.low, cut.high) == (free.value, max(free.low or 0, -1), 1.0)
    share = pooled_ratio(a, ones, most=1.0)
    assert (share.low, share.high) == (0.0, 1.0)


@pytest.mark.parametrize("documents", [8, 40, 100])
def test_intervals_cover_the_true_difference(documents: int) -> None:
    """2,000 draws: a true coverage of 95 % shows under 93 % here once in 10,000 runs.

    Sizes vary fivefold and longer documents are easier, so the ratio is not the mean of ratios.
    """
    rng = np.random.default_rng(documents)
    trials, hits = 2000, 0
    truth = 0.02
    for _ in range(trials):
        sizes = rng.uniform(200, 1000, documents)
        rate = 1.2 - 0.0003 * sizes + rng.normal(0, 0.15, documents)
        a = rate * sizes
        b = a + (truth + rng.normal(0, 0.05, documents)) * sizes
        found = ratio_difference(a, sizes, b, sizes)
        assert found.low is not None and found.high is not None
        hits += found.low <= truth <= found.high
    assert hits / trials >= 0.93
