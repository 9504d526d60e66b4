"""The continuous recovered share: 1 − KL(instruct ‖ wrapped) / KL(instruct ‖ raw)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.shift import recovered, shift_decisions, shift_rows
from harness.measured import Measured, Position, Shift
from harness.records import Condition
from tests.analysis.test_levels import analysed

RAW = Condition("base", "F16", "raw")


def shift(arm: str, by_text: np.ndarray, sizes: np.ndarray) -> Shift:
    mean = float((by_text * sizes).sum() / sizes.sum())
    return Shift(
        arm=f"base/F16/{arm}",
        instruct="dpo/F16/native",
        texts=len(sizes),
        tokens=int(sizes.sum()),
        unshifted=0.5,
        marginal=0.3,
        shifted=0.2,
        mean_kld=mean,
        positions=(Position(0, len(sizes), mean, 0.5),),
        by_text=tuple(by_text.tolist()),
        sizes=tuple(sizes.tolist()),
    )


def drawn(share: float, seed: int, n: int = 40) -> tuple[Shift, Shift]:
    """Raw and an arm that is that share nearer in the population, answers of many lengths."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(5, 40, n)
    raw = rng.gamma(2, 1, n)
    kept = (1 - share) * rng.gamma(8, 1 / 8, n)
    return shift("raw", raw, sizes), shift("qa", raw * kept, sizes)


def test_the_share_is_of_all_tokens_alike() -> None:
    raw, arm = drawn(0.4, 1)
    found = recovered(raw, arm)
    assert found.value == pytest.approx(1 - arm.mean_kld / raw.mean_kld)
    assert found.low is not None and found.high is not None
    assert found.low < found.value < found.high
    assert recovered(raw, raw).value == 0
    assert recovered(None, arm).value is None
    assert recovered(raw, replace(arm, sizes=arm.sizes[1:])).value is None


def test_the_interval_covers_the_truth() -> None:
    """95 % asked for, 94 % true at 40 answers: 4 of 1,000 sets of 300 draws would fail."""
    covered = 0
    for seed in range(300):
        found = recovered(*drawn(0.4, seed))
        covered += (found.low or 0) <= 0.4 <= (found.high or 0)
    assert covered >= 270


def test_the_decision_claims_what_the_interval_bears() -> None:
    near, far, none = (drawn(share, 3)[1] for share in (0.5, -0.6, 0.0))
    raw = drawn(0.5, 3)[0]
    analysis = replace(analysed({}, []), raw=RAW)

    def verdict(*arms: Shift) -> tuple[str, str]:
        told = replace(analysis, measured=Measured(shifts=(raw, *arms)))
        (decision,) = shift_decisions(told)
        return decision.verdict, decision.sentence

    assert verdict(near)[0] == "shown"
    assert "dpo/F16/native is gone" in verdict(near)[1]
    assert verdict(far)[0] == "shown not"
    assert verdict(none)[0] == "cannot tell"
    told = replace(analysis, measured=Measured(shifts=(far, raw, replace(near, arm="base/F16/b"))))
    assert [row.shift.arm.rpartition("/")[2] for row in shift_rows(told)] == ["raw", "b", "qa"]
    assert shift_decisions(analysis) == ()
