"""Spoiled experiments, suites, templates and answers: an exit code, one line, no traceback.

A few cases here; ``python -m benchmarks.fuzz`` runs thousands.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def campaign(n: int, start: int) -> str:
    """What the campaign prints, in a process of its own whose memory is bounded."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzz", "--n", str(n), "--start", str(start)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits are read from /proc")
def test_spoiled_inputs_end_in_an_exit_code_and_one_line() -> None:
    assert "30 cases, 0 broken promises" in campaign(30, 0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits are read from /proc")
def test_many_spoiled_inputs_end_in_an_exit_code_and_one_line() -> None:
    assert "300 cases, 0 broken promises" in campaign(300, 1_000)
