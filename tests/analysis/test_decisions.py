"""Decisions: the sentence a user acts on says what its interval bears, and no more."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis import decide
from harness.records import Condition, Decision, Scored
from tests.analysis.test_analysis import NATIVE, QA, RAW, analysed
from tests.support.scored import passes, run, sample

FEW = Condition("base", "F16", "few")


def rows(outcomes: dict[Condition, Sequence[bool]], cost: dict[str, int]) -> list[Scored]:
    return [
        passes(
            sample(f"item-{index}"), condition, ok, prompt_tokens=cost.get(condition.strategy, 20)
        )
        for condition, verdicts in outcomes.items()
        for index, ok in enumerate(verdicts)
    ]


def decided(scored: Sequence[Scored], **more: object) -> dict[str, Decision]:
    found = decide(analysed(scored, **more))
    return {
        f"{item.topic} {item.subject}" if item.topic == "level" else item.topic: item
        for item in reversed(found)
    }


def outcomes(passing: int, n: int = 100, start: int = 0) -> list[bool]:
    return [start <= index < start + passing for index in range(n)]


def test_the_cheapest_of_the_wrappers_that_cannot_be_told_apart_is_taken() -> None:
    found = decided(
        rows(
            {
                RAW: outcomes(2),
                QA: outcomes(40),
                FEW: outcomes(42),
                NATIVE: outcomes(80),
            },
            {"qa": 30, "few": 240},
        )
    )
    wrapper = found["wrapper"]
    assert (wrapper.verdict, wrapper.subject) == ("shown", "qa")
    assert wrapper.sentence == (
        "few cannot be told from qa with these items; qa costs about an eighth of the prompt "
        "tokens: take qa."
    )
    assert "items give an 80 % chance" in wrapper.settle
    assert found["recovery"].verdict == "shown"
    assert found["use"].sentence.startswith("Use the instruct model")


def test_a_wrapper_that_beats_the_others_is_taken_whatever_it_costs() -> None:
    arms = {RAW: outcomes(2), QA: outcomes(15), FEW: outcomes(60), NATIVE: outcomes(80)}
    wrapper = decided(rows(arms, {"qa": 30, "few": 240}))["wrapper"]
    assert wrapper.subject == "few"
    assert "every other wrapper tried" in wrapper.sentence


def test_a_gain_shown_to_be_small_is_said_to_be_small() -> None:
    arms = {RAW: outcomes(20), QA: outcomes(20, start=3), NATIVE: outcomes(80)}
    recovery = decided(rows(arms, {}))["recovery"]
    assert recovery.verdict == "shown not"
    assert recovery.sentence.startswith("Wrapping gains less than")


def test_equal_wrappers_claim_nothing_and_say_how_many_items_would() -> None:
    arms = {RAW: outcomes(20), QA: outcomes(20, start=15), NATIVE: outcomes(80)}
    found = decided(rows(arms, {}))
    assert found["recovery"].verdict == found["wrapper"].verdict == "cannot tell"
    assert found["recovery"].sentence.startswith("No wrapper is shown to beat the raw prompt")
    assert found["wrapper"].sentence.startswith("Keep the raw prompt")
    assert "items give an 80 % chance" in found["recovery"].settle


def test_a_run_of_one_model_is_told_which_level_to_take() -> None:
    scored = [row for row in run(300, seed=4) if row.condition.stage == "dpo"]
    found = decided(scored, recovery=None)
    assert set(found) == {"level dpo native"}
    level = found["level dpo native"]
    assert level.verdict == "worse"
    assert level.sentence.startswith("dpo native: keep F16")
    assert any("Q2_K (3.90 bits per weight) − F16: −" in line for line in level.evidence)


def test_wrappers_that_miss_different_shares_are_not_ranked() -> None:
    arms = rows({RAW: outcomes(2), FEW: outcomes(60), NATIVE: outcomes(80)}, {})
    arms += [
        passes(sample(f"item-{index}"), QA, None if index < 30 else True) for index in range(100)
    ]
    found = decided(arms)
    assert found["wrapper"].verdict == "cannot tell"
    assert "not ranked" in found["wrapper"].sentence
    assert "use" not in found
