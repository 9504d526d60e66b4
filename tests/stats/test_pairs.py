from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.stats.pairs import (
    equivalence,
    mcnemar_exact,
    mcnemar_mid_p,
    noninferiority,
    paired,
    sign_flip,
    tango,
)
from harness.stats.power import equivalence_power, items_for_margin

NAN = math.nan
counts = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 60)).filter(any)


@pytest.mark.parametrize(
    ("wins", "losses", "n", "low", "high"),
    [
        # Cavo et al. 2012, as analysed in Fagerland, Lydersen and Laake, Statistical Analysis of
        # Contingency Tables (2017), chapter 8; the R package contingencytables prints the same.
        (6, 16, 161, -0.1240, -0.0054),
        # Bentur et al. 2009, in the same authors' 2014 paper (Statistics in Medicine 33:2850).
        (1, 7, 21, -0.517, -0.026),
    ],
)
def test_tango_agrees_with_published_intervals(
    wins: int, losses: int, n: int, low: float, high: float
) -> None:
    digits = 4 if n == 161 else 3
    assert tuple(round(end, digits) for end in tango(wins, losses, n)) == (low, high)


def test_mcnemar_agrees_with_a_published_p() -> None:
    # Cavo et al. 2012, same chapter: exact conditional test, P = 0.052479.
    assert mcnemar_exact(6, 16) == pytest.approx(0.052479, abs=5e-7)
    assert mcnemar_exact(0, 0) == 1.0


def test_tango_has_a_width_where_nothing_is_discordant() -> None:
    low, high = tango(0, 0, 300)
    z2 = scipy.stats.norm.ppf(0.975) ** 2
    # Closed form for no discordance: z² / (n + z²).
    assert (-low, high) == pytest.approx((z2 / (300 + z2),) * 2)


@given(counts)
def test_tango_is_antisymmetric_and_holds_its_difference(numbers: tuple[int, int, int]) -> None:
    wins, losses, ties = numbers
    n = wins + losses + ties
    low, high = tango(wins, losses, n)
    other = tango(losses, wins, n)
    assert (low, high) == pytest.approx((-other[1], -other[0]), abs=1e-9)
    assert -1 <= low <= (wins - losses) / n <= high <= 1


@given(counts, st.floats(0.5, 0.98))
def test_tango_widens_with_the_level(numbers: tuple[int, int, int], level: float) -> None:
    wins, losses, ties = numbers
    n = wins + losses + ties
    inner, outer = tango(wins, losses, n, level), tango(wins, losses, n, 0.99)
    assert outer[0] <= inner[0] + 1e-9 and inner[1] <= outer[1] + 1e-9


@pytest.mark.parametrize("numbers", [(1, 1, 1), (-1, 0, 5), (0, 0, 0)])
def test_tango_refuses_counts_that_do_not_fit(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        tango(*numbers)


@settings(max_examples=30)
@given(st.lists(st.floats(-1, 1).filter(lambda x: x == 0 or abs(x) > 1e-3), min_size=2, max_size=9))
def test_sign_flip_enumerated_is_scipys_exact_permutation_test(values: list[float]) -> None:
    d = np.round(1000 * np.array(values))  # whole numbers: sums tie exactly or not at all
    if not d.any():
        assert sign_flip(d) == 1.0
        return
    reference = scipy.stats.permutation_test(
        (d,), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip(d) == pytest.approx(reference.pvalue)


def test_sign_flip_drawn_agrees_with_sign_flip_enumerated() -> None:
    rng = np.random.default_rng(1)
    d = np.round(rng.normal(0.3, 1, size=40), 2)
    reference = scipy.stats.permutation_test(
        (d,), np.sum, permutation_type="samples", n_resamples=20_000, rng=2
    )
    # Two Monte Carlo estimates of one p near 0.05: their difference has a standard error of
    # about 0.003, so a new pair of seeds fails once in more than 10,000.
    assert sign_flip(d, seed=3) == pytest.approx(reference.pvalue, abs=0.012)


def test_sign_flip_raises_false_alarms_at_its_level() -> None:
    # 1,000 null data sets of 30 four-epoch means at α = 0.05: a count outside 25..78 has odds of
    # about 1 in 4,000 for a new seed.
    rng = np.random.default_rng(11)
    alarms = 0
    for _ in range(1000):
        a, b = rng.binomial(4, 0.4, (2, 30)) / 4
        alarms += sign_flip(b - a, resamples=999) <= 0.05
    assert 25 <= alarms <= 78


def test_a_missing_item_is_dropped_on_both_sides() -> None:
    a = np.array([1.0, 0.0, NAN, 0.0, 1.0])
    b = np.array([1.0, 1.0, 1.0, NAN, 0.0])
    result = paired(a, b)
    assert (result.delta.n, result.delta.n_missing) == (3, 2)
    assert (result.wins, result.losses, result.ties) == (1, 1, 1)
    assert result.flips == pytest.approx(2 / 3)
    assert result.test == "McNemar mid-p"


def test_epoch_means_are_tested_by_sign_flips_over_items() -> None:
    a, b = np.array([0.25, 0.5, 0.75, 0.0] * 5), np.array([0.5, 0.75, 1.0, 0.25] * 5)
    result = paired(a, b)
    assert result.test == "sign-flip permutation"
    assert result.delta.value == pytest.approx(0.25)
    assert result.p < 0.001


def test_paraphrases_of_one_item_are_one_coin() -> None:
    a, b = np.zeros(40), np.ones(40)
    alone = paired(a, b)
    grouped = paired(a, b, np.repeat(np.arange(4), 10))
    assert alone.p < 1e-9
    assert grouped.p == pytest.approx(2 / 2**4)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, NAN]), min_size=1, max_size=20), st.randoms())
def test_swapping_the_arms_mirrors_the_result(a: list[float], random: object) -> None:
    b = a.copy()
    random.shuffle(b)  # type: ignore[attr-defined]
    one, other = paired(np.array(a), np.array(b)), paired(np.array(b), np.array(a))
    assert (one.wins, one.losses, one.ties) == (other.losses, other.wins, other.ties)
    assert one.p == pytest.approx(other.p)
    if one.delta.value is not None and other.delta.value is not None:
        assert one.delta.value == pytest.approx(-other.delta.value)
        assert one.delta.low == pytest.approx(-(other.delta.high or 0.0))


@given(st.integers(0, 40), st.integers(0, 40))
def test_mid_p_is_the_exact_p_less_the_observed_split(wins: int, losses: int) -> None:
    n = wins + losses
    point = float(scipy.stats.binom.pmf(wins, n, 0.5))
    exact = 2 * float(scipy.stats.binom.cdf(min(wins, losses), n, 0.5))
    assert mcnemar_mid_p(wins, losses) == pytest.approx(min(1.0, exact - point) if n else 1.0)


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=4, max_size=30))
def test_a_clustered_difference_never_leaves_its_range(differences: list[float]) -> None:
    d = np.array(differences)
    found = paired(np.clip(-d, 0, 1), np.clip(d, 0, 1), np.arange(len(d)) // 2).delta
    assert found.low is not None and found.high is not None and found.value is not None
    assert -1 <= found.low <= found.value <= found.high <= 1


def test_noninferiority_at_the_margin_the_suite_was_sized_for() -> None:
    old = np.array([1.0] * 124 + [0.0] * 124)
    new = old.copy()
    new[:12], new[-12:] = 0.0, 1.0
    found = noninferiority(new, old, 0.05)
    assert found.lower == pytest.approx(tango(12, 12, 248, 0.9)[0])
    assert found.verdict == "pass"
    assert noninferiority(new, old, 0.02).verdict == "inconclusive"
    assert noninferiority(np.zeros(248), old, 0.05).verdict == "regress"
    silent = np.where(np.arange(248) < 40, np.nan, new)
    assert noninferiority(silent, old, 0.05).verdict == "regress"


def test_equivalent_worse_and_undecided() -> None:
    a = np.array([1.0] * 200 + [0.0] * 200)
    assert equivalence(a, a, 0.05).verdict == "equivalent"
    assert equivalence(a, np.roll(a, 40), 0.03).verdict == "undecided"
    assert equivalence(a, np.where(np.arange(400) < 60, 0.0, a), 0.05).verdict == "worse"


@pytest.mark.parametrize(("margin", "n", "discordance"), [(0.1, 60, 0.15), (0.05, 200, 0.05)])
def test_the_power_of_equivalence_is_that_of_the_rule_itself(
    margin: float, n: int, discordance: float
) -> None:
    """4,000 draws judged by `equivalence`: exact power differs by three standard errors at most."""
    rng = np.random.default_rng(3)
    judged: dict[tuple[int, int], bool] = {}
    hits = 0
    for _ in range(4000):
        flips = int(rng.binomial(n, discordance))
        wins = int(rng.binomial(flips, 0.5))
        if (wins, flips - wins) not in judged:
            a = np.array([0.0] * wins + [1.0] * (flips - wins) + [1.0] * (n - flips))
            b = np.array([1.0] * wins + [0.0] * (flips - wins) + [1.0] * (n - flips))
            judged[wins, flips - wins] = equivalence(a, b, margin).verdict == "equivalent"
        hits += judged[wins, flips - wins]
    exact = equivalence_power(margin, n, discordance)
    assert abs(hits / 4000 - exact) < 3 * (exact * (1 - exact) / 4000) ** 0.5 + 1e-3


@pytest.mark.parametrize(("margin", "discordance"), [(0.1, 0.1), (0.05, 0.1), (0.03, 0.05)])
def test_so_many_items_show_equal_arms_four_times_of_five(
    margin: float, discordance: float
) -> None:
    n = items_for_margin(margin, discordance)
    assert 0.8 <= equivalence_power(margin, n, discordance) < 0.85
    # Far out the normal approximation takes over, and is as good there.
    assert equivalence_power(0.02, items_for_margin(0.02, 0.1), 0.1) == pytest.approx(0.8, abs=0.01)
