"""The command on the bundled family: what it catches, and what it leaves alone."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.gate import MUTATIONS, REWRITES, Project, caught
from harness.gate.baseline import Source
from harness.gate.sources import lost_parts
from tests.command import harness

REPLY = "`Reply:` for `Answer:`"
FAST = ("wrong stop string", "few-shot block dropped", "prefill lost in the experiment")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Few items: enough for what no answer is needed to see."""
    project = Project(tmp_path_factory.mktemp("small"), items=12)
    project.write()
    done = project.gate("--update")
    assert done.code == 0, done.why
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("gate"))
    project.write()
    done = project.gate("--update")
    assert done.code == 0, done.why
    return project


def gate(project: Project, *more: object) -> subprocess.CompletedProcess[str]:
    """The command's own output."""
    return harness(
        "gate", "gate.yaml", "--baseline", "baseline.jsonl", "-q", *more,
        cache=project.folder / "cache", cwd=project.folder,
    )  # fmt: skip


@pytest.mark.parametrize("name", FAST)
def test_a_change_that_few_answers_show_is_a_lint_error(small: Project, name: str) -> None:
    outcome = small.judged(MUTATIONS[name])
    assert outcome.verdict == "regress" and ": lint: " in outcome.why, outcome


def test_what_was_wrong_is_accepted_by_update(small: Project) -> None:
    small.write(MUTATIONS["few-shot block dropped"])
    kept = (small.folder / "baseline.jsonl").read_bytes()
    try:
        assert small.gate("--update").code == 0
        assert small.gate("--format", "json").verdict == "pass"
    finally:
        (small.folder / "baseline.jsonl").write_bytes(kept)
        small.write()


def test_lost_parts_are_those_that_were_there() -> None:
    front = 'id: a\nsystem: be kind\nprefill: "So"\nstops: ["\\nQ:"]\nexamples: {file: a, count: 2}'
    rows = ['example: {"query": "a"}', 'example: {"query": "b"}']

    def source(head: str, examples: list[str]) -> Source:
        return Source("a", "a.j2", "", ["---", *head.split("\n"), "---", "{{ query }}", *examples])

    whole = source(front, rows)
    assert lost_parts(whole, whole) == []
    assert lost_parts(source("id: a", []), whole) == []  # a part more is none lost
    assert lost_parts(whole, source("id: a", [])) == [
        "its system part is gone",
        "its prefill is gone",
        "its stop strings are gone: '\\nQ:'",
        "its 2 examples are gone",
    ]
    turned = lost_parts(whole, source(front, rows[::-1]))
    assert turned == ["its examples are the same in another order"]
    other = lost_parts(whole, source(front, [rows[0], 'example: {"query": "c"}']))
    assert other == []  # other examples are for the answers to judge


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_a_harmful_change_is_caught(project: Project, name: str) -> None:
    outcome = project.judged(MUTATIONS[name])
    assert caught(outcome), outcome


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(REWRITES))
def test_a_rewrite_that_renders_the_same_asks_nothing_and_passes(
    project: Project, name: str
) -> None:
    outcome = project.judged(REWRITES[name])
    assert outcome.verdict == "pass", outcome
    assert "0 items asked again, 0 answers generated" in outcome.why


@pytest.mark.slow
def test_an_unchanged_tree_passes_and_render_only_names_what_changed(project: Project) -> None:
    project.write()
    assert gate(project).returncode == 0
    assert gate(project, "--render-only").returncode == 0
    project.write(MUTATIONS[REPLY])
    done = gate(project, "--render-only", "--format", "text", "--format", "github")
    assert done.returncode == 1
    assert re.search(r"::error file=own/qa.j2,line=\d+,", done.stdout), done.stdout
    assert "-Answer:" in done.stdout and "+Reply:" in done.stdout


@pytest.mark.slow
def test_another_suite_makes_the_baseline_stale(project: Project) -> None:
    project.write()
    path = Path(project.folder / "gate.yaml")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("[tiny]", "[starter]"), encoding="utf-8")
    done = gate(project)
    assert done.returncode == 2
    assert "stale" in done.stderr and "--update" in done.stderr
