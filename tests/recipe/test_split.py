"""Nothing in the suite was trained on: proved on the training streams themselves."""

import itertools
import json
import re

import pytest

from harness.datasets import parse_row
from harness.resources import resource_dir
from recipe.corpus import LATE_SHARES, Corpus
from recipe.presets import FULL, world_of
from recipe.suite import ITEMS, row, suite_tasks
from recipe.tasks import PRACTICE_SHARES, SHARES, tuning_tasks
from recipe.world import GENERIC_QUESTIONS

WORLD = world_of(FULL)
# Seeds of the streams with at least as many tasks and documents as a stage draws from them.
TUNING = (
    (FULL.sft.seed, SHARES, 25_000),
    (FULL.practice.seed, PRACTICE_SHARES, 30_000),
    (FULL.lora.seed, SHARES, 45_000),
    (FULL.preferred.seed, PRACTICE_SHARES, 23_000),
    (500 + FULL.dpo.seed, SHARES, 4_000),
)
PRETRAINING = (
    (FULL.base.seed, None, 27_000),
    (2000 + FULL.base.seed, LATE_SHARES, 14_000),
    (1000 + FULL.sft.seed, LATE_SHARES, 6_000),
    (1000 + FULL.practice.seed, LATE_SHARES, 6_000),
    (1000 + FULL.lora.seed, LATE_SHARES, 6_000),
    (1000 + FULL.preferred.seed, LATE_SHARES, 5_000),
)


def load_rows():
    path = resource_dir("datasets") / "tiny.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


ROWS = load_rows()


@pytest.fixture(scope="module")
def tasks():
    pytest.importorskip("langdetect", reason="the casing checks need the ifeval extra")
    return suite_tasks(WORLD)


def test_the_shipped_suite_is_what_the_recipe_makes(tasks):
    assert [row(task, i) for i, task in enumerate(tasks, 1)] == ROWS
    assert len(ROWS) == sum(ITEMS.values()) >= 300


def test_every_row_is_a_valid_sample_with_a_target_and_a_unique_prompt():
    samples = [parse_row(r, suite="tiny", where=r["id"], validate=lambda _: None) for r in ROWS]
    assert all(sample.target for sample in samples)
    assert len({sample.query for sample in samples}) == len({s.id for s in samples}) == len(ROWS)


def test_every_reference_answer_passes_its_own_checks(tasks):
    from recipe.suite import reference_passes

    assert [task.prompt for task in tasks if not reference_passes(task)] == []


def test_no_tuning_stage_has_a_prompt_an_instance_or_an_entity_of_the_suite(tasks):
    held_out = {e.name for e in WORLD.entities if e.held_out}
    assert {f.entity.name for task in tasks for f in task.facts} <= held_out
    prompts = {task.prompt for task in tasks}
    instances = set().union(*(task.instances() for task in tasks))
    for seed, shares, count in TUNING:
        for task in itertools.islice(tuning_tasks(WORLD, seed, shares), count):
            assert task.prompt not in prompts
            assert not task.instances() & instances
            assert not any(f.entity.name in held_out for f in task.facts)


def test_no_pretraining_text_asks_for_a_fact_of_the_suite(tasks):
    asked = {
        pattern.format(n=f.attribute.noun, e=f.entity.name)
        for task in tasks
        for f in task.facts
        for pattern in GENERIC_QUESTIONS + f.attribute.questions
    }
    sentence = re.compile(r"[A-Z][^.?:\n]*[.?]")
    for seed, shares, count in PRETRAINING:
        for document in itertools.islice(Corpus(WORLD, seed, shares).documents(), count):
            if "?" in document or "Tell me" in document or "Name the" in document:
                assert not asked.intersection(sentence.findall(document))


def test_a_question_that_was_trained_on_would_be_found():
    fact = WORLD.askable()[0]
    asked = f"What is the {fact.attribute.noun} of {fact.entity.name}?"
    sentence = re.compile(r"[A-Z][^.?:\n]*[.?]")
    assert asked in sentence.findall(f"Question: {asked} Write clearly.\nAnswer: no")


@pytest.mark.parametrize("control", ["empty", "yes", "paragraph", "loop"])
def test_a_control_responder_scores_at_most_a_tenth(control):
    pytest.importorskip("langdetect", reason="the casing checks need the ifeval extra")
    from harness.checks import respond
    from recipe.suite import passes

    samples = [parse_row(r, suite="tiny", where=r["id"], validate=lambda _: None) for r in ROWS]
    passed = [passes(r, respond(control, s)) for r, s in zip(ROWS, samples, strict=True)]
    assert sum(passed) <= 0.1 * len(ROWS)
