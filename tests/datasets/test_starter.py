"""The starter suite is what its card says, and every row can be judged."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import pytest

from harness import strategies
from harness.checks import judge, validate
from harness.datasets import load_suite
from harness.records import Arm, Sample
from harness.resources import resource_dir
from harness.strategies import load_templates

SAMPLES = load_suite("starter", validate=validate)
ORIGINALS = [sample for sample in SAMPLES if "paraphrase" not in sample.tags]
CATEGORIES = Counter(sample.category for sample in ORIGINALS)
GROUPS: dict[str, list[Sample]] = defaultdict(list)
for _sample in SAMPLES:
    if _sample.group:
        GROUPS[_sample.group].append(_sample)


def passes(sample: Sample, text: str) -> dict[str, bool | None]:
    return {result.check_id: result.strict for result in judge(sample, text)}


def test_it_has_at_least_300_items_in_at_least_12_categories() -> None:
    assert len(ORIGINALS) >= 300
    assert len(CATEGORIES) >= 12
    assert min(CATEGORIES.values()) >= 5


def test_no_two_items_ask_the_same() -> None:
    asked = Counter(tuple(turn.content for turn in sample.messages) for sample in SAMPLES)
    assert [text for text, count in asked.items() if count > 1] == []


def test_at_least_40_items_have_4_paraphrases_that_are_checked_alike() -> None:
    assert len(GROUPS) >= 40
    for name, members in GROUPS.items():
        assert len(members) >= 5, name
        assert len({(m.checks, m.target, m.category) for m in _hashable(members)}) == 1, name


def _hashable(members: list[Sample]) -> list[Sample]:
    from dataclasses import replace

    return [
        replace(member, checks=tuple(repr(spec) for spec in member.checks))  # type: ignore[misc]
        for member in members
    ]


def test_the_founding_questions_are_in_it() -> None:
    queries = {sample.query: sample for sample in SAMPLES}
    assert queries["What is the capital of France?"].target == ("Paris",)
    assert queries["The capital of France is"].kind == "continuation"
    assert sum(sample.kind == "continuation" for sample in SAMPLES) >= 10


def test_every_item_is_tagged_and_says_what_it_needs_of_an_arm() -> None:
    for sample in SAMPLES:
        assert sample.tags, sample.id
        has_system = sample.messages[0].role == "system"
        turns = [turn for turn in sample.messages if turn.role != "system"]
        assert ("system" in sample.needs) == has_system, sample.id
        assert ("multi_turn" in sample.needs) == (len(turns) > 1), sample.id


def test_there_is_a_persona_group_and_a_multi_turn_group() -> None:
    assert CATEGORIES["persona"] >= 10
    assert CATEGORIES["multi_turn"] >= 10


@pytest.mark.parametrize("strategy", sorted(load_templates()))
def test_every_strategy_can_ask_every_item(strategy: str) -> None:
    template = load_templates()[strategy]
    arm = Arm(strategy, strategy)
    refused = {s.id: strategies.inexpressible(s, arm, template) for s in SAMPLES}
    assert {name: reason for name, reason in refused.items() if reason} == {}


def test_checks_of_at_least_a_dozen_kinds_are_used() -> None:
    assert len({spec.id for sample in SAMPLES for spec in sample.checks}) >= 12


def test_each_accepted_answer_passes_and_an_empty_one_does_not() -> None:
    targeted = [sample for sample in ORIGINALS if sample.target]
    assert targeted
    for sample in targeted:
        for answer in sample.target:
            assert passes(sample, f"The answer is {answer}.")["target"] is True, sample.id
        assert passes(sample, "")["target"] is False, sample.id


def test_saying_nothing_passes_no_item() -> None:
    instructions = [sample for sample in ORIGINALS if sample.kind == "instruction"]
    assert instructions
    for sample in instructions:
        assert not all(passes(sample, "").values()), sample.id


def test_the_first_rows_cover_every_category() -> None:
    assert len({sample.category for sample in SAMPLES[: len(CATEGORIES)]}) == len(CATEGORIES)


def test_the_card_tells_the_counts() -> None:
    card = (resource_dir("datasets") / "README.md").read_text(encoding="utf-8")
    told = {name: int(count) for name, count in re.findall(r"^\| (\w+) \| (\d+) \|", card, re.M)}
    assert told == dict(CATEGORIES)
    assert f"{len(ORIGINALS)} items" in card
    assert f"{len(SAMPLES) - len(ORIGINALS)} paraphrases of {len(GROUPS)} of them" in card
    effect = 100 * 2.80 * (0.1 / len(ORIGINALS)) ** 0.5
    assert f"cannot see differences under {effect:.1f} points" in card
