"""The walk with a fake engine at its edge: what is asked, stored, judged and left out."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any

import pytest

import harness
from harness import native
from harness.config import LLAMA_CPP, Experiment, parse_experiment
from harness.datasets import limited
from harness.engine import FakeEngine
from harness.errors import ContextOverflow, EngineError, OutOfMemory, SuiteError
from harness.experiment import Backends, RunOptions, prepare, run
from harness.experiment.llama import LlamaCpp
from harness.protocols import OnToken
from harness.records import OPENING_REMOVED, EngineSettings, Generation, ModelFile, Request, Sample
from tests.support.command import table
from tests.support.tinygguf import CHATML, write_llama

pytestmark = pytest.mark.usefixtures("unrendered")

ROWS: list[dict[str, Any]] = [
    {"id": "one", "category": "fact", "prompt": "Where is Lyon?", "target": "France"},
    {"id": "two", "category": "fact", "prompt": "Where is Turin?", "target": "Italy"},
    {
        "id": "comma",
        "category": "form",
        "prompt": "Describe Lyon.",
        "checks": [{"id": "punctuation:no_comma", "kwargs": {}}],
    },
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two random models and a suite of three items."""
    place = tmp_path_factory.mktemp("walk")
    write_llama(place / "base.gguf", seed=1)
    write_llama(place / "instruct.gguf", seed=2, chat_template=CHATML)
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (place / "suite.jsonl").write_text(lines, encoding="utf-8")
    return place


def experiment(folder: Path, **changes: Any) -> Experiment:
    data: dict[str, Any] = {
        "name": "walk",
        "stages": {"base": str(folder / "base.gguf"), "instruct": str(folder / "instruct.gguf")},
        "strategies": {"base": ["raw", "qa"], "instruct": ["native"]},
        "suites": [str(folder / "suite.jsonl")],
        "sampling": {"max_tokens": 40},
    }
    return parse_experiment({**data, **changes}, "walk.yaml")


def options(tmp_path: Path, **changes: Any) -> RunOptions:
    values = {"out": tmp_path / "out", "store": tmp_path / "answers.sqlite", "jobs": 1}
    return RunOptions(**{**values, **changes})


class Engines(LlamaCpp):
    """Real files, opened with fake engines; remembers what they were opened with and asked."""

    def __init__(
        self,
        *,
        fits: int | None = None,
        fails: str = "",
        late: bool = False,
        error: EngineError | None = None,
    ) -> None:
        self.fits, self.fails, self.late = fits, fails, late
        self.error = error or OutOfMemory("llama.cpp could not allocate")
        self.opened: list[EngineSettings] = []
        self.asked: list[Request] = []
        self.devices_named: list[Sequence[str]] = []

    def open(
        self, model: ModelFile, settings: EngineSettings, devices: Sequence[str] = ()
    ) -> FakeEngine:
        self.devices_named.append(devices)
        self.opened.append(settings)
        fits = self.fits is None or 0 <= settings.n_gpu_layers <= self.fits
        if not (fits or self.late):
            raise self.error
        return _Remembering(self, fits)


def on(engines: Engines) -> Backends:
    """The engines in the place of llama.cpp's."""
    return Backends({LLAMA_CPP: engines})


class _Remembering(FakeEngine):
    def __init__(self, engines: Engines, fits: bool) -> None:
        super().__init__(lambda request: "It is in France\nQuestion: and Italy, too?")
        self.engines, self.fits = engines, fits

    def generate(
        self, requests: Sequence[Request], *, on_token: OnToken | None = None
    ) -> Iterator[Generation]:
        if not self.fits:
            raise self.engines.error
        for generation in super().generate(requests, on_token=on_token):
            request = next(r for r in requests if r.key == generation.request_key)
            self.engines.asked.append(request)
            if request.sample_id == self.engines.fails:
                generation = dataclasses.replace(
                    generation, finish_reason="failed", text="", answer="", error="killed"
                )
            yield generation


def strict(folder: Path, sample: str, strategy: str) -> list[str]:
    return [
        row["strict"]
        for row in table(folder / "scores.csv")
        if (row["sample_id"], row["strategy"]) == (sample, strategy)
    ]


def test_a_run_asks_each_prompt_once_and_judges_the_stop_trimmed_answer(
    folder: Path, tmp_path: Path
) -> None:
    engines = Engines()
    result = run(experiment(folder), options(tmp_path), backends=on(engines))
    assert result.generated == len(engines.asked) == 9
    # raw has no stop string, so its answer holds the comma that qa's stops before.
    assert strict(result.run.folder, "comma", "raw") == ["False"]
    assert strict(result.run.folder, "comma", "qa") == ["True"]
    assert strict(result.run.folder, "one", "qa") == ["True"]
    assert strict(result.run.folder, "two", "qa") == ["False"]
    again = run(experiment(folder), options(tmp_path), backends=on(engines))
    assert again.generated == 0
    assert len(engines.opened) == 2, "the second run opens no engine"


@pytest.mark.slow
def test_a_failed_request_is_missing_visibly_and_tried_again(folder: Path, tmp_path: Path) -> None:
    result = run(experiment(folder), options(tmp_path), backends=on(Engines(fails="one")))
    assert [generation.error for generation in result.failed] == ["killed"] * 3
    rows = table(result.run.folder / "summary.csv")
    missing = {row["n_missing"] for row in rows if row["stage"] != "control"}
    assert missing == {"1"}
    engines = Engines()
    mended = run(experiment(folder), options(tmp_path), backends=on(engines))
    assert mended.generated == 3
    assert {request.sample_id for request in engines.asked} == {"one"}


def test_an_opening_is_judged_with_and_without(folder: Path, tmp_path: Path) -> None:
    entry = {"id": "qa", "as": "opened", "prefill": "In Italy, or else:"}
    arms = {"base": ["raw", entry], "instruct": ["native"]}
    result = run(experiment(folder, strategies=arms), options(tmp_path), backends=on(Engines()))
    assert strict(result.run.folder, "two", "opened") == ["True"]
    assert strict(result.run.folder, "two", "opened" + OPENING_REMOVED) == ["False"]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device with room for every layer, as far as it says."""
    device = native.Device("GPU0", "a GPU", "gpu", "CUDA", 8 << 30, 8 << 30)
    monkeypatch.setattr(native, "devices", lambda: (device,))


@pytest.mark.slow
@pytest.mark.parametrize("late", [False, True], ids=["at loading", "at the first request"])
def test_layers_that_do_not_fit_are_halved_when_they_were_auto(
    late: bool, folder: Path, tmp_path: Path, gpu: None
) -> None:
    engines = Engines(fits=1, late=late)
    chosen = experiment(folder, engine={"n_gpu_layers": "auto"})
    result = run(chosen, options(tmp_path), backends=on(engines))
    assert [settings.n_gpu_layers for settings in engines.opened] == [-1, 1, -1, 1]
    assert len(engines.asked) == 9
    assert "base/as-is: loaded with 1 layers after a failure" in result.run.manifest.notes


@pytest.mark.parametrize("late", [False, True], ids=["at loading", "at the first request"])
def test_an_error_that_is_not_about_memory_is_shown_at_once(
    late: bool, folder: Path, tmp_path: Path, gpu: None
) -> None:
    engines = Engines(fits=1, late=late, error=ContextOverflow("the prompt does not fit"))
    chosen = experiment(folder, engine={"n_gpu_layers": "auto"})
    with pytest.raises(ContextOverflow):
        run(chosen, options(tmp_path), backends=on(engines))
    assert len(engines.opened) == 1


def test_fixed_layers_that_do_not_load_are_an_error(folder: Path, tmp_path: Path) -> None:
    chosen = experiment(folder, engine={"n_gpu_layers": 8})
    with pytest.raises(EngineError, match="could not allocate"):
        run(chosen, options(tmp_path), backends=on(Engines(fits=1)))


def test_devices_reach_the_engine(folder: Path, tmp_path: Path) -> None:
    engines = Engines()
    run(experiment(folder, engine={"devices": ["CPU"]}), options(tmp_path), backends=on(engines))
    assert engines.devices_named == [("CPU",), ("CPU",)]


def test_suites_that_share_an_id_are_refused(folder: Path, tmp_path: Path) -> None:
    suite = str(folder / "suite.jsonl")
    with pytest.raises(SuiteError, match="share the sample id 'one'"):
        prepare(experiment(folder, suites=[suite, suite]), options(tmp_path))


def test_a_limit_covers_the_categories_evenly_and_grows_by_adding() -> None:
    def item(name: str, category: str) -> Sample:
        return Sample(id=name, messages=(), checks=(), category=category)

    every = [item(f"a{n}", "a") for n in range(5)] + [item(f"b{n}", "b") for n in range(2)]
    chosen = {n: [sample.id for sample in limited(every, n)] for n in range(1, 9)}
    assert chosen[4] == ["a0", "a1", "b0", "b1"]
    assert chosen[8] == [sample.id for sample in every]
    for smaller, larger in zip(range(1, 8), range(2, 9), strict=True):
        assert set(chosen[smaller]) <= set(chosen[larger])


@pytest.mark.slow
def test_what_an_engine_said_of_itself_is_told_again_when_answers_were_stored(
    folder: Path, tmp_path: Path
) -> None:
    class Noting(Engines):
        def open(self, *given: Any) -> FakeEngine:
            engine = super().open(*given)
            engine.notes = ("offload is not available",)
            return engine

    first = run(experiment(folder), options(tmp_path), backends=on(Noting()))
    again = run(experiment(folder), options(tmp_path), backends=on(Noting()))
    assert again.generated == 0
    assert first.run.manifest.notes == again.run.manifest.notes
    assert "base/as-is: offload is not available" in again.run.manifest.notes


@pytest.mark.slow
def test_the_very_same_run_makes_no_second_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_REPORTS", str(tmp_path / "reports"))
    first, again, other = (
        run(
            experiment(folder, **changes),
            options(tmp_path, out=None, command=command),
            backends=on(Engines()),
        )
        for command, changes in (
            ("harness run walk", {}),
            ("harness run walk -q", {}),
            ("harness run walk", {"seed": 1}),
        )
    )
    assert again.again
    assert again.run.folder == first.run.folder != other.run.folder
    assert len(list((tmp_path / "reports" / "walk").iterdir())) == 2
    report = (first.run.folder / "report.md").read_text("utf-8")
    assert "harness run walk\n" in report, "the command that made it stays"


HARNESS = f"{Path(harness.__file__).parent}/"


def called_from(rooms: Sequence[str], walk: Callable[[], object]) -> dict[str, list[str]]:
    """The rooms whose functions each of ``rooms`` calls, in order, a stay counted once.

    Methods are left out: a value that is carried along may be asked wherever it is.
    """
    found: dict[str, list[str]] = {HARNESS + name: [] for name in rooms}

    def called(frame: FrameType, event: str, _: object) -> None:
        caller, place = frame.f_back, frame.f_code.co_filename
        stays = found.get(caller.f_code.co_filename) if event == "call" and caller else None
        if stays is None or caller is None or place == caller.f_code.co_filename:
            return
        function = frame.f_globals.get(frame.f_code.co_name)
        plain = isinstance(function, FunctionType) and function.__code__ is frame.f_code
        if plain and place.startswith(HARNESS) and stays[-1:] != [place]:
            stays.append(place)

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        walk()
    finally:
        sys.setprofile(before)
    return {
        name.removeprefix(HARNESS): [place.removeprefix(HARNESS) for place in stays]
        for name, stays in found.items()
    }


@pytest.mark.slow
def test_a_run_goes_through_its_rooms_from_top_to_bottom_and_comes_back_to_none(
    folder: Path, tmp_path: Path
) -> None:
    asked = experiment(folder, uses={"limit": 2})
    walked = called_from(
        ["experiment/walk.py", "experiment/prepare.py"],
        lambda: run(asked, options(tmp_path), backends=on(Engines())),
    )
    assert walked == {
        "experiment/walk.py": [
            "reporting/runs.py",
            "experiment/watch.py",
            "experiment/prepare.py",
            "experiment/generate.py",
            "experiment/uses/table.py",
            "experiment/judging.py",
            "experiment/manifest.py",
            "reporting/folder.py",
        ],
        "experiment/prepare.py": [
            "checks/plugins.py",
            "experiment/override.py",
            "experiment/measure/text.py",
            "experiment/uses/beside.py",
            "experiment/suites.py",
            "experiment/resolve.py",
            "experiment/plan.py",
        ],
    }
