"""``harness init``: what it writes runs at once, and nothing of anybody's is overwritten."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.command import ROOT, environment, harness, here, samples


@pytest.mark.slow
def test_what_it_writes_is_good_and_runs_by_the_commands_it_names(tmp_path: Path) -> None:
    def command(*words: str) -> str:
        done = here(*words, cache=tmp_path / "cache", cwd=tmp_path, stdin="")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    said = command("init", "my eval 1")
    *_, check, template, run, _view = said.splitlines()
    folder = tmp_path / "my eval 1"
    assert sorted(p.name for p in folder.rglob("*.*")) == [
        "checks.py",
        "experiment.yaml",
        "my_qa.j2",
        "prompts.jsonl",
    ]
    assert "0 errors, 0 warnings" in command(*words_of(check))
    assert "1 templates, 0 errors, 0 notes" in command(*words_of(template))
    command(*words_of(run), "-q", "-o", "run")
    rows = samples(tmp_path / "run")
    arms = {(row["stage"], row["strategy"]) for row in rows if row["stage"] != "control"}
    assert arms == {("base", n) for n in ("raw", "qa", "my_qa")} | {("instruct", "native")}
    # Every row says what it is there to show, and a kind of check is in each that has one.
    assert all(row["metadata"]["shows"] for row in rows)
    again = here("init", "my eval 1", cache=tmp_path / "cache", cwd=tmp_path, stdin="")
    assert again.returncode == 2
    there = "harness: my eval 1/experiment.yaml is there already: name another folder, or move"
    assert again.stderr.startswith(there)


def words_of(line: str) -> list[str]:
    """The words of a printed command whose folder has spaces in its name."""
    plain = line.strip().removeprefix("harness ").replace("my eval 1", "my%eval%1")
    return [word.replace("%", " ") for word in plain.split()]


@pytest.mark.slow
def test_models_and_prompts_of_ones_own_are_named_by_their_places(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("Where does Jalen live?\nName a tea.\n", "utf-8")
    models = [f"{ROOT}/models/tiny-base-F16.gguf", f"{ROOT}/models/tiny-dpo-F16.gguf"]
    options = ["--base", models[0], "--instruct", models[1], "--suite", "prompts.txt"]
    done = harness("init", "mine", *options, cache=tmp_path / "cache", cwd=tmp_path, stdin="")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "mine/prompts.jsonl").exists()
    written = (tmp_path / "mine/experiment.yaml").read_text(encoding="utf-8")
    assert models[0] in written and str(tmp_path / "prompts.txt") in written
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    dry = harness(
        "run", "../mine/experiment.yaml", "--dry-run", cache=tmp_path / "cache", cwd=elsewhere
    )
    assert dry.returncode == 0, dry.stderr
    assert "8 prompts" in dry.stdout


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--base", "x.gguf"], "give both --base and --instruct, or neither"),
        (
            ["--base", "x.gguf", "--instruct", "y.gguf"],
            "there is no model file x.gguf; `harness fetch` gets one",
        ),
        (["--suite", "none.txt"], "--suite none.txt: there is no such file or folder of prompts"),
        (["--suite", "bad.csv"], "bad.csv:1: unknown key 'promt'; did you mean 'prompt'?"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    tmp_path: Path, options: list[str], complaint: str
) -> None:
    (tmp_path / "bad.csv").write_text("promt\nx\n", encoding="utf-8")
    done = here("init", "mine", *options, cache=tmp_path / "cache", cwd=tmp_path, stdin="")
    assert done.returncode == 2 and complaint in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "mine").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of Unix")
def test_on_a_terminal_it_asks(tmp_path: Path) -> None:
    import pty

    outer, inner = pty.openpty()
    asked = subprocess.Popen(
        [sys.executable, "-m", "harness", "init"],
        cwd=tmp_path,
        env=environment(tmp_path / "cache", TERM="dumb"),
        stdin=inner,
        stdout=inner,
        stderr=inner,
    )
    os.close(inner)
    said = b""
    answers = [(b"Folder", b"here"), (b"Base model", b""), (b"Your prompts", b"")]
    end = time.monotonic() + 120
    while asked.poll() is None and time.monotonic() < end:
        if select.select([outer], [], [], 0.2)[0]:
            try:
                said += os.read(outer, 4096)
            except OSError:  # the other side is closed
                break
        if answers and answers[0][0] in said:
            os.write(outer, answers.pop(0)[1] + b"\n")
    assert asked.wait(timeout=60) == 0, said
    os.close(outer)
    assert not answers and (tmp_path / "here/experiment.yaml").is_file()
