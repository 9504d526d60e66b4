"""Components of variance against known truths; suites weighed equally against plain formulas."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats.strata import equal_rate, equal_recovery
from harness.stats.variance import COMPONENTS, decompose

TRUTH = {"item": 1.0, "template": 0.5, "item × template": 0.4, "paraphrase": 0.3, "seed": 0.2}


def table(units: int, templates: int, phrasings: int, seeds: int, rng: np.random.Generator):  # type: ignore[no-untyped-def]
    shape = (units, templates, phrasings, seeds)

    def effect(name: str, *axes: int) -> np.ndarray:
        sizes = [shape[axis] if axis in axes else 1 for axis in range(4)]
        return np.sqrt(TRUTH[name]) * rng.standard_normal(sizes)

    y = effect("item", 0) + effect("template", 1) + effect("item × template", 0, 1)
    y = y + effect("paraphrase", 0, 1, 2) + effect("seed", 0, 1, 2, 3)
    codes = np.array(list(itertools.product(*map(range, shape))))
    return codes[:, 0], codes[:, 1], codes[:, 2], np.broadcast_to(y, shape).reshape(-1)


def mean_components(tables: Iterable[tuple[np.ndarray, ...]]) -> np.ndarray:
    found = []
    for columns in tables:
        result = decompose(*columns, resamples=20)
        assert result is not None
        found.append([result.components[name].value for name in COMPONENTS])
    return np.mean(found, axis=0)


@pytest.mark.slow
def test_the_components_come_back_unbiased() -> None:
    rng = np.random.default_rng(1)
    means = mean_components(table(60, 5, 3, 3, rng) for _ in range(60))
    assert means == pytest.approx(list(TRUTH.values()), rel=0.15)


def test_unequal_numbers_of_phrasings_and_seeds_do_not_bias() -> None:
    rng = np.random.default_rng(2)

    def thinned() -> tuple[np.ndarray, ...]:
        columns = table(60, 4, 4, 3, rng)
        unit, _, phrasing, _ = columns
        kept = (phrasing <= unit % 4) | (phrasing == 0)
        kept &= rng.random(len(unit)) < 0.8
        return tuple(column[kept] for column in columns)

    means = mean_components(thinned() for _ in range(60))
    assert means == pytest.approx(list(TRUTH.values()), rel=0.2)


def test_what_the_data_cannot_tell_apart_is_not_named() -> None:
    rng = np.random.default_rng(3)
    once = decompose(*table(20, 3, 1, 1, rng))
    assert once is None
    seeds = decompose(*table(20, 3, 1, 4, rng))
    assert seeds is not None and "paraphrase" not in seeds.components
    phrasings = decompose(*table(20, 3, 4, 1, rng))
    assert phrasings is not None and "seed" not in phrasings.components
    alone = decompose(*table(20, 1, 3, 2, rng))
    assert alone is not None and set(alone.components) == {"item", "paraphrase", "seed"}
    assert sum(alone.share(name) or 0 for name in alone.components) == pytest.approx(1)


def test_the_best_template_is_as_sure_as_the_draws_are() -> None:
    units, templates, phrasings, _ = table(30, 2, 2, 1, np.random.default_rng(4))
    result = decompose(units, templates, phrasings, (templates == 1).astype(float))
    assert result is not None and result.best == (0.0, 1.0)
    coin = decompose(units, templates, phrasings, (phrasings == 1).astype(float))
    assert coin is not None and sum(coin.best) == pytest.approx(1)
    assert 0.3 < coin.best[0] < 0.7


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=12), min_size=1, max_size=4))
def test_suites_weigh_the_same_whatever_they_hold(suites: list[list[bool]]) -> None:
    values = np.array([float(ok) for suite in suites for ok in suite])
    strata = np.repeat(np.arange(len(suites)), [len(suite) for suite in suites])
    found = equal_rate(values, strata, np.arange(len(values)))
    assert found.value == pytest.approx(np.mean([np.mean(suite) for suite in suites]))
    assert found.low is not None and found.high is not None and found.value is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0


def test_equal_suites_give_the_pooled_figures() -> None:
    rng = np.random.default_rng(5)
    raw, qa, native = (rng.random(200) < rate for rate in (0.1, 0.4, 0.8))
    strata, clusters = np.repeat([0, 1], 100), np.arange(200)
    gain, share = equal_recovery(
        *(arm.astype(float) for arm in (qa, raw, native)), strata, clusters
    )
    assert gain.value == pytest.approx(qa.mean() - raw.mean())
    assert share.value == pytest.approx((qa.mean() - raw.mean()) / (native.mean() - raw.mean()))
    assert share.low is not None and share.high is not None and share.low < share.high


def test_the_interval_of_an_equal_mean_covers() -> None:
    rng = np.random.default_rng(6)
    hits = 0
    for _ in range(400):
        values = np.concatenate([rng.random(30) < 0.2, rng.random(120) < 0.7]).astype(float)
        found = equal_rate(values, np.repeat([0, 1], [30, 120]), np.arange(150))
        assert found.low is not None and found.high is not None
        hits += found.low <= 0.45 <= found.high
    assert hits / 400 > 0.92
