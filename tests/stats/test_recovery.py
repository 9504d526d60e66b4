from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.records import Estimate
from harness.stats.bootstrap import bca, resampled_sums
from harness.stats.recovery import (
    Recovery,
    fieller,
    judged_share,
    mover_ratio,
    recovered_shares,
)

Arm = NDArray[np.float64]


def arms(n: int, base: float, wrapped: float, instruct: float, seed: int = 0) -> list[Arm]:
    """Three correlated pass/fail arms: a common difficulty per item with a little noise."""
    rng = np.random.default_rng(seed)
    hard = 0.6 * rng.random(n) + 0.4 * rng.random((3, n))
    ranks = np.argsort(np.argsort(hard, axis=1), axis=1) / n
    return [(ranks[k] < rate).astype(float) for k, rate in enumerate((wrapped, base, instruct))]


def share(wrapped: Arm, base: Arm, instruct: Arm, **more: int) -> Recovery:
    return recovered_shares(
        [(wrapped, base, instruct)], np.arange(len(base)), **{"seed": 0, **more}
    )[0]


def test_the_share_is_the_ratio_of_sums() -> None:
    wrapped, base, instruct = arms(300, 0.1, 0.3, 0.6)
    found = share(wrapped, base, instruct)
    expected = (wrapped.sum() - base.sum()) / (instruct.sum() - base.sum())
    assert found.share.value == pytest.approx(expected)
    assert found.share.low is not None and found.share.high is not None
    assert found.share.low < expected < found.share.high
    assert found.gap.value == pytest.approx((instruct - base).mean())


def test_the_joint_bootstrap_agrees_with_scipys_bca() -> None:
    wrapped, base, instruct = arms(200, 0.1, 0.35, 0.6)
    found = share(wrapped, base, instruct).share
    reference = scipy.stats.bootstrap(
        (wrapped, base, instruct),
        lambda w, b, i, axis=-1: (w - b).mean(axis) / (i - b).mean(axis),
        paired=True,
        vectorized=True,
        n_resamples=10_000,
        method="BCa",
        rng=1,
        batch=500,
    ).confidence_interval
    # The ends of two bootstraps of 10,000 differ by about 0.002 (one standard error); 0.01 is
    # beyond four of them.
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=0.01)
    rng_free = bca(
        float(wrapped.mean()),
        resampled_sums(wrapped[:, None], resamples=10_000, seed=4)[:, 0] / 200,
        (wrapped.sum() - wrapped) / 199,
    )
    plain = scipy.stats.bootstrap((wrapped,), np.mean, n_resamples=10_000, rng=2)
    assert rng_free == pytest.approx(tuple(plain.confidence_interval), abs=0.012)


def test_identical_arms_give_an_interval_and_not_a_point() -> None:
    _, base, instruct = arms(300, 0.1, 0.3, 0.6)
    nothing, everything = share(base, base, instruct).share, share(instruct, base, instruct).share
    assert nothing.value == 0 and everything.value == 1
    assert nothing.low is not None and nothing.high is not None and nothing.low < 0 < nothing.high
    assert everything.low is not None and everything.high is not None
    assert everything.low < 1 < everything.high
    assert nothing.method.startswith("MOVER-R")


@given(st.floats(-0.5, 0.5), st.floats(0.3, 0.9), st.floats(0.01, 0.1), st.floats(0.01, 0.1))
def test_mover_with_symmetric_independent_ends_is_fieller(
    a: float, b: float, ra: float, rb: float
) -> None:
    top = Estimate(a, a - ra, a + ra, 0.95, "", 1)
    bottom = Estimate(b, b - rb, b + rb, 0.95, "", 1)
    z = scipy.stats.norm.ppf(0.975)
    found = mover_ratio(top, bottom)
    assert found is not None
    assert found == pytest.approx(fieller(a, b, ra / z, rb / z, 0.0), abs=1e-9)


def test_a_share_that_holds_nothing_and_everything_is_no_number() -> None:
    wide = Estimate(0.5, -0.1, 1.1, 0.95, "m", 40)
    assert judged_share(wide).value is None
    assert judged_share(wide).note.startswith("undetermined: ")
    assert judged_share(Estimate(0.5, -0.6, 0.5, 0.95, "m", 40)).value is None
    assert judged_share(Estimate(0.5, 0.1, 0.9, 0.95, "m", 40)).value == 0.5


def test_shares_below_zero_and_above_one_are_kept() -> None:
    worse = share(*arms(400, 0.3, 0.1, 0.6)).share.value
    better = share(*arms(400, 0.1, 0.8, 0.5)).share.value
    assert worse is not None and worse < 0
    assert better is not None and better > 1


@pytest.mark.parametrize(
    ("rates", "n", "reason"),
    [
        ((0.30, 0.32, 0.33), 400, "under the 5"),
        ((0.50, 0.40, 0.30), 400, "under the 5"),
        ((0.30, 0.35, 0.375), 40, "includes zero"),
    ],
)
def test_a_gap_too_small_or_too_uncertain_is_not_divided_by(
    rates: tuple[float, float, float], n: int, reason: str
) -> None:
    found = share(*arms(n, *rates))
    assert found.share.value is None and found.fieller.value is None
    assert found.share.note.startswith("not estimable: ") and reason in found.share.note
    # What remains is said: W − B and I − W.
    assert found.gain.value is not None and found.rest.value is not None


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_tiny_suites_refuse_instead_of_failing(n: int) -> None:
    found = share(np.ones(n), np.zeros(n), np.ones(n))
    assert found.share.value is None or found.share.value == 1


def test_a_missing_answer_leaves_all_three_arms() -> None:
    wrapped, base, instruct = arms(300, 0.1, 0.3, 0.6)
    holes = [
        np.where(np.arange(300) % 10 == k, np.nan, arm)
        for k, arm in enumerate((wrapped, base, instruct))
    ]
    kept = np.arange(300) % 10 > 2
    found = share(holes[0], holes[1], holes[2]).share
    assert (found.n, found.n_missing) == (210, 90)
    whole = share(wrapped[kept], base[kept], instruct[kept]).share
    assert found.value == pytest.approx(whole.value)


def test_many_shares_at_once_are_the_same_as_one_at_a_time() -> None:
    first, second = arms(120, 0.1, 0.3, 0.6), arms(120, 0.05, 0.4, 0.7, seed=5)
    triples = [(a[0], a[1], a[2]) for a in (first, second)]
    together = recovered_shares(triples, np.arange(120), seed=3)
    apart = [recovered_shares([triple], np.arange(120), seed=3)[0] for triple in triples]
    for one, other in zip(together, apart, strict=True):
        assert one.share.low == pytest.approx(other.share.low)
        assert one.share.high == pytest.approx(other.share.high)


def test_paraphrases_widen_the_interval_as_the_smaller_number_of_items_would() -> None:
    wrapped, base, instruct = arms(60, 0.1, 0.35, 0.7)
    once = share(wrapped, base, instruct).share
    copies = [np.repeat(arm, 5) for arm in (wrapped, base, instruct)]
    grouped = recovered_shares(
        [(copies[0], copies[1], copies[2])], np.repeat(np.arange(60), 5), seed=0
    )[0].share
    assert (grouped.low, grouped.high) == pytest.approx((once.low, once.high))


def test_share_intervals_cover_the_true_share() -> None:
    # 300 data sets of 150 items, true share 0.4, 1,000 resamples each. With true coverage 0.94,
    # fewer than 0.90 has odds of about 1 in 400 for a new seed.
    rng = np.random.default_rng(5)
    hits = beside = 0
    for number in range(300):
        hard = rng.random(150)
        b, w, i = (
            (hard + 0.3 * (rng.random(150) - 0.5) < t).astype(float) for t in (0.15, 0.35, 0.65)
        )
        found = share(w, b, i, seed=number, resamples=1000)
        assert found.share.low is not None and found.share.high is not None
        assert found.fieller.low is not None and found.fieller.high is not None
        hits += found.share.low <= 0.4 <= found.share.high
        beside += found.fieller.low <= 0.4 <= found.fieller.high
    assert hits / 300 >= 0.90
    assert beside / 300 >= 0.90


@given(
    st.floats(-1, 1),
    st.floats(0.3, 1),
    st.floats(0.01, 0.1),
    st.floats(0.01, 0.1),
    st.floats(-0.9, 0.9),
)
def test_fiellers_ends_are_ratios_a_z_test_just_rejects(
    numerator: float, denominator: float, sx: float, sy: float, correlation: float
) -> None:
    covariance = correlation * sx * sy
    for end in fieller(numerator, denominator, sx, sy, covariance):
        variance = sx**2 - 2 * end * covariance + end**2 * sy**2
        z = (numerator - end * denominator) / np.sqrt(variance)
        assert abs(z) == pytest.approx(scipy.stats.norm.ppf(0.975), rel=1e-6)


def test_fieller_is_unbounded_when_the_denominator_includes_zero() -> None:
    with pytest.raises(ValueError, match="unbounded"):
        fieller(0.1, 0.1, 0.05, 0.06, 0.0)
