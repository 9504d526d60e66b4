"""What passes unasked, what each category recovers, and what other countings make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.analysis import Analysis, decide
from harness.records import ABLATED, Condition, Scored, Views
from harness.reporting.report import report_text
from tests.analysis.test_analysis import NATIVE, QA, RAW, analysed
from tests.support.scored import manifest, passes, run, sample

BARE = replace(QA, strategy=QA.strategy + ABLATED)


def ablated_run(qa: Sequence[bool], bare: Sequence[bool | None]) -> list[Scored]:
    """raw fails everything, native passes everything; an item of None has no ablated text."""
    rows = []
    for index, (asked, unasked) in enumerate(zip(qa, bare, strict=True)):
        item = sample(f"item-{index}", "odd" if index % 2 else "even")
        if unasked is not None:
            item = replace(item, ablated="Go on.")
            rows.append(passes(item, BARE, unasked))
        rows += [passes(item, RAW, False), passes(item, QA, asked), passes(item, NATIVE, True)]
    return rows


def test_what_a_wrapper_gains_is_told_apart_by_whether_it_needs_the_instruction() -> None:
    found = analysed(ablated_run([True] * 30 + [False] * 20, [True] * 28 + [False] * 22))
    (item,) = found.ablations
    assert (item.condition, item.ablated) == (QA, BARE)
    assert item.unasked.value == pytest.approx(28 / 30)
    assert item.gained is not None and item.gained.value == pytest.approx(28 / 30)
    assert item.share is not None and item.share.value == pytest.approx(28 / 50)
    assert item.effect.value == pytest.approx(2 / 50)
    (decision,) = [d for d in decide(found) if d.topic == "unasked"]
    assert decision.verdict == "shown"
    assert "most of what it gains over the raw prompt needs no instruction" in decision.sentence


def test_an_arm_that_passes_only_when_asked_is_said_to() -> None:
    found = analysed(ablated_run([True] * 40 + [False] * 10, [False] * 50))
    (decision,) = [d for d in decide(found) if d.topic == "unasked"]
    assert decision.verdict == "shown not"
    found = analysed(ablated_run([True] * 6 + [False] * 44, [True] * 3 + [False] * 47))
    (decision,) = [d for d in decide(found) if d.topic == "unasked"]
    assert decision.verdict == "cannot tell" and decision.settle


def test_items_without_an_ablated_text_count_neither_for_nor_against() -> None:
    found = analysed(ablated_run([True] * 20, [True] * 10 + [None] * 10))
    (item,) = found.ablations
    assert item.unasked.n == item.effect.n == 10
    summary = found.summary(BARE)
    assert summary is not None and summary.headline.prompt_strict.n == 10
    raw = found.summary(RAW)
    assert raw is not None and raw.common.n == 20  # the others' figures know nothing of it


def test_an_ablated_arm_is_no_wrapper_and_changes_no_other_figure() -> None:
    rows = ablated_run([True] * 30 + [False] * 20, [True] * 50)
    plain = [row for row in rows if not row.condition.is_ablated]
    with_it, without = analysed(rows), analysed(plain)
    assert [item.condition for item in with_it.wrappers] == [QA]
    for name in ("shares", "best", "explored", "pairs", "power", "margin", "sensitivities"):
        assert getattr(with_it, name) == getattr(without, name), name


def test_each_category_has_a_share_of_its_own() -> None:
    found = analysed(ablated_run([index % 2 == 1 for index in range(60)], [None] * 60))
    shares = {item.category: item.recovery.share.value for item in found.category_shares}
    assert shares == {"even": 0.0, "odd": 1.0}
    assert {item.n for item in found.category_shares} == {30}


def test_the_first_row_of_the_sensitivity_table_is_what_the_report_says() -> None:
    found = analysed(run(epochs=2))
    first = found.sensitivities[0]
    assert first.way == "as reported"
    share = found.share(first.wrapper, replace(first.wrapper, strategy="raw"))
    assert share is not None and share.recovery == first.recovery
    same = [item for item in found.sensitivities if not item.changes]
    assert {item.recovery for item in same} == {first.recovery}


def test_missing_answers_and_other_views_are_counted_both_ways() -> None:
    rows = ablated_run([True] * 20 + [False] * 20, [None] * 40)
    lost = [
        passes(row.sample, QA, None) if row.condition == QA and index % 4 == 0 else row
        for index, row in enumerate(rows)
    ]
    table = {item.way: item for item in analysed(lost).sensitivities}
    right, dropped = table["missing answers right"], table["missing answers left out"]
    gone = sum(row.generation.finish_reason == "failed" for row in lost)
    assert gone and right.changes and dropped.changes
    assert dropped.recovery.gain.n == 40 - gone
    assert right.recovery.gain.value is not None
    assert right.recovery.gain.value > (dropped.recovery.gain.value or 1)

    unseen = [
        replace(row, views=Views(True, False)) if row.condition == QA else row for row in rows
    ]
    table = {item.way: item for item in analysed(unseen).sensitivities}
    assert table["not cut at a stop string"].recovery.gain.value == 0
    assert not table["not cut at a stop string"].survives
    assert table["cut before another speaker's turn"].recovery.gain.value == 1


def test_an_answer_without_an_end_can_be_counted_as_wrong() -> None:
    rows = [
        replace(row, generation=replace(row.generation, finish_reason="length"))
        if row.condition == QA
        else row
        for row in ablated_run([True] * 30, [None] * 30)
    ]
    table = {item.way: item for item in analysed(rows).sensitivities}
    wrong = table["answers without an end wrong"]
    assert wrong.changes and wrong.recovery.gain.value == 0
    assert table["as reported"].recovery.gain.value == 1


def test_several_suites_are_pooled_and_weighed_equally() -> None:
    rows = ablated_run([True] * 30 + [False] * 20, [None] * 50)
    assert analysed(rows).suite_scores == () and analysed(rows).suite_shares is None
    other = [
        replace(row, sample=replace(row.sample, suite="other"), results=row.results)
        for row in ablated_run([False] * 100, [None] * 100)
    ]
    found = analysed(rows + other)
    scores = next(item for item in found.suite_scores if item.condition == QA)
    assert scores.suites["starter"].value == pytest.approx(0.6)
    assert scores.pooled.value == pytest.approx(30 / 150)
    assert scores.equal.value == pytest.approx(0.3)
    shares = found.suite_shares
    assert shares is not None and shares.share.value == pytest.approx(0.3)
    assert shares.suites["starter"].share.value == pytest.approx(0.6)
    report = written_report(found, rows + other)
    assert "## By suite" in report and "suites weighed equally" in report


def test_the_spread_is_taken_apart_where_items_are_asked_again() -> None:
    assert analysed(run()).variances == ()
    rows = run(epochs=3)
    found = analysed(rows)
    assert {item.stage for item in found.variances} == {"base", "dpo"}
    base = next(item for item in found.variances if item.stage == "base")
    assert all(arm.strategy != "raw" for arm in base.arms)
    parts = base.parts
    shares = [parts.share(name) for name in parts.components]
    assert sum(filter(None, shares)) == pytest.approx(1)
    report = written_report(found, rows)
    assert "by the law of total variance" in report and "of draws" in report


def written_report(found: Analysis, rows: Sequence[Scored]) -> str:
    return report_text(
        found, rows, manifest(), description="", warnings=(), command="harness run", plots={}
    )


def test_an_ablated_condition_is_known_by_its_name() -> None:
    assert BARE.is_ablated and not BARE.is_strategy and QA.is_strategy
    assert not Condition("base", "F16", "qa (opening removed)").is_strategy
