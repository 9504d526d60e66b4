"""Two model files without an experiment file, for `harness run` and `harness ask`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main

MODELS = Path(__file__).parent.parent.parent / "models"
PAIR = [
    "--base",
    str(MODELS / "tiny-base-F16.gguf"),
    "--instruct",
    str(MODELS / "tiny-dpo-F16.gguf"),
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_two_files_and_a_suite_are_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": "a", "prompt": "Name a tea.", "target": "tea"}]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    more = ["--suite", "mine.jsonl", "--strategies", "qa", "--max-tokens", "4", "-q", "-o", "out"]
    assert main(["run", *PAIR, *more]) == 0
    assert "report: out/report.md" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))["experiment"]
    assert found["recovery"] is None and set(found["stages"]) == {"base", "instruct"}
    summary = (tmp_path / "out" / "summary.csv").read_text("utf-8")
    assert "base,as-is,qa" in summary and "instruct,as-is,native" in summary


def test_two_files_can_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "Name a tea.", *PAIR, "--max-tokens", "4", "--markdown"]) == 0
    assert "instruct" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--base", "a.gguf"], "--base needs --instruct"),
        (["--instruct", "a.gguf"], "--instruct needs --base"),
        (["tiny", *PAIR], "leave out 'tiny'"),
        (["--base", "none.gguf", "--instruct", "none.gguf"], "none.gguf"),
        ([*PAIR, "--suite", "nope"], "nope"),
    ],
    ids=["base alone", "instruct alone", "with an experiment", "no such file", "no such suite"],
)
def test_what_does_not_go_together_is_one_line(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *arguments, "-q", "-o", "out"]) == 2
    errors = capsys.readouterr().err
    assert complaint in errors and errors.count("\n") == 1
