"""A template test reads as an ordinary test: passes when nothing changed, fails with the items."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.gate import MUTATIONS, Project
from tests.gate.test_gate import REPLY, project
from tests.support.command import environment

__all__ = ["project"]  # a project with a baseline of its own

TESTS = """\
import sys
import pytest

assert "harness.gate" not in sys.modules, "nothing is imported before it is used"

@pytest.mark.harness(experiment="gate.yaml", baseline="baseline.jsonl", strategy="qa")
def test_qa_follows_instructions_as_it_did(harness_gate):
    harness_gate.require_pass()

@pytest.mark.harness(experiment="gate.yaml", baseline="baseline.jsonl", strategy="icl_3")
def test_icl_3_follows_instructions_as_it_did(harness_gate):
    harness_gate.require_pass()

@pytest.mark.harness(experiment="gate.yaml", baseline="baseline.jsonl", strategy="qqa")
def test_of_no_strategy(harness_gate):
    harness_gate.require_pass()

@pytest.mark.harness(experiment="gate.yaml", baselin="baseline.jsonl")
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


@pytest.mark.slow
def test_a_change_fails_with_items_answers_and_the_diff(project: Project) -> None:
    said = run_tests(project.folder)
    assert "PASSED test_templates.py::test_qa" in said, said
    assert "PASSED test_templates.py::test_icl_3" in said
    assert (
        "strategy 'qqa' has no arm there; accepted: icl_3, native, prefill, qa, qa_prefill, sys_qa"
        in said
    )
    assert "unknown 'baselin'; mark the test" in said
    assert "harness: baseline none.jsonl" in said
    assert "Traceback" not in said
    project.write(MUTATIONS[REPLY])
    try:
        with ThreadPoolExecutor(2) as pool:  # as pytest-xdist would: the lock lets one in at a time
            both = list(pool.map(run_tests, [project.folder] * 2))
    finally:
        project.write()
    for said in both:
        assert "FAILED test_templates.py::test_qa" in said, said
        assert "PASSED test_templates.py::test_icl_3" in said
        for text in ("regress: base/as-is/qa: ", "passes -> fails", "was: ", "is:  ", "+Reply:"):
            assert text in said, text


def test_the_plugin_loads_nothing_of_the_harness_by_itself() -> None:
    code = "import harness.pytest_plugin, sys; print([n for n in sys.modules if 'harness' in n])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['harness', 'harness.pytest_plugin']"
