from __future__ import annotations

import numpy as np
import pytest

from harness.experiment.uses.control import chatters, habits
from harness.experiment.uses.instructions import Answered, is_structured
from harness.records import CheckSpec, FinishReason, Generation, Message, Sample


def sample(name: str, *checks: CheckSpec, group: str | None = None) -> Sample:
    return Sample(name, (Message("user", "q"),), checks, group=group)


def answer(text: str, passed: float, finish: FinishReason = "eos") -> Answered:
    return Answered(Generation("k", text, text, (), finish, 1, 1), text, passed)


@pytest.mark.parametrize(
    "text",
    [
        "Sure! Here is the list:\n1. tea",
        "Here's the answer: 4",
        "Certainly. 4",
        "4\n\nLet me know if you need anything else!",
        "4\nI hope this helps.",
    ],
)
def test_ready_openings_and_offers_are_chatter(text: str) -> None:
    assert chatters(text)


@pytest.mark.parametrize(
    "text", ["4", "Surely not.", "He said: feel free to\nstay.", "Of the course, half is done."]
)
def test_an_answer_alone_is_none(text: str) -> None:
    assert not chatters(text)


def test_habits_are_counted_over_greedy_and_drawn_answers() -> None:
    samples = [sample("a", group="g"), sample("b", group="g"), sample("c")]
    greedy = [answer("x", 1), answer("I'm sorry, I cannot.", 0), answer("y", 1, "length")]
    drawn = [
        [answer("x", 1), answer("Sure! x", 1), answer("y", 1)],
        [answer("x", 1), answer("x", 0), answer("z", 1)],
    ]
    found = habits(samples, [greedy, *drawn])
    assert found.same == pytest.approx(2 / 3)
    assert found.varied == pytest.approx(2 / 3)
    assert found.ended == pytest.approx(8 / 9)
    assert found.refused == found.chatted == pytest.approx(1 / 9)
    assert found.paraphrases == 0
    assert "refusals 11 %" in found.line("base", "qa")


def test_what_cannot_be_judged_is_no_verdict() -> None:
    found = habits([sample("a")], [[answer("x", np.nan)], [answer("x", np.nan)]])
    assert found.same is None
    assert found.paraphrases is None


def test_structure_is_found_inside_composed_checks() -> None:
    inner = {"id": "json_schema", "kwargs": {"schema": {}}}
    assert is_structured(sample("a", CheckSpec("detectable_format:json_format")))
    assert is_structured(sample("b", CheckSpec("not", {"check": inner})))
    assert is_structured(sample("c", CheckSpec("all", {"checks": [{"id": "target"}, inner]})))
    assert not is_structured(sample("d", CheckSpec("target")))
