"""The best of many against a plain second implementation, and max-T against normal theory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from scipy.stats import norm as normal

from harness.stats.best import Level, best_of_many, max_t
from harness.stats.rates import exact_where_few, wilson


def plainly(scores: np.ndarray, folds: np.ndarray, rng: np.random.Generator) -> float:
    """One resample, item by item: choose on the other folds' items, judge on this fold's."""
    drawn = rng.integers(0, len(scores), len(scores))
    worth = 0.0
    for fold in np.unique(folds):
        others = [item for item in drawn if folds[item] != fold]
        sums = [sum(scores[item, column] for item in others) for column in range(scores.shape[1])]
        best = sums.index(max(sums))
        worth += sum(scores[item, best] for item in drawn if folds[item] == fold)
    return worth / len(drawn)


@pytest.mark.slow
def test_the_selection_is_run_again_in_every_resample() -> None:
    rng = np.random.default_rng(8)
    hard = rng.random((120, 1))
    scores = (hard + rng.normal(0, 0.3, (120, 4)) < [0.35, 0.4, 0.4, 0.45]).astype(float)
    folds = np.arange(120) % 5
    base, instruct = (hard[:, 0] < 0.1).astype(float), (hard[:, 0] < 0.8).astype(float)
    found = best_of_many(
        Level(scores, base, instruct), [], folds, np.arange(120), seed=3, resamples=6000
    )
    assert found is not None
    score = found[2][0].score
    sd = np.std([plainly(scores, folds, rng) for _ in range(1500)])
    rate = float(score.value or 0.0)
    low, high = wilson(sd**-2 * rate**2 * (1 - rate), sd**-2 * rate * (1 - rate))
    # 1,500 resamples give the deviation to about 2 %, so each end to about 0.2 points.
    assert score.low == pytest.approx(low, abs=0.008)
    assert score.high == pytest.approx(high, abs=0.008)
    assert exact_where_few(score, 120, 0.95) == score  # so this is Wilson's alone


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "alike"), [(2, 0.0), (5, 0.0), (5, 0.6), (20, 0.3)])
def test_max_t_is_the_normal_quantile_of_the_largest(columns: int, alike: float) -> None:
    rng = np.random.default_rng(columns)
    shape = np.full((columns, columns), alike) + (1 - alike) * np.eye(columns)
    draws = rng.multivariate_normal(np.zeros(columns), shape, 60_000)
    found = max_t(np.zeros(columns), draws)
    if alike == 0:
        expected = float(normal.ppf((1 + 0.95 ** (1 / columns)) / 2))
        assert found == pytest.approx(expected, abs=0.03)
        return
    inside = multivariate_normal(np.zeros(columns), shape, seed=1)
    chance = inside.cdf(np.full(columns, found), lower_limit=np.full(columns, -found))
    assert chance == pytest.approx(0.95, abs=0.004)
