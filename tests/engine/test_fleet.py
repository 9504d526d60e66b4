from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from harness.engine import Engine, Fleet, open_engine
from harness.engine.life import Absent
from harness.errors import ContextOverflow, EngineError
from tests.engine.conftest import EXACT, Ask, mixed_texts
from tests.support.command import ROOT

CRASHING = ROOT / "tests/support/crashing_worker.py"


@pytest.mark.slow
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


@pytest.mark.slow
def test_an_unfinished_fleet_is_left_at_once(tiny: Path, ask: Ask) -> None:
    """No device finishes its long answers first, and no child is started to do them again."""
    short, long = ask(["a"], max_tokens=1), ask(mixed_texts(300), max_tokens=1500)
    with open_engine(tiny, "tiny", EXACT, ["CPU", "CPU"]) as fleet:
        answers = fleet.generate([*short, *long])
        next(answers)
        begin = time.monotonic()
        answers.close()  # type: ignore[attr-defined]
        assert time.monotonic() - begin < 5, "these answers take minutes"
        assert len(list(fleet.generate(short))) == 1


@pytest.mark.slow
def test_what_a_lost_device_left_undone_the_others_do(
    tiny: Path, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = ask(mixed_texts(200), max_tokens=6)
    lost, numbers = tmp_path / "lost", itertools.count()

    def start(*args: object, device: int | None) -> Engine:
        worker = [sys.executable, str(CRASHING), "start", str(lost)]
        return Engine(tiny, "tiny", EXACT, **({} if next(numbers) else {"worker": worker}))

    monkeypatch.setattr("harness.engine.fleet.Engine", start)
    with Fleet(tiny, "tiny", EXACT, ["CPU", "CPU"]) as fleet:
        pid = next(engine for engine in fleet._engines if "crashing" in str(engine._worker)).pid
        found = []
        for generation in fleet.generate(requests):
            if not found:
                lost.touch()
                os.kill(pid, signal.SIGKILL)
            found.append(generation)
        assert sorted(g.request_key for g in found) == sorted(r.key for r in requests)
        assert not any(g.finish_reason == "failed" for g in found)
        assert any("a device was lost" in note for note in fleet.notes)


def test_devices_that_compute_differently_are_refused(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.native.device_handles", lambda: [0, 1])
    monkeypatch.setattr("harness.native.device_name", lambda handle: ["CUDA0", "CPU"][handle])
    monkeypatch.setattr("harness.native.device_kind", lambda handle: ["gpu", "cpu"][handle])
    with pytest.raises(EngineError, match="name devices of one kind"):
        open_engine(tiny, "tiny", EXACT, ["CPU", "CUDA0"])


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
    assert [engine._life.state for engine in started] == [Absent()]
