"""Prompts of one's own, without checks: answers to read, and nothing claimed of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import ROOT, harness, here, samples, table

PROMPTS = "Where does Jalen live?\nWrite one line about <b>tea</b> | and trees.\n"


@pytest.mark.slow
def test_two_files_and_a_text_of_prompts_give_answers_and_no_figure(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text(PROMPTS, encoding="utf-8")
    models = ["--base", ROOT / "models/tiny-base-F16.gguf"]
    models += ["--instruct", ROOT / "models/tiny-dpo-F16.gguf"]

    def command(*arguments: object) -> str:
        done = here(*arguments, cache=tmp_path / "cache", cwd=tmp_path)
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


@pytest.mark.slow
def test_a_pipe_and_a_folder_are_suites_and_a_row_has_its_own_budget(tmp_path: Path) -> None:
    models = ["--base", ROOT / "models/tiny-base-F16.gguf"]
    models += ["--instruct", ROOT / "models/tiny-dpo-F16.gguf"]
    arms = ["--strategies", "raw", "--max-tokens", 6, "-q"]
    table = (
        "id,prompt,name,max_tokens,metadata.from\n"
        "a,Where does {{name}} live?,Jalen,2,a list\n"
        "b,Where does {{name}} live?,Mira,,a list\n"
    )

    def run(suite: str, out: str, **more: str) -> list[dict[str, Any]]:
        done = harness(
            "run", *models, *arms, "--suite", suite, "-o", out,
            cache=tmp_path / "cache", cwd=tmp_path, **more,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [row for row in samples(tmp_path / out) if row["stage"] == "base"]

    piped = run("-", "piped", stdin=table)
    assert [row["messages"] for row in piped] == [
        [["user", f"Where does {name} live?"]] for name in ("Jalen", "Mira")
    ]
    assert [row.get("max_tokens") for row in piped] == [2, None]
    assert {row["metadata"]["from"] for row in piped} == {"a list"}
    assert piped[0]["completion_tokens"] <= 2 < piped[1]["completion_tokens"] <= 6
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "people.csv").write_text(table, encoding="utf-8")
    (tmp_path / "mine" / "teas.txt").write_text("Name a tea.\n", encoding="utf-8")
    rows = run("mine", "folder")
    assert {row["category"] for row in rows} == {"people", "teas"}
    # The very same requests: what the pipe brought is not answered twice.
    keys = {row["request_key"] for row in rows}
    assert {row["request_key"] for row in piped} < keys and len(keys) == 3
    done = harness("report", "piped", cache=tmp_path / "cache", cwd=tmp_path)
    assert done.returncode == 0 and "stale" not in done.stdout, done.stderr
    shown = harness("show", "piped", "--failed", cache=tmp_path / "cache", cwd=tmp_path).stdout
    assert "from: 'a list'" in shown
    nothing = harness(
        "plan", *models, "--suite", "-", cache=tmp_path / "cache", cwd=tmp_path, stdin=" "
    )
    assert nothing.returncode == 2
    assert nothing.stderr == (
        "harness: standard input: no prompts came; pipe them in, or name a file\n"
    )


@pytest.mark.slow
def test_constant_answers_and_the_majority_are_floors_under_the_scores(tmp_path: Path) -> None:
    rows = [
        "prompt,target",
        *(f"How urgent is ticket {n}?,{'high' if n % 3 else 'low'}" for n in range(9)),
    ]
    (tmp_path / "tickets.csv").write_text("\n".join(rows), encoding="utf-8")
    models = ["--base", ROOT / "models/tiny-base-F16.gguf"]
    models += ["--instruct", ROOT / "models/tiny-dpo-F16.gguf", "--suite", "tickets.csv"]
    options = ["--strategies", "raw", "--max-tokens", 4, "-q", "-o", "run"]
    constant = ["--control", "It is low."]
    done = harness("run", *models, *options, *constant, cache=tmp_path / "cache", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    passed = {
        row["strategy"]: float(row["headline_strict_acc"])
        for row in table(tmp_path / "run" / "summary.csv")
        if row["stage"] == "control"
    }
    assert passed["majority"] == pytest.approx(6 / 9, abs=1e-5)
    assert passed["says It is low."] == pytest.approx(3 / 9, abs=1e-5)
    assert "majority" in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    (tmp_path / "e.yaml").write_text(
        f"name: e\nstages: {{base: {ROOT}/models/tiny-base-F16.gguf}}\n"
        "strategies: [raw]\nsuites: [tickets.csv]\nsampling: {max_tokens: 4}\n"
        "controls: [{text: high}, {text: low, as: all low}]\n",
        encoding="utf-8",
    )
    done = harness("run", "e.yaml", "-q", "-o", "own", cache=tmp_path / "cache", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    controls = {row["strategy"] for row in samples(tmp_path / "own") if row["stage"] == "control"}
    assert controls == {"says high", "all low"}
    again = harness("report", "own", cache=tmp_path / "cache", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
