"""The uses that an experiment names, measured beside its grid by ``harness run``."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command import ROOT, harness, here

USES = {"text": "pages", "infill": "tiny-gaps", "draws": 0, "wrappers": "qa", "limit": 2}
EXPERIMENT: dict[str, Any] = {
    "name": "both-halves",
    "stages": {
        "base": "models/tiny-base-F16.gguf",
        "sft": "models/tiny-sft-F16.gguf",
        "instruct": "models/tiny-dpo-F16.gguf",
    },
    "strategies": {"base": ["raw", "qa"], "sft": ["native"], "instruct": ["native", "raw"]},
    "suites": ["tiny"],
    "controls": ["empty"],
    "sampling": {"max_tokens": 24},
    "engine": {"threads": 1},
}
ASKED = ("chat-style instructions", "structured output", "continuation", "last word", "cloze",
         "style", "fill in the middle", "fill in the middle, edits")  # fmt: skip


def written(folder: Path, uses: Any) -> Path:
    """The experiment with these uses, and a folder of pages beside it."""
    pages = folder / "pages"
    pages.mkdir(parents=True, exist_ok=True)
    lines = (ROOT / "datasets/uses/tiny-texts.jsonl").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines[:3], 1):
        (pages / f"{number}.txt").write_text(json.loads(line)["text"], encoding="utf-8")
    file = folder / "both.yaml"
    file.write_text(yaml.safe_dump({**EXPERIMENT, "uses": uses}), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Path]:
    """A run's folder, what the command printed, and its cache."""
    folder = tmp_path_factory.mktemp("both")
    done = harness(
        "run", written(folder, USES), "--limit", 6, "-o", folder / "run", cache=folder / "cache"
    )
    assert done.returncode == 0, done.stderr
    return folder / "run", done.stdout, folder / "cache"


@pytest.mark.slow
def test_the_report_the_page_and_the_terminal_say_the_same_of_what_was_run(
    made: tuple[Path, str, Path],
) -> None:
    folder, printed, _ = made
    choice = json.loads((folder / "choice.json").read_text(encoding="utf-8"))
    report = (folder / "report.md").read_text(encoding="utf-8").replace("\\", "")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "## Which of the two models, for what" in report
    ran = [row for row in choice["rows"] if row["pick"] != "not run"]
    assert tuple(row["use"] for row in ran) == ASKED
    for row in ran:
        sentence = row["decision"]["sentence"]
        assert sentence in printed
        assert sentence in report
        assert sentence in page
    assert choice["columns"] == [
        ["base", "raw"], ["base", "qa"], ["instruct", "native"], ["instruct", "raw"]
    ]  # fmt: skip
    assert "Not run, so nothing is claimed: own prompts · fill in the middle, tests · few" in report
    assert "few-shot adaptation:" not in printed
    assert (folder / "plots" / "uses.svg").is_file()
    assert "![Scores of the base and the instruct model" in report


@pytest.mark.slow
def test_instructions_are_the_grids_own_answers_and_are_not_asked_again(
    made: tuple[Path, str, Path],
) -> None:
    folder, _, cache = made
    rows = [json.loads(line) for line in (folder / "samples.jsonl").open(encoding="utf-8")]
    choice = json.loads((folder / "choice.json").read_text(encoding="utf-8"))
    found = next(row for row in choice["rows"] if row["use"] == "chat-style instructions")
    for cell in found["cells"]:
        mine = [r for r in rows if (r["stage"], r["strategy"]) == (cell["stage"], cell["way"])]
        assert len(mine) == 6
        share = sum(r["prompt_level_strict"] for r in mine) / 6
        assert cell["score"]["value"] == pytest.approx(share)
    with closing(sqlite3.connect(cache / "answers.sqlite")) as db:
        (answers,) = db.execute("SELECT count(*) FROM answers").fetchone()
    grid = len({r["request_key"] for r in rows if r["request_key"]})
    # Beside the grid: two texts gone on with in four ways; two gaps in four, raw in both orders.
    assert answers == grid + 2 * 4 + 2 * (4 + 2)


@pytest.mark.slow
def test_it_is_read_again_without_a_cache_or_models(
    made: tuple[Path, str, Path], tmp_path: Path
) -> None:
    from harness import read_run

    folder = tmp_path / "moved"
    shutil.copytree(made[0], folder)
    kept = (folder / "choice.json").read_bytes()
    report = (folder / "report.md").read_text(encoding="utf-8")
    for part in ("report.md", "report.html"):
        (folder / part).unlink()
    elsewhere = {"cache": tmp_path / "none", "cwd": tmp_path, "PYTHONPATH": str(ROOT)}
    done = harness("report", folder, **elsewhere)
    assert done.returncode == 0, done.stderr
    assert (folder / "report.md").read_text(encoding="utf-8") == report
    assert (folder / "choice.json").read_bytes() == kept
    again = read_run(folder).choice
    assert again is not None
    assert [row.use for row in again.ran] == list(ASKED)
    for command in (("show", folder, "--limit", 1), ("compare", made[0], folder)):
        done = harness(*command, **elsewhere)
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "none" / "answers.sqlite").exists()


@pytest.mark.slow
def test_again_it_loads_nothing_and_without_the_uses_it_is_the_grid_alone(
    made: tuple[Path, str, Path], tmp_path: Path
) -> None:
    folder, _, cache = made
    file = folder.parent / "both.yaml"
    done = harness("run", file, "--limit", 6, "-o", tmp_path / "two", "--json", cache=cache)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["generated"] == 0
    assert (
        told["choice"]["rows"]
        == json.loads((folder / "choice.json").read_text(encoding="utf-8"))["rows"]
    )
    alone = harness("run", file, "--limit", 6, "--no-uses", "-o", tmp_path / "two", cache=cache)
    assert alone.returncode == 0, alone.stderr
    assert "Which of the two" not in alone.stdout
    assert not (tmp_path / "two" / "choice.json").exists()
    assert "Which of the two" not in (tmp_path / "two" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("uses", "told"),
    [
        ({"texts": "pages"}, "uses.texts: unknown key; did you mean 'text'"),
        ({"text": "nowhere"}, "there is no file 'nowhere'; shipped: tiny-gaps, tiny-texts"),
        ({"draws": -1}, "uses.draws"),
        ({"wrappers": "raw"}, "raw is no wrapper"),
        ({"examples": "tiny-gap"}, "tiny-gap"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_line_before_any_model_is_loaded(
    tmp_path: Path, uses: Any, told: str
) -> None:
    done = here("plan", written(tmp_path, uses), "--limit", 2, cache=tmp_path / "cache")
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_plan_tells_what_the_uses_ask(tmp_path: Path) -> None:
    done = here("plan", written(tmp_path, USES), "--limit", 2, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert "in each of 4 ways to ask base and instruct: 2 prompts to answer, 2 " in done.stdout
    assert "2 gaps to fill" in done.stdout
