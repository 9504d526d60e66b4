from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import log_softmax as scipy_log_softmax
from scipy.special import rel_entr

from harness.stats.divergence import Divergences, kl_divergence


def logits(rows: int, size: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(0, 3, (rows, size))
    return drawn.astype(np.float32)


def walked(tokens: int = 600, size: int = 40) -> tuple[Divergences, np.ndarray, np.ndarray, list]:
    left, right = logits(tokens, size, 1), logits(tokens, size, 1)
    right += np.random.default_rng(2).normal(0, 0.4, right.shape).astype(np.float32)
    targets = np.random.default_rng(3).integers(0, size, tokens).tolist()
    found = Divergences()
    for text, (begin, end) in enumerate([(0, 250), (250, 251), (251, tokens)]):
        found.add(text, left[begin:end], right[begin:end], targets[begin:end])
    return found, left, right, targets


def test_the_figures_are_those_of_an_independent_computation() -> None:
    found, left, right, targets = walked()
    p, q = (scipy_log_softmax(side.astype(float), axis=1) for side in (left, right))
    kld = rel_entr(np.exp(p), np.exp(q)).sum(axis=1)
    n, places = len(targets), np.arange(len(targets))
    nll = [-side[places, targets] for side in (p, q)]
    said = found.summary("m/Q2_K", "m/F16", "text x")
    assert (said.texts, said.tokens) == (3, n)
    assert said.mean_kld == pytest.approx(kld.mean())
    # llama.cpp's mean_and_uncertainty: sqrt((E[x²] − E[x]²) / (n − 1))
    assert said.mean_kld_error == pytest.approx(
        math.sqrt(((kld**2).mean() - kld.mean() ** 2) / (n - 1))
    )
    assert said.median_kld == pytest.approx(np.median(kld))
    assert said.p999_kld == pytest.approx(np.sort(kld)[-2:] @ [0.599, 0.401], rel=1e-6)
    assert said.max_kld == pytest.approx(kld.max())
    assert said.same_top_p == pytest.approx((p.argmax(axis=1) == q.argmax(axis=1)).mean())
    change = np.exp(-nll[1]) - np.exp(-nll[0])
    assert said.mean_dp == pytest.approx(change.mean())
    assert said.rms_dp == pytest.approx(math.sqrt((change**2).mean()))
    assert said.ppl == pytest.approx(math.exp(nll[1].mean()))
    assert said.ppl_ratio == pytest.approx(said.ppl / said.ppl_reference)
    assert found.ranks == [
        int((row > row[target]).sum()) for row, target in zip(right, targets, strict=True)
    ]
    assert said.by_text == pytest.approx((kld[:250].mean(), kld[250], kld[251:].mean()))


def test_the_error_of_the_ratio_is_that_of_the_paired_difference() -> None:
    """llama.cpp adds variances and takes off twice the covariance: the same number."""
    found, *_ = walked()
    one, other = np.asarray(found.nll).T
    n = len(one)
    variance = (one.var() + other.var() - 2 * np.cov(one, other, bias=True)[0, 1]) / (n - 1)
    said = found.summary("m/Q2_K", "m/F16", "text x")
    assert said.ppl_ratio_error == pytest.approx(said.ppl_ratio * math.sqrt(variance))


def test_a_distribution_is_not_apart_from_itself() -> None:
    rows = logits(50, 300, 4)
    found = Divergences()
    found.add(0, rows, rows.copy(), list(range(50)))
    said = found.summary("m/F16", "m/F16", "text x")
    assert (said.mean_kld, said.max_kld, said.same_top_p) == (0.0, 0.0, 1.0)
    assert (said.mean_dp, said.ppl_ratio) == (0.0, 1.0)


def test_a_token_that_only_the_other_gives_no_chance_is_infinitely_far() -> None:
    left = np.zeros((1, 2), dtype=np.float32)
    right = np.array([[0, -np.inf]], dtype=np.float32)
    assert kl_divergence(left, right) == [math.inf]
    assert kl_divergence(right, left) == pytest.approx([math.log(2)])
    found = Divergences()
    found.add(0, left, right, [0])
    with pytest.raises(ValueError, match="not finite"):
        found.summary("m/Q2_K", "m/F16", "text x")
    with pytest.raises(ValueError, match="no tokens"):
        Divergences().summary("m/Q2_K", "m/F16", "text x")


def test_a_shift_is_told_by_rank_and_by_place_in_the_answer() -> None:
    found = Divergences()
    # Rows whose order of preference is known: token 0 best, then 1, 2, ...
    other = np.tile(-np.arange(6, dtype=np.float32), (7, 1))
    reference = np.zeros((7, 6), dtype=np.float32)
    found.add(0, reference[:4], other[:4], [0, 1, 2, 3])
    found.add(1, reference[4:], other[4:], [5, 0, 0])
    said = found.shift("base/F16/qa", "dpo/F16/native")
    assert found.ranks == [0, 1, 2, 3, 5, 0, 0]
    assert (said.unshifted, said.marginal, said.shifted) == pytest.approx((3 / 7, 2 / 7, 2 / 7))
    assert [(item.first, item.tokens) for item in said.positions] == [(0, 2), (1, 2), (2, 3)]
    assert [item.unshifted for item in said.positions] == pytest.approx([1 / 2, 1 / 2, 1 / 3])
    assert said.sizes == (4, 3)
    assert said.mean_kld == pytest.approx(said.by_text[0])  # the same row everywhere


def test_tokens_are_marked_by_the_rank_that_the_other_model_gives_them() -> None:
    found = Divergences(texts=[0, 0, 0, 2, 2], kld=[0.0] * 5, ranks=[0, 1, 2, 3, 0])
    assert found.shift("a", "b").marks == ("umm", "su")
