"""Multiple comparisons, selection, power, agreement."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.stats.agreement import agreement
from harness.stats.multiple import benjamini_hochberg, holm
from harness.stats.pairs import mcnemar_mid_p
from harness.stats.power import exact_power, items_to_detect, minimum_detectable_effect
from harness.stats.selection import cross_fitted, deal_folds


def test_holm_and_bh_agree_with_hand_worked_families() -> None:
    family = [0.01, 0.04, 0.03, 0.005]
    assert holm(family) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg(family) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert holm([]) == benjamini_hochberg([]) == []


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@pytest.mark.slow
def test_adjusted_p_never_falls_below_p_and_holm_is_the_stricter(family: list[float]) -> None:
    for p, strict, mild in zip(family, holm(family), benjamini_hochberg(family), strict=True):
        assert p - 1e-12 <= mild <= strict + 1e-12 <= 1 + 2e-12


def test_no_items_detect_nothing_and_a_few_cannot_detect_anything() -> None:
    assert minimum_detectable_effect(0) is None
    assert minimum_detectable_effect(3, 1.0) is None
    assert exact_power(0.3, 100, 0.2) == 0


@pytest.mark.parametrize(("n", "psi", "alpha"), [(100, 0.1, 0.05), (300, 0.2, 0.05 / 7)])
def test_the_power_is_the_one_of_simulated_suites(n: int, psi: float, alpha: float) -> None:
    # 4,000 suites at the detectable effect: 80 % are rejected; the standard error is 0.006.
    effect = minimum_detectable_effect(n, psi, alpha=alpha)
    assert effect is not None
    rng = np.random.default_rng(3)
    cells = [(psi + effect) / 2, (psi - effect) / 2, 1 - psi]
    wins, losses, _ = rng.multinomial(n, cells, size=4000).T
    found = [mcnemar_mid_p(int(w), int(x)) <= alpha for w, x in zip(wins, losses, strict=True)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.025)


@pytest.mark.parametrize(("effect", "psi"), [(0.05, 0.1), (0.03, 0.1), (0.1, 0.3)])
def test_the_items_needed_see_the_effect(effect: float, psi: float) -> None:
    n = items_to_detect(effect, psi)
    assert exact_power(effect, n, psi) >= 0.8 > exact_power(effect, int(0.9 * n), psi)


@settings(max_examples=25)
@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=40, unique=True))
def test_folds_do_not_depend_on_the_order_of_items(names: list[str]) -> None:
    dealt = deal_folds(names, seed=1)
    assert dealt == deal_folds(names[::-1], seed=1)
    sizes = np.bincount(list(dealt.values()), minlength=5)
    assert sizes.max() - sizes.min() <= 1


def test_the_best_of_many_equal_strategies_is_not_flattered() -> None:
    # 20 strategies that all pass 30 %: the winner on all items looks better than it is, the
    # cross-fitted score does not. Mean of 200 suites of 100 items: standard error about 0.003.
    rng = np.random.default_rng(8)
    flattered, judged = [], []
    for _ in range(200):
        scores = (rng.random((100, 20)) < 0.3).astype(float)
        found = cross_fitted(scores, np.arange(100) % 5)
        assert found is not None
        flattered.append(scores[:, found.winner].mean())
        judged.append(found.values.mean())
    assert np.mean(flattered) > 0.36
    assert np.mean(judged) == pytest.approx(0.3, abs=0.015)


def test_a_fold_never_chooses_its_own_judge() -> None:
    scores = np.zeros((10, 2))
    scores[:5, 1] = 1.0  # the second strategy wins fold 0 only
    found = cross_fitted(scores, np.repeat([0, 1], 5))
    assert found is not None
    assert found.chosen == (0, 1)
    assert not found.values.any()


def test_skipping_hard_items_does_not_win() -> None:
    scores = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, np.nan], [1.0, 0.0]] * 5)
    found = cross_fitted(scores, np.arange(20) % 5)
    assert found is not None and found.winner == 0


def test_one_fold_selects_nothing() -> None:
    assert cross_fitted(np.ones((3, 2)), np.zeros(3, dtype=np.int64)) is None


def test_agreement_counts_pairs_of_repeats() -> None:
    found = agreement([[True, True, True, False], [True] * 4, [True]])
    assert found is not None
    assert (found.n, found.repeats) == (2, 4)
    assert found.mean == pytest.approx((0.75 + 1) / 2)
    assert found.pass_all == 0.5
    assert found.agreement == pytest.approx((0.5 + 1) / 2)
    assert agreement([[True], [False]]) is None
