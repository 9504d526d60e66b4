from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records import Estimate
from harness.stats.rates import clustered_rate, exact_where_few, null_corrected, wilson


@pytest.mark.parametrize(
    ("passes", "n", "low", "high"),
    [
        # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_newcombes_table(passes: int, n: int, low: float, high: float) -> None:
    assert wilson(passes, n) == pytest.approx((low, high), abs=5e-5)


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_one_unit_per_cluster_gives_wilsons_interval(outcomes: list[bool]) -> None:
    passes = np.array(outcomes, dtype=float)
    estimate = clustered_rate(passes, np.ones(len(passes)))
    assert (estimate.low, estimate.high) == pytest.approx(wilson(passes.sum(), len(passes)))
    assert estimate.method == "Wilson"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=40))
def test_a_clustered_interval_holds_its_rate_and_stays_in_bounds(
    rows: list[tuple[bool, int]],
) -> None:
    passes = np.array([row[0] for row in rows], dtype=float)
    clusters = np.array([row[1] for row in rows])
    estimate = clustered_rate(passes, np.ones(len(rows)), clusters)
    assert estimate.value is not None and estimate.low is not None and estimate.high is not None
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.low < estimate.high


def test_copies_of_an_item_are_not_more_items() -> None:
    outcomes = np.array([1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    once = clustered_rate(outcomes, np.ones(10))
    four_times = clustered_rate(np.repeat(outcomes, 4), np.ones(40), np.repeat(np.arange(10), 4))
    assert four_times.value == once.value
    assert (four_times.low or 0) <= (once.low or 0) and (once.high or 0) <= (four_times.high or 0)


def test_epochs_are_worth_what_they_are_worth() -> None:
    rng = np.random.default_rng(2)
    noise = clustered_rate(rng.binomial(4, 0.5, 100) / 4, np.ones(100), repeats=4)
    fixed = clustered_rate(np.repeat([0.0, 1.0], 50), np.ones(100), repeats=4)
    assert (noise.high or 0) - (noise.low or 0) < 0.6 * ((fixed.high or 0) - (fixed.low or 0))
    assert (fixed.low, fixed.high) == pytest.approx(wilson(50, 100))


def test_instruction_level_intervals_cover_when_checks_of_a_prompt_rise_and_fall_together() -> None:
    # Per prompt a pass rate drawn from {0.1, 0.8}, three checks each; the true rate is 0.45.
    # 600 intervals at 95 %: with true coverage 0.95, fewer than 0.92 has odds of about 1 in 1,000
    # for a new seed. Ignoring clusters covers about 80 % here and fails.
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(600):
        rates = rng.choice([0.1, 0.8], size=100)
        passes = rng.binomial(3, rates).astype(float)
        estimate = clustered_rate(passes, np.full(100, 3.0))
        assert estimate.low is not None and estimate.high is not None
        hits += estimate.low <= 0.45 <= estimate.high
    assert hits / 600 >= 0.92


def test_no_scored_item_has_no_rate() -> None:
    estimate = clustered_rate(np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64), n_missing=3)
    assert (estimate.value, estimate.n_missing, estimate.note) == (None, 3, "no scored item")


def test_the_null_floor_moves_and_stretches_the_score() -> None:
    score = Estimate(0.25, 0.20, 0.30, 0.95, "Wilson", 100)
    corrected = null_corrected(score, 0.113)
    assert corrected.value == pytest.approx((0.25 - 0.113) / 0.887)
    assert corrected.low == pytest.approx((0.20 - 0.113) / 0.887)
    assert null_corrected(score, 0.25).value == 0
    assert null_corrected(score, 0.5).value == pytest.approx(-0.5)
    assert null_corrected(score, 1.0).value is None
    assert null_corrected(score, None).value is None


def test_few_passes_get_no_narrower_than_the_exact_interval() -> None:
    from scipy.stats import beta

    few = exact_where_few(clustered_rate(np.array([1.0] * 3 + [0.0] * 37), np.ones(40)), 40, 0.95)
    assert few.low == pytest.approx(beta.ppf(0.025, 3, 38))
    assert few.high == pytest.approx(beta.ppf(0.975, 4, 37))
    many = clustered_rate(np.array([1.0, 0.0] * 40), np.ones(80))
    assert exact_where_few(many, 80, 0.95) == many
    none = clustered_rate(np.zeros(0), np.zeros(0))
    assert exact_where_few(none, 0, 0.95) == none
