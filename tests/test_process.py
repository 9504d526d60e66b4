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
from tests.processes import exists, heed_interrupts

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
