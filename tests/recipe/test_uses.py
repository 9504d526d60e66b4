"""The bundled texts and gaps: what the recipe makes, and none of it trained on."""

from __future__ import annotations

import json
from pathlib import Path

from harness.datasets.infill import load_infill
from harness.datasets.texts import load_documents, locate_use
from recipe.presets import FULL, PRESETS, world_of
from recipe.uses import GAPS, SEED, TEXTS, gaps, texts

WORLD = world_of(PRESETS["full"])


def rows(name: str) -> list[dict[str, str]]:
    lines = locate_use(name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_the_bundled_files_are_the_recipes() -> None:
    assert rows("tiny-texts") == texts(WORLD)
    assert rows("tiny-gaps") == gaps(WORLD)


def test_they_load_as_texts_and_gaps() -> None:
    assert len(load_documents([locate_use("tiny-texts")])) == TEXTS
    assert len(load_infill([locate_use("tiny-gaps")])) == GAPS


def test_the_reference_fills_each_gap() -> None:
    facts = {(fact.entity.name, fact.value) for fact in WORLD.facts()}
    for item in load_infill([locate_use("tiny-gaps")]):
        text = item.prefix + item.reference + item.suffix
        if item.tests:
            scope: dict[str, object] = {}
            exec(text + "\n" + item.tests, scope)
        else:
            assert any(name in text and value == item.reference.strip() for name, value in facts)


def test_half_of_the_gaps_are_in_programs() -> None:
    assert sum(bool(item.tests) for item in load_infill([locate_use("tiny-gaps")])) == GAPS // 2


def test_no_stage_draws_with_their_seed() -> None:
    stages = (FULL.base, FULL.sft, FULL.practice, FULL.lora, FULL.preferred)
    used = {offset + stage.seed for stage in stages for offset in (0, 1000, 2000)}
    assert SEED not in used


def test_a_name_that_is_not_shipped_is_refused_with_those_that_are(tmp_path: Path) -> None:
    import pytest

    from harness.errors import SuiteError

    with pytest.raises(SuiteError, match="tiny-gaps, tiny-texts"):
        locate_use("tiny-text")
