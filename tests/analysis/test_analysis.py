from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from harness.analysis import Analysis, analyse
from harness.experiment.judging import unasked
from harness.records import Condition, Scored
from harness.stats.power import exact_power
from tests.support.scored import BITS, control, passes, row, run, sample

RAW = Condition("base", "F16", "raw")
QA = Condition("base", "F16", "qa")
NATIVE = Condition("dpo", "F16", "native")


def analysed(scored: Sequence[Scored], **more: Any) -> Analysis:
    given = {
        "recovery": ("base", "dpo"),
        "contrasts": (),
        "reference_level": "F16",
        "seed": 0,
        "bits_per_weight": BITS,
        "levels": ("F16", "Q2_K"),
    }
    return analyse(scored, **{**given, **more})


def grid(outcomes: dict[Condition, Sequence[bool | None]]) -> list[Scored]:
    return [
        passes(sample(f"item-{index}"), condition, ok)
        for condition, verdicts in outcomes.items()
        for index, ok in enumerate(verdicts)
    ]


def test_the_four_metrics_count_prompts_and_checks() -> None:
    rows = [
        row(sample("one"), RAW, (True, True)),
        row(sample("two"), RAW, (True, False)),
        row(sample("three"), RAW, (True, False)),
        row(sample("four"), RAW, (True, None)),
    ]
    summary = analysed(rows).summary(RAW)
    assert summary is not None
    assert summary.overall.prompt_strict.value == pytest.approx(2 / 4)
    assert summary.overall.inst_strict.value == pytest.approx(5 / 7)
    assert (summary.overall.n, summary.n_unsupported) == (4, 1)


def test_loose_verdicts_have_metrics_of_their_own() -> None:
    one = row(sample("one"), RAW, (False, True))
    lenient = replace(one, results=tuple(replace(r, loose=True) for r in one.results))
    summary = analysed([lenient]).summary(RAW)
    assert summary is not None
    assert summary.overall.prompt_strict.value == 0
    assert summary.overall.prompt_loose.value == summary.overall.inst_loose.value == 1


def test_a_failed_generation_counts_as_wrong_and_is_shown_as_missing() -> None:
    found = analysed(grid({RAW: [True, None, False, None], QA: [True] * 4})).summary(RAW)
    assert found is not None
    assert found.overall.prompt_strict.value == 0.25
    assert (found.overall.n, found.overall.n_missing, found.n_failed) == (4, 2, 2)
    assert (found.common.value, found.common.n) == (0.5, 2)
    assert found.bounds == (0.25, 0.75)
    assert found.overall.inst_strict.value == pytest.approx(3 / 8)
    assert found.finish["failed"] == 0.5


def test_an_item_that_an_arm_cannot_express_was_left_out_and_did_not_fail() -> None:
    rows = [row(sample("one"), RAW, (True, True)), unasked(sample("two"), RAW, error="no system")]
    found = analysed(rows).summary(RAW)
    assert found is not None
    assert (found.overall.n_missing, found.n_failed) == (1, 0)
    assert (found.finish["left out"], found.finish["failed"]) == (0.5, 0.0)


def test_an_item_with_only_unsupported_checks_leaves_every_arm() -> None:
    rows = [row(sample("one"), RAW, (None, None)), row(sample("two"), RAW, (True, True))]
    rows += [passes(sample("one"), QA, None), passes(sample("two"), QA, True)]
    found = analysed(rows)
    for condition in (RAW, QA):
        summary = found.summary(condition)
        assert summary is not None and summary.overall.n == 1
        assert summary.overall.prompt_strict.value == 1


def test_a_missing_answer_is_no_way_to_win_a_pair() -> None:
    rows = grid({RAW: [False, True, False, True], QA: [True, None, True, True]})
    rows.pop()  # and one item that qa was never asked
    found = analysed(rows, contrasts=[("qa helps", RAW, QA)]).declared[0]
    assert (found.wins, found.losses, found.ties) == (2, 2, 0)
    assert (found.delta.n, found.delta.value) == (4, 0)


def test_a_wrapper_that_dies_on_the_hard_items_is_not_best_and_stops_the_ranking() -> None:
    twin = [index % 3 == 0 for index in range(100)]
    dying = [None if index % 3 == 1 else ok for index, ok in enumerate(twin)]
    better = [ok or index == 1 for index, ok in enumerate(twin)]
    rows = grid(
        {
            RAW: [False] * 100,
            Condition("base", "F16", "dying"): dying,
            Condition("base", "F16", "twin"): better,
            NATIVE: [True] * 100,
        }
    )
    found = analysed(rows)
    best = found.best_at("F16")
    assert best is not None and best.winner.strategy == "twin"
    assert "dying owes 33.0 %" in found.unranked


def test_controls_are_never_the_best_wrapper() -> None:
    rows = grid(
        {
            RAW: [False] * 40,
            Condition("base", "F16", "raw_nl"): [True] * 40,
            Condition("base", "F16", "icl_3"): [True] * 40,
            QA: [index % 4 == 0 for index in range(40)],
            NATIVE: [True] * 40,
        }
    )
    best = analysed(rows).best_at("F16")
    assert best is not None and best.winner == QA


def test_the_choice_of_the_reference_level_is_carried_to_the_others() -> None:
    found = analysed(run(100))
    here, there = found.best_at("F16"), found.best_at("Q2_K")
    assert here is not None and there is not None
    assert here.folds == there.folds and there.winner.strategy == here.winner.strategy
    assert here.named is not None and there.named is None
    assert 0 < here.named.chance <= 1
    assert here.interaction is None and there.interaction is not None
    assert there.interaction.value == pytest.approx(
        (there.recovery.gain.value or 0) - (here.recovery.gain.value or 0)
    )
    assert there.fixed.value is not None and there.recovery.share.value is not None
    assert there.fixed.value < there.recovery.share.value


def test_a_contrast_that_was_not_run_has_no_p_and_leaves_the_family() -> None:
    rows = grid({RAW: [False] * 12, QA: [True] * 12})
    absent = Condition("base", "F16", "nowhere")
    found = analysed(rows, contrasts=[("gone", RAW, absent), ("qa helps", RAW, QA)]).declared
    assert found[0].delta.value is None and found[0].p != found[0].p
    assert found[1].adjusted_p == pytest.approx(found[1].p)


def test_epochs_are_averaged_within_an_item_and_are_not_n() -> None:
    rows = [
        passes(sample(f"item-{index}"), condition, (index + epoch) % 4 < wins, epoch=epoch)
        for condition, wins in ((RAW, 1), (QA, 3))
        for index in range(20)
        for epoch in range(4)
    ]
    found = analysed(rows, contrasts=[("qa helps", RAW, QA)])
    assert found.epochs == 4
    assert found.declared[0].delta.n == 20
    assert found.declared[0].delta.value == pytest.approx(0.5)
    summary = found.summary(RAW)
    assert summary is not None and summary.overall.n == 20
    assert summary.n_generations == 80
    kinds = {item.kind for item in found.predictability}
    assert kinds == {"seeds"}


def test_paraphrases_count_as_one_unit_and_show_agreement() -> None:
    rows = [
        passes(sample(f"i{item}-p{number}", group=f"i{item}"), condition, ok)
        for condition, ok in ((RAW, False), (QA, True))
        for item in range(3)
        for number in range(5)
    ]
    found = analysed(rows, contrasts=[("qa helps", RAW, QA)])
    assert found.n_units == 3
    assert found.declared[0].p == pytest.approx(2 / 2**3)
    agreements = {str(item.condition): item.agreement for item in found.predictability}
    assert agreements[str(QA)].pass_all == 1
    assert agreements[str(QA)].repeats == 5


def test_continuations_stay_out_of_the_headline_and_have_their_own_score() -> None:
    found = analysed(run(60, continuations=10))
    summary = found.summary(RAW)
    assert summary is not None
    assert (found.n_items, found.n_headline) == (60, 50)
    assert (summary.overall.n, summary.headline.n) == (60, 50)
    assert summary.kinds["continuation"].n == 10
    assert all(share.recovery.gap.n == 50 for share in found.shares)


def test_a_suite_of_continuations_alone_is_its_own_headline() -> None:
    rows = [passes(sample(f"c{i}", kind="continuation"), RAW, i % 2 == 0) for i in range(6)]
    found = analysed(rows)
    assert (found.n_headline, found.headline_kinds) == (6, ("continuation",))


def test_the_null_floor_is_the_best_responder_that_does_not_echo() -> None:
    rows = grid({RAW: [True] * 5 + [False] * 5})
    for index in range(10):
        item = sample(f"item-{index}")
        rows += [
            control(item, "echo", index < 8),
            control(item, "yes", index < 2),
            control(item, "empty", False),
        ]
    found = analysed(rows)
    assert found.floor is not None
    assert (found.floor.control, found.floor.value) == ("yes", 0.2)
    summary = found.summary(RAW)
    assert summary is not None
    assert summary.headline.null_corrected.value == pytest.approx((0.5 - 0.2) / 0.8)


def test_the_share_is_computed_at_every_level_and_against_every_control() -> None:
    found = analysed(run(80))
    at = {(item.wrapper.level, item.control.strategy) for item in found.shares}
    assert at == {
        ("F16", "raw"), ("F16", "raw_nl"), ("F16", "echo"), ("F16", "empty"), ("F16", "yes"),
        ("Q2_K", "raw"),
    }  # fmt: skip
    share = found.share(QA, RAW)
    assert share is not None and share.instruct == NATIVE
    b, w, i = (found.summary(c) for c in (RAW, QA, NATIVE))
    assert b and w and i
    values = [item.headline.prompt_strict.value or 0.0 for item in (b, w, i)]
    assert share.recovery.share.value == pytest.approx(
        (values[1] - values[0]) / (values[2] - values[0])
    )


def test_the_best_wrapper_is_judged_on_other_prompts() -> None:
    found = analysed(run(100))
    best = found.best_at("F16")
    assert best is not None
    assert best.winner.stage == "base" and best.winner.strategy in {"qa", "sys_qa"}
    assert sum(best.folds.values()) == 5
    winner = found.summary(best.winner)
    assert winner is not None and best.score.value is not None
    assert best.score.value <= (winner.headline.prompt_strict.value or 0) + 1e-9


def test_levels_are_compared_with_the_reference_and_wrapping_with_raw() -> None:
    found = analysed(run(80))
    names = [item.contrast for item in found.explored]
    assert "wrapping: base/F16/qa − base/F16/raw" in names
    assert "quantization: dpo/Q2_K/native − dpo/F16/native" in names
    lost = next(i for i in found.explored if i.b == Condition("dpo", "Q2_K", "native") and i.a
                == NATIVE)  # fmt: skip
    assert lost.delta.value is not None and lost.delta.value < 0
    assert {item.b.level for item in found.interactions} == {"Q2_K"}
    assert all(item.adjusted_p >= item.p for item in (*found.explored, *found.interactions))


def test_an_interaction_is_a_difference_in_differences() -> None:
    at = {level: Condition("base", level, "qa") for level in ("F16", "Q2_K")}
    raws = {level: Condition("base", level, "raw") for level in ("F16", "Q2_K")}
    outcomes: dict[Condition, Sequence[bool | None]] = {
        raws["F16"]: [False] * 8,
        at["F16"]: [True] * 6 + [False] * 2,
        raws["Q2_K"]: [False] * 7 + [True],
        at["Q2_K"]: [True] * 3 + [False] * 5,
    }
    found = analysed(grid(outcomes)).interactions
    assert len(found) == 1
    assert found[0].delta.value == pytest.approx((3 - 1) / 8 - 6 / 8)


def test_the_order_of_rows_changes_nothing() -> None:
    rows = run(40)
    shuffled = rows.copy()
    random.Random(1).shuffle(shuffled)
    assert analysed(rows) == analysed(shuffled)


def test_the_smallest_detectable_effect_is_that_of_the_headline_items() -> None:
    power = analysed(run(106, continuations=6)).power[0]
    assert power.n == 100
    assert power.effect is not None and round(100 * power.effect, 1) == 8.2
    assert exact_power(power.effect, 100, 0.1) == pytest.approx(0.8, abs=1e-3)


def test_without_a_pair_there_is_no_share_and_the_reason_is_said() -> None:
    found = analysed(run(20), recovery=None)
    assert not found.shares and not found.best
    assert "no recovered share" in found.notes[0]


def test_without_raw_there_is_no_share_and_the_reason_is_said() -> None:
    found = analysed(grid({QA: [True] * 4, NATIVE: [True] * 4}))
    assert not found.shares
    assert "raw was not run on base" in found.notes[0]


def test_an_unknown_reference_level_gives_way_to_the_first_one_and_says_so() -> None:
    found = analysed(run(20), reference_level="BF16")
    assert found.level == "F16"
    assert "BF16 was not run" in found.notes[0]


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_tiny_runs_are_analysed_without_complaint(n: int) -> None:
    found = analysed(run(n, continuations=0))
    assert found.n_items == n
    for share in found.shares:
        assert share.recovery.share.value is not None or share.recovery.share.note


def test_eos_rate_counts_only_the_models_own_end() -> None:
    finishes = ("eos", "eos", "stop", "length", "failed")
    rows = [
        row(sample(f"i{n}"), RAW, (True, True), finish=finish)  # type: ignore[arg-type]
        for n, finish in enumerate(finishes)
    ]
    found = analysed(rows).summary(RAW)
    assert found is not None
    assert found.eos_rate == 0.5
    assert found.mean_prompt_tokens == 20
