"""What is worked out here is what scipy.stats and statsmodels say, to the last digits printed."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from harness.stats import binomial
from harness.stats.multiple import benjamini_hochberg, holm
from harness.stats.pairs import mcnemar_exact
from harness.stats.rates import wilson

COUNTS = st.integers(1, 3_000).flatmap(lambda n: st.tuples(st.integers(-1, n), st.just(n)))
PROBABILITY = st.integers(0, 1_000).map(lambda count: count / 1_000)  # scipy fails at 1e-308


@given(COUNTS, PROBABILITY)
def test_the_binomial_distribution_is_scipys(counts: tuple[int, int], p: float) -> None:
    k, n = counts
    assert binomial.cdf(k, n, p) == pytest.approx(scipy.stats.binom.cdf(k, n, p), abs=1e-10)
    assert binomial.sf(k, n, p) == pytest.approx(scipy.stats.binom.sf(k, n, p), abs=1e-10)
    assert binomial.pmf(k, n, p) == pytest.approx(scipy.stats.binom.pmf(k, n, p), abs=1e-10)


def test_it_works_elementwise_and_nothing_lies_outside_its_support() -> None:
    wins, counts = np.arange(6)[None, :], np.arange(4)[:, None]
    expected = scipy.stats.binom.pmf(wins, counts, 0.5)
    assert binomial.pmf(wins, counts, 0.5) == pytest.approx(expected, abs=1e-12)
    assert list(binomial.pmf([-1, 0, 1, 2], 1, 0.0)) == [0, 1, 0, 0]
    assert binomial.cdf([-1, 0, 3], 3, 0.25) == pytest.approx([0, 0.421875, 1])


@given(PROBABILITY, st.floats(0.5, 5_000), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilsons_and_the_exact_interval_are_statsmodels(
    rate: float, n: float, level: float
) -> None:
    for method, ours in (("wilson", wilson), ("beta", binomial.clopper_pearson)):
        expected = proportion_confint(rate * n, n, 1 - level, method=method)
        found = ours(rate * n, n, level)
        assert found == pytest.approx(np.clip(expected, 0, 1), abs=1e-9), method


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemars_exact_p_is_statsmodels(wins: int, losses: int) -> None:
    if wins + losses:
        expected = min(1.0, mcnemar([[0, wins], [losses, 0]], exact=True).pvalue)
        assert mcnemar_exact(wins, losses) == pytest.approx(expected, rel=1e-9)


@pytest.fixture(scope="module")
def settled() -> None:
    """statsmodels collects garbage at every call: it need not look at what tests before left."""
    gc.freeze()


@pytest.mark.usefixtures("settled")
@given(st.lists(PROBABILITY, min_size=1, max_size=30))
def test_adjusted_p_values_are_statsmodels(family: list[float]) -> None:
    assert holm(family) == pytest.approx(multipletests(family, method="holm")[1])
    assert benjamini_hochberg(family) == pytest.approx(multipletests(family, method="fdr_bh")[1])
