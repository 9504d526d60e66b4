"""Prompts of one's own, without checks: answers to read, and nothing claimed of them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.command import ROOT, harness, samples

PROMPTS = "Where does Jalen live?\nWrite one line about <b>tea</b> | and trees.\n"


def test_two_files_and_a_text_of_prompts_give_answers_and_no_figure(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text(PROMPTS, encoding="utf-8")
    models = ["--base", ROOT / "models/tiny-base-F16.gguf"]
    models += ["--instruct", ROOT / "models/tiny-dpo-F16.gguf"]

    def command(*arguments: object) -> str:
        done = harness(*arguments, cache=tmp_path / "cache", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    options = ["--suite", "prompts.txt", "--strategies", "qa", "--max-tokens", 12, "-o", "run"]
    said = command("run", *models, *options)
    sentence = "Nothing was judged: no item of this run has a check or a target"
    assert sentence in said
    folder = tmp_path / "run"
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert sentence in report and sentence in (folder / "report.html").read_text(encoding="utf-8")
    assert "## Leaderboard" not in report and "not estimable" not in report
    assert report.count("was not judged. Ended by") == 2 * 3
    assert "Write one line about <b>tea</b> | and trees." in report
    rows = [row for row in samples(folder) if row["stage"] != "control"]
    assert len(rows) == 6 and {row["sample_id"][:2] for row in rows} == {"p-"}
    command("report", "run", "--format", "json,csv")
    tables = json.loads((folder / "tables.json").read_text(encoding="utf-8"))
    assert [item["sentence"][:18] for item in tables["decisions"]] == ["Nothing was judged"]
    for words in (["show", "run"], ["verify", "run"], ["compare", "run", "run"], ["score", "run"]):
        command(*words)
