"""``harness run`` on the bundled family: its files, its errors, its resume after a kill."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.support.command import ROOT, environment, harness, here, samples, table, texts
from tests.support.processes import heed_interrupts

LEVELS = {"from": "F16", "make": ["Q8_0"]}
EXPERIMENT = {
    "name": "small",
    "stages": {
        "base": {"model": "models/tiny-base-F16.gguf"},
        "dpo": {"model": "models/tiny-dpo-F16.gguf"},
    },
    "levels": LEVELS,
    "strategies": {"base": ["raw", "qa"], "dpo": ["native"]},
    "suites": ["tiny"],
    "recovery": {"base": "base", "instruct": "dpo"},
    "sampling": {"max_tokens": 16},
    # A model this small is computed faster by one thread than two can agree on who does what.
    "engine": {"threads": 1},
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("experiment") / "small.yaml"
    path.write_text(yaml.safe_dump(EXPERIMENT), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(file: Path) -> Path:
    """A finished run and its cache; tests may read both."""
    folder = file.parent / "finished"
    done = harness("run", file, "--limit", 8, "-o", folder, cache=file.parent / "cache")
    assert done.returncode == 0, done.stderr
    assert "report: " in done.stdout
    return folder


def test_a_run_writes_its_five_files_and_covers_the_grid(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {"manifest.json", "samples.jsonl", "scores.csv", "summary.csv", "report.md"} <= names
    rows = table(finished / "summary.csv")
    grid = {(r["stage"], r["level"], r["strategy"]) for r in rows if r["stage"] != "control"}
    assert grid == {
        (stage, level, strategy)
        for stage, strategy in (("base", "raw"), ("base", "qa"), ("dpo", "native"))
        for level in ("F16", "Q8_0")
    }
    assert all(int(r["n"]) == 8 for r in rows)
    assert len([r for r in rows if r["stage"] == "control"]) == 5


def test_the_answer_is_the_text_up_to_the_first_stop(finished: Path) -> None:
    rows = [row for row in samples(finished) if row["strategy"] == "qa"]
    assert rows
    for row in rows:
        assert row["text"].startswith(row["answer"])
        assert "\nQuestion:" not in row["answer"]


@pytest.mark.slow
def test_a_smaller_limit_gives_the_same_answers_to_its_items(file: Path, finished: Path) -> None:
    folder = file.parent / "fewer"
    done = harness("run", file, "--limit", 7, "-o", folder, cache=file.parent / "cache-fewer")
    assert done.returncode == 0, done.stderr
    fewer, more = texts(folder), texts(finished)
    assert len(fewer) == 7 * 6
    assert all(more[place] == text for place, text in fewer.items())


@pytest.mark.slow
def test_fewer_busy_slots_give_the_same_answers(file: Path, finished: Path) -> None:
    folder = file.parent / "slots"
    done = harness(
        "run", file, "--limit", 8, "--parallel", 3, "-o", folder, cache=file.parent / "cache-3"
    )
    assert done.returncode == 0, done.stderr
    assert texts(folder) == texts(finished)


@pytest.mark.slow
def test_no_cache_asks_again_and_gets_the_same(file: Path, finished: Path) -> None:
    folder = file.parent / "again"
    done = harness(
        "run", file, "--limit", 8, "--no-cache", "-o", folder, cache=file.parent / "cache"
    )
    assert "16 to answer" in done.stderr
    assert texts(folder) == texts(finished)


@pytest.mark.slow
def test_rescoring_and_reporting_again_reproduce_the_run(file: Path, finished: Path) -> None:
    cache = file.parent / "cache"
    before = {name: (finished / name).read_bytes() for name in ("scores.csv", "summary.csv")}
    done = harness("score", finished, cache=cache)
    assert done.returncode == 0, done.stderr
    assert "0 changed" in done.stdout
    assert harness("report", finished, cache=cache).returncode == 0
    assert {name: (finished / name).read_bytes() for name in before} == before


def test_a_dry_run_counts_prompts_and_writes_nothing(file: Path, tmp_path: Path) -> None:
    cache = file.parent / "cache-wrong"
    done = here("run", ROOT / file, "--limit", 5, "--dry-run", cache=cache, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "30 prompts" in done.stdout
    assert not (tmp_path / "reports").exists()


@pytest.mark.slow
def test_a_system_prompt_leaves_the_bare_base_bare(file: Path, tmp_path: Path) -> None:
    def tokens(*options: object) -> dict[str, int]:
        """Prompt tokens by strategy, of the first level's rows."""
        done = harness("run", file, "--limit", 5, "--dry-run", *options, cache=tmp_path)
        assert done.returncode == 0, done.stderr
        cells = [line.split("│") for line in done.stdout.splitlines() if "│ F16" in line]
        return {row[3].strip(): int(row[5]) for row in cells}

    plain, own = tokens(), tokens("--system", "Answer like a pirate, in one line.")
    assert own["raw"] == plain["raw"]
    assert own["qa"] > plain["qa"] and own["native"] > plain["native"]


def test_a_mistyped_system_file_is_an_error_not_a_prompt(file: Path, tmp_path: Path) -> None:
    done = here("run", file, "--system", "nofile.txt", "--dry-run", cache=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--system nofile.txt: there is no such file" in done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"suites": ["nope"]}, "nope"),
        ({"stages": {"base": "models/none.gguf", "dpo": "models/tiny-dpo-F16.gguf"}}, "none.gguf"),
        ({"strategies": ["qaa"]}, "'qaa' is unknown; did you mean 'qa'? accepted: "),
        ({"sampling": {"max_tokens": 100_000}}, "100000"),
        ({"levels": {"from": "F16", "make": ["Q9_9"]}}, "Q9_9"),
        ({"levels": {"from": "BF16", "make": ["Q8_0"]}}, "asked for as BF16, but its header says"),
        ({"levels": ["Q8_0", "Q4_K_M"]}, "put {level} into its name"),
        ({"engine": {"width": 1}}, "engine.width"),
    ],
    ids=str,
)
def test_a_wrong_experiment_is_one_line_and_exit_code_2(
    file: Path, change: dict[str, object], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump({**EXPERIMENT, **change}), encoding="utf-8")
    # The levels that some make on their way are made once; what is refused leaves no other trace.
    cache = file.parent / "cache-wrong"
    done = here("run", path, "--limit", 2, "-o", tmp_path / "out", cache=cache)
    assert done.returncode == 2
    assert said in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("harness: ")]
    assert len(lines) == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_unknown_option_is_a_usage_error(tmp_path: Path) -> None:
    assert here("run", "tiny", "--limt", 2, cache=tmp_path).returncode == 2


def started(
    file: Path, out: Path, cache: Path, limit: int = 60, stderr: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    arguments = ["run", str(file), "--limit", str(limit), "-o", str(out)]
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments],
        cwd=ROOT,
        env=environment(cache),
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        start_new_session=True,
        # A shell's background job ignores Ctrl-C, and so would everything it starts.
        preexec_fn=heed_interrupts,
    )


def answers_in(cache: Path) -> int:
    from harness.store import Store

    path = cache / "answers.sqlite"
    if not path.is_file():
        return 0
    with Store(path) as store:
        return sum(use.answers for use in store.usage())


def processes() -> dict[int, int]:
    """Every living process and its parent, by /proc."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            except OSError:
                continue
            if state != "Z":
                found[int(entry.name)] = int(parent)
    return found


def descendants(pid: int) -> set[int]:
    """What ``pid`` started, and what that started; an engine has a session of its own."""
    parents = processes()
    found: set[int] = set()
    while more := {p for p, parent in parents.items() if parent in found | {pid}} - found:
        found |= more
    return found


def command_of(pid: int) -> str:
    """A process's command line, empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def left_behind(started: set[int]) -> set[int]:
    """Which of these processes still live after a while in which they may end."""
    deadline = time.monotonic() + 5
    while (left := started & processes().keys()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def asked_in(said: str) -> int:
    """How many answers a run had to generate, by its own lines."""
    return sum(int(line.split()[-3]) for line in said.splitlines() if "to answer" in line)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and kills for real")
@pytest.mark.slow
def test_killed_again_and_again_it_resumes_and_ends_with_the_same_answers(
    file: Path, tmp_path: Path
) -> None:
    """kill -9 at random moments: stored answers only grow, none is asked twice, texts agree."""
    cache = tmp_path / "cache"
    stored = 0
    for attempt in range(6):
        process = started(file, tmp_path / "out", cache)
        time.sleep(random.Random(attempt).uniform(2.0, 9.0))
        family = descendants(process.pid)
        process.kill()
        process.wait()
        now = answers_in(cache)
        assert now >= stored
        stored = now
        assert not left_behind(family), "a killed run leaves no process behind"
    done = harness("run", file, "--limit", 60, "-o", tmp_path / "out", cache=cache)
    assert done.returncode == 0, done.stderr
    assert asked_in(done.stderr) == 6 * 60 - stored
    whole = harness(
        "run", file, "--limit", 60, "-o", tmp_path / "whole", cache=tmp_path / "cache-whole"
    )
    assert whole.returncode == 0, whole.stderr
    assert texts(tmp_path / "out") == texts(tmp_path / "whole")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, signals a process group")
@pytest.mark.slow
def test_ctrl_c_ends_the_run_and_its_engine_and_the_same_command_does_only_the_rest(
    tmp_path: Path,
) -> None:
    file, cache, out = tmp_path / "long.yaml", tmp_path / "cache", tmp_path / "out"
    long = {**EXPERIMENT, "sampling": {"max_tokens": 64}}
    file.write_text(yaml.safe_dump(long), encoding="utf-8")
    process = started(file, out, cache, limit=12, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not answers_in(cache) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    family = descendants(process.pid)
    assert any("harness.engine.worker" in command_of(pid) for pid in family), "it is at work"
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1].decode("utf-8")
    assert process.returncode == 130
    assert "the same command goes on" in said
    assert "Traceback" not in said
    assert not left_behind(family)
    assert not out.exists()
    stored = answers_in(cache)
    assert 0 < stored < 6 * 12
    done = harness("run", file, "--limit", 12, "-o", out, cache=cache)
    assert done.returncode == 0, done.stderr
    assert asked_in(done.stderr) == 6 * 12 - stored
    assert len(texts(out)) == 6 * 12


@pytest.mark.slow
def test_the_shipped_experiment_runs_from_any_folder(tmp_path: Path) -> None:
    done = harness("run", "tiny", "--dry-run", "--limit", 2, cache=tmp_path / "c", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "sft_lora" in done.stdout
