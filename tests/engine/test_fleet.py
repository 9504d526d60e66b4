from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest

from harness.engine import Engine, Fleet, open_engine
from harness.errors import ContextOverflow, EngineError
from tests.engine.conftest import EXACT, Ask, mixed_texts


def test_two_children_answer_what_one_answers(tiny: Path, engine: Engine, ask: Ask) -> None:
    settings = dataclasses.replace(EXACT, parallel=2)
    requests = ask(mixed_texts(20), max_tokens=6)
    expected = {g.request_key: g.text for g in engine.generate(requests)}
    with open_engine(tiny, "tiny", settings, ["CPU", "CPU"]) as fleet:
        assert isinstance(fleet, Fleet)
        assert fleet.identity == dataclasses.replace(engine.identity)
        assert {g.request_key: g.text for g in fleet.generate(requests)} == expected
        long = ask(["x" * 5000])
        with pytest.raises(ContextOverflow):
            list(fleet.generate(long))
        for _ in fleet.generate(requests):
            break
        assert len(list(fleet.generate(requests[:4]))) == 4


def test_a_device_that_is_not_there_is_refused_by_name(tiny: Path) -> None:
    with pytest.raises(EngineError, match=r"device CUDA7 was asked for, this machine has .*CPU"):
        open_engine(tiny, "tiny", EXACT, ["CUDA7"])


def test_when_one_child_does_not_start_the_others_are_closed(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers, started = itertools.count(), []

    def start(*args: object, device: int | None) -> Engine:
        if next(numbers):
            raise EngineError("no memory left on this device")
        started.append(Engine(tiny, "tiny", EXACT))
        return started[0]

    monkeypatch.setattr("harness.engine.fleet.Engine", start)
    with pytest.raises(EngineError, match="no memory left"):
        Fleet(tiny, "tiny", EXACT, ["CPU", "CPU"])
    assert [engine._child for engine in started] == [None]
