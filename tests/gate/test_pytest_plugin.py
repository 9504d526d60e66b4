"""A template test reads as an ordinary test: passes when nothing changed, fails with the items."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.command import environment
from tests.gate.test_gate import MINE, project, qa, write

__all__ = ["project"]  # a project with a baseline of its own

TESTS = """\
import sys
import pytest

assert "harness.gate" not in sys.modules, "nothing is imported before it is used"

@pytest.mark.harness(experiment="gate.yaml", baseline="base.jsonl", strategy="mine")
def test_mine_follows_instructions_as_it_did(harness_gate):
    harness_gate.require_pass()

@pytest.mark.harness(experiment="gate.yaml", baseline="base.jsonl", strategy="few")
def test_few_follows_instructions_as_it_did(harness_gate):
    harness_gate.require_pass()

@pytest.mark.harness(experiment="gate.yaml", baseline="base.jsonl", strategy="mien")
def test_of_no_strategy(harness_gate):
    harness_gate.require_pass()

@pytest.mark.harness(experiment="gate.yaml", baselin="base.jsonl")
def test_of_no_argument(harness_gate):
    pass

@pytest.mark.harness(experiment="gate.yaml", baseline="none.jsonl")
def test_of_no_baseline(harness_gate):
    pass
"""


def run_tests(folder: Path) -> str:
    (folder / "test_templates.py").write_text(TESTS, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rA"],
        cwd=folder,
        env=environment(folder / "cache"),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert "no tests ran" not in done.stdout, done.stdout + done.stderr
    return done.stdout


def test_a_change_fails_with_items_answers_and_the_diff(project: Path) -> None:
    said = run_tests(project)
    assert "PASSED test_templates.py::test_mine" in said, said
    assert "PASSED test_templates.py::test_few" in said
    assert "strategy 'mien' has no arm there; accepted: few, mine, native" in said
    assert "unknown 'baselin'; mark the test" in said
    assert "harness: baseline none.jsonl" in said
    assert "Traceback" not in said
    write(project, mine=qa(MINE.replace("Answer:", "Reply:")))
    try:
        with ThreadPoolExecutor(2) as pool:  # as pytest-xdist would: the lock lets one in at a time
            both = list(pool.map(run_tests, [project, project]))
    finally:
        write(project)
    for said in both:
        assert "FAILED test_templates.py::test_mine" in said, said
        assert "PASSED test_templates.py::test_few" in said
        for text in ("regress: base/as-is/mine: ", "passes -> fails", "was: ", "is:  ", "+Reply:"):
            assert text in said, text


def test_the_plugin_loads_nothing_of_the_harness_by_itself() -> None:
    code = "import harness.pytest_plugin, sys; print([n for n in sys.modules if 'harness' in n])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['harness', 'harness.pytest_plugin']"
