"""The state of a run that goes on: what a reader of live.json sees, and what stays behind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.config import LLAMA_CPP
from harness.engine import FakeEngine
from harness.errors import EngineError
from harness.experiment import Backends, live, run
from harness.experiment.llama import LlamaCpp
from harness.protocols import OnToken
from harness.records import Generation, Request
from tests.experiment.test_walk import experiment, folder, options

pytestmark = pytest.mark.usefixtures("unrendered")

__all__ = ["folder"]  # the fixture of two random models


class Watched(FakeEngine):
    """Reads the run's state after each answer; ends with an error when told to."""

    def __init__(self, place: Path, states: list[Any], fails: bool) -> None:
        super().__init__(lambda request: "It is in France")
        self.place, self.states, self.fails = place, states, fails

    def generate(
        self, requests: Sequence[Request], *, on_token: OnToken | None = None
    ) -> Iterator[Generation]:
        for generation in super().generate(requests, on_token=on_token):
            yield generation
            self.states.append(json.loads((self.place / "live.json").read_text("utf-8")))
            if self.fails:
                raise EngineError("the machine stopped")


def watched(engine: Watched) -> Backends:
    """The engine in the place of llama.cpp's."""

    class Opens(LlamaCpp):
        def open(self, *_: object) -> Watched:
            return engine

    return Backends({LLAMA_CPP: Opens()})


def test_a_run_tells_what_is_done_and_scores_so_far_and_then_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_EVERY", 0.0)
    monkeypatch.setattr(live, "_JUDGING", 1e9)
    states: list[Any] = []
    out = tmp_path / "out"
    run(
        experiment(folder),
        options(tmp_path),
        backends=watched(Watched(out, states, fails=False)),
    )
    assert [state["done"] for state in states] == list(range(1, 10))
    assert {state["total"] for state in states} == {9}
    (raw,) = [arm for arm in states[-1]["arms"] if arm.pop("condition").endswith("/raw")]
    assert raw == {"total": 3, "done": 3, "failed": 0, "judged": 3, "passed": 2}
    assert "model 2 of 2" in states[-1]["phase"]
    assert not (out / "live.json").exists()


def test_a_run_that_ends_badly_leaves_no_state_and_no_folder(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(EngineError):
        run(
            experiment(folder),
            options(tmp_path),
            backends=watched(Watched(out, [], fails=True)),
        )
    assert not out.exists()
