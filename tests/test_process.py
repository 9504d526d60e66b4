"""Worker processes end with the one that started them and leave Ctrl-C to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import harness.process
from tests.support.processes import exists, heed_interrupts

_PROGRAM = """
import sys
from pathlib import Path
from tests.test_process import work, noted
from harness.process import pool

if __name__ == "__main__":
    with pool(2, noted, sys.argv[1]) as processes:
        for _ in processes.map(work, [60] * 2):
            pass
"""


def work(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def noted(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()


def begun(tmp_path: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """A program with two busy workers, in a process group of its own, and the workers' ids."""
    program, notes = tmp_path / "program.py", tmp_path / "notes"
    program.write_text(_PROGRAM, encoding="utf-8")
    notes.mkdir()
    here = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, str(program), str(notes)],
        env={**os.environ, "PYTHONPATH": str(here)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )
    deadline = time.monotonic() + 60
    while len(list(notes.iterdir())) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    return process, [int(note.name) for note in notes.iterdir()]


def ended(workers: list[int]) -> bool:
    deadline = time.monotonic() + 5
    while any(map(exists, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(exists, workers))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and kills for real")
def test_workers_end_when_the_program_is_killed(tmp_path: Path) -> None:
    process, workers = begun(tmp_path)
    assert len(workers) == 2
    process.kill()
    process.wait()
    assert ended(workers)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, signals a process group")
def test_ctrl_c_is_the_programs_alone_and_waits_for_no_worker(tmp_path: Path) -> None:
    process, workers = begun(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=10)[1]
    assert ended(workers)
    assert said.count("Traceback") == 1, said
    assert said.rstrip().endswith("KeyboardInterrupt")


def test_a_pool_returns_what_its_workers_worked_out() -> None:
    with harness.process.pool(2, str) as processes:
        assert list(processes.map(work, [0.0, 0.01])) == [0.0, 0.01]


@pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")
def test_a_script_of_its_own_is_bounded_before_it_begins_and_imports_nothing_from_here(
    tmp_path: Path,
) -> None:
    (tmp_path / "resource.py").write_text("raise SystemExit('not this one')", encoding="utf-8")
    script = tmp_path / "own.py"
    script.write_text(
        "import resource, sys\n"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE), '' in sys.path, __name__)\n"
        "try: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 41))\n"
        "except ValueError: print('for good')\n",
        encoding="utf-8",
    )
    child = harness.process.start(
        harness.process.standalone(script, NOFILE=32), cwd=str(tmp_path), env={}
    )
    said, complaint = child.communicate(timeout=60)
    assert said.decode().splitlines() == ["32 32 False __main__", "for good"], complaint.decode()


def test_a_deadline_kills_the_child_that_misses_it_and_no_other() -> None:
    waiting = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    child = harness.process.start(waiting)
    deadline = harness.process.Deadline(child, 60)
    with deadline:
        pass
    assert not deadline.passed and child.poll() is None
    with harness.process.Deadline(child, 0.05) as late:
        child.wait(timeout=60)
    assert late.passed and harness.process.end(child) != 0
    assert child.stdin is not None and child.stdin.closed


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups")
def test_a_family_ends_with_its_head() -> None:
    program = (
        "import subprocess, sys\n"
        "own = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(own.pid, flush=True); sys.stdin.read()"
    )
    child = harness.process.start([sys.executable, "-c", program], alone=True)
    assert child.stdout is not None
    grandchild = int(child.stdout.readline())
    harness.process.end(child, family=True)
    limit = time.monotonic() + 20
    while exists(grandchild) and time.monotonic() < limit:
        time.sleep(0.02)
    assert not exists(grandchild)


def test_children_are_started_in_one_place_and_bounded_in_one() -> None:
    package = Path(harness.process.__file__).parent
    sources = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    named = {
        word: {path.name for path, text in sources.items() if word in text}
        for word in ("subprocess.Popen(", "setrlimit(", "get_context(", "threading.Timer(")
    }
    assert set(map(frozenset, named.values())) == {frozenset({"process.py"})}, named
