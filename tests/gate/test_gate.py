"""The command on the bundled family: what it catches, and what it leaves alone."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.gate import MUTATIONS, REWRITES, Project, caught
from harness.gate.baseline import Source, read_baseline, write_baseline
from harness.gate.sources import lost_parts
from tests.support.command import harness

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


def gate(
    project: Project, *more: object, cache: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The command's own output; ``cache`` is another store than the one other tests fill."""
    return harness(
        "gate", "gate.yaml", "--baseline", "baseline.jsonl", "-q", *more,
        cache=cache or project.folder / "cache", cwd=project.folder,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FAST)
def test_a_change_that_few_answers_show_is_a_lint_error(small: Project, name: str) -> None:
    outcome = small.judged(MUTATIONS[name])
    assert outcome.verdict == "regress" and ": lint: " in outcome.why, outcome


@pytest.mark.slow
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


def made_elsewhere(project: Project, **parts: str) -> bytes:
    """Rewrite the baseline as if another machine had made it; the bytes it had."""
    path = project.folder / "baseline.jsonl"
    kept = path.read_bytes()
    known = read_baseline(path, "gated")
    arms = {
        name: replace(arm, identity={**arm.identity, **parts}) for name, arm in known.arms.items()
    }
    write_baseline(path, replace(known, arms=arms))
    return kept


@pytest.mark.parametrize(
    ("part", "said"),
    [("cpu", "another processor"), ("engine", "another llama.cpp build or engine settings")],
)
@pytest.mark.slow
def test_a_baseline_of_another_machine_is_said_and_judged_by_statistics(
    small: Project, part: str, said: str
) -> None:
    kept = made_elsewhere(small, **{part: "of another"})
    try:
        done = gate(small, "--margin", "40")
    finally:
        (small.folder / "baseline.jsonl").write_bytes(kept)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the baseline was made with {said}: every item is asked again here" in done.stdout
    assert "72 items asked again" in done.stdout  # 12 items in six arms, and a verdict on each
    assert done.stdout.count("+0.0 points, 90 % interval") == 6


@pytest.mark.slow
def test_answers_that_another_machine_rounded_otherwise_pass_within_the_margin(
    small: Project,
) -> None:
    path = small.folder / "baseline.jsonl"
    kept = made_elsewhere(small, cpu="of another")
    known = read_baseline(path, "gated")
    arm = known.arms["base/as-is/qa"]
    name, item = next(iter(arm.items.items()))
    turned = replace(item, score=1 - (item.score or 0), answer="rounded otherwise")
    arms = {**known.arms, arm.name: replace(arm, items={**arm.items, name: turned})}
    write_baseline(path, replace(known, arms=arms))
    try:
        wide, narrow = gate(small, "--margin", "60"), gate(small, "--margin", "1")
    finally:
        path.write_bytes(kept)
    assert wide.returncode == 0, wide.stdout + wide.stderr
    assert "'rounded otherwise' became" in wide.stdout
    assert narrow.returncode == 1
    assert "regress" not in narrow.stdout.split("\n")[0]  # a flip of one item proves no loss


@pytest.mark.slow
def test_a_declared_contrast_is_gated_and_an_undeclared_one_refused(project: Project) -> None:
    project.write()
    done = gate(project, "--contrast", "instruct against wrapper")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 arms, 1 contrast: all pass" in done.stdout
    assert "pass         contrast: instruct against wrapper: dpo/as-is/native ag" in done.stdout
    done = gate(project, "--contrast", "wrapper against instruct")
    assert done.returncode == 1
    assert "regress      contrast: wrapper against instruct: base/as-is/qa against" in done.stdout
    done = gate(project, "--contrast", "nobody's")
    assert done.returncode == 2 and "not declared; there are: instruct against" in done.stderr


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


@pytest.mark.slow
def test_a_sequential_gate_spares_items_and_logs_its_looks(
    project: Project, tmp_path: Path
) -> None:
    roles = MUTATIONS["roles swapped in the chat template"]
    project.write(roles)
    try:
        done = gate(project, "--sequential", "--format", "text", "--format", "markdown=seq.md",
                    "--format", "html=seq.html", "--format", "json=seq.json",
                    cache=tmp_path)  # fmt: skip
        full = gate(project, "--format", "json=full.json", cache=tmp_path)
    finally:
        project.write()
    assert done.returncode == full.returncode == 1, done.stderr
    found = json.loads((project.folder / "seq.json").read_text())
    arm = next(arm for arm in found["arms"] if arm["name"] == "dpo/as-is/native")
    whole = json.loads((project.folder / "full.json").read_text())
    verdict = next(a["verdict"] for a in whole["arms"] if a["name"] == "dpo/as-is/native")
    last = arm["looks"][-1]
    assert found["generated"] == last["items"] <= last["of"] // 2
    assert verdict in last["verdicts"] and "pass" not in last["verdicts"]
    assert arm["sentence"].startswith(f"settled after {last['items']} of {last['of']} items")
    line = f"look at {last['items']} of {last['of']} items"
    for text in (
        done.stdout,
        *((project.folder / f"seq.{kind}").read_text() for kind in ("md", "html")),
    ):
        assert line in text
        assert arm["sentence"][:30] in text


@pytest.mark.slow
def test_a_sequential_gate_passes_an_unchanged_tree_without_a_look(small: Project) -> None:
    outcome = small.gate("--sequential", "--format", "json")
    assert (outcome.code, outcome.verdict) == (0, "pass")


@pytest.mark.slow
@pytest.mark.parametrize("more", [("--render-only",), ("--contrast", "wrapper against instruct")])
def test_a_part_of_the_items_is_not_enough_for(small: Project, more: tuple[str, ...]) -> None:
    done = gate(small, "--sequential", *more)
    assert done.returncode == 2
    assert f"{more[0]} needs all of them" in done.stderr
