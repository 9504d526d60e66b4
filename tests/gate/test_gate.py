"""The command on the bundled family: what it catches, and what it leaves alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.command import ROOT, harness

EXPERIMENT = """\
name: mutated
stages:
  base: {{model: {root}/models/tiny-base-F16.gguf}}
  dpo: {{model: {root}/models/tiny-dpo-F16.gguf, chat_template: chat.jinja}}
strategies:
  base: [mine, few]
  dpo: [native]
suites: [tiny]
controls: []
sampling: {{max_tokens: 24}}
engine: {{mode: exact, threads: 1, devices: [CPU, CPU]}}
templates: [own]
"""
FRONT = (
    "---\nid: {id}\ndescription: {id}\nsource: ours\nstops: {stops}\n"
    "known_failure: none\n{more}---\n"
)
STOPS = '["\\nQuestion:", "\\nQ:"]'
MINE = "{% if system %}{{ system }}\n\n{% endif %}\nQuestion: {{ query }}\nAnswer:\n"
ROWS = [
    {"query": "Name a colour of snow.", "answer": "White"},
    {"query": "Say hello in capital letters.", "answer": "HELLO"},
    {"query": "Give the number after nine.", "answer": "10"},
]
FEW = (
    "{% for turn in examples %}\nQuestion: {{ turn.query }}\nAnswer: {{ turn.answer }}\n\n"
    "{% endfor %}\nQuestion: {{ query }}\nAnswer:\n"
)


def write(folder: Path, **changes: str) -> None:
    """The project's files, some of their texts changed."""
    own = folder / "own"
    own.mkdir(parents=True, exist_ok=True)
    texts = {
        "mine": FRONT.format(id="mine", stops=STOPS, more="") + MINE,
        "few": FRONT.format(id="few", stops=STOPS, more="examples: {file: rows.jsonl, count: 3}\n")
        + FEW,
        "rows": "".join(json.dumps(row) + "\n" for row in ROWS),
        "chat": (ROOT / "models" / "tiny.jinja").read_text(encoding="utf-8"),
    } | changes
    (own / "mine.j2").write_text(texts["mine"], encoding="utf-8")
    (own / "few.j2").write_text(texts["few"], encoding="utf-8")
    (own / "rows.jsonl").write_text(texts["rows"], encoding="utf-8")
    (folder / "chat.jinja").write_text(texts["chat"], encoding="utf-8")
    (folder / "gate.yaml").write_text(EXPERIMENT.format(root=ROOT), encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gate")
    write(folder)
    done = gate(folder, "--update")
    assert done.returncode == 0, done.stderr
    return folder


def gate(folder: Path, *more: object):  # type: ignore[no-untyped-def]
    return harness(
        "gate",
        "gate.yaml",
        "--baseline",
        "base.jsonl",
        "-q",
        *more,
        cache=folder / "cache",
        cwd=folder,
    )


def qa(text: str) -> str:
    return FRONT.format(id="mine", stops=STOPS, more="") + text


CHAT = (ROOT / "models" / "tiny.jinja").read_text(encoding="utf-8")
MUTATIONS = {
    "no newline before Answer:": {"mine": qa(MINE.replace("\nAnswer", " Answer"))},
    "Reply: for Answer:": {"mine": qa(MINE.replace("Answer:", "Reply:"))},
    "trailing space": {"mine": qa(MINE.replace("Answer:", "Answer: "))},
    "wrong stop string": {"mine": FRONT.format(id="mine", stops='["e"]', more="") + MINE},
    "swapped labels": {
        "mine": qa(
            MINE.replace("Question", "X").replace("Answer", "Question").replace("X", "Answer")
        )
    },
    "roles swapped": {
        "chat": CHAT.replace("Question:", "\0")
        .replace("Answer:", "Question:")
        .replace("\0", "Answer:")
    },
    "double BOS": {"chat": "{{ bos_token }}{{ bos_token }}" + CHAT},
}
# What these examples say changes few of so small a model's verdicts: rightly within the margin, and
# only the prompts themselves show the change.
UNSEEN = {
    "few-shot block dropped": {"few": FRONT.format(id="few", stops=STOPS, more="") + MINE},
    "examples turned round": {"rows": "".join(json.dumps(row) + "\n" for row in ROWS[::-1])},
}
REWRITES = {
    "comment": {"mine": qa("{# how we ask #}\n" + MINE)},
    "equivalent": {"mine": qa(MINE.replace("{{ query }}", '{{ query ~ "" }}'))},
    "description": {"mine": qa(MINE).replace("description: mine", "description: my own")},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_a_harmful_change_never_passes(project: Path, name: str) -> None:
    write(project, **MUTATIONS[name])
    done = gate(project)
    print(done.stdout[:1500], done.stderr)
    assert done.returncode in {1, 2}, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(UNSEEN))
def test_a_change_that_costs_less_than_the_margin_is_shown_by_the_prompts(
    project: Path, name: str
) -> None:
    write(project, **UNSEEN[name])
    done = gate(project, "--render-only")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "regress      base/as-is/few: 312 of 312 prompts changed" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(REWRITES))
def test_a_rewrite_that_renders_the_same_asks_nothing_and_passes(project: Path, name: str) -> None:
    write(project, **REWRITES[name])
    done = gate(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 items asked again, 0 answers generated" in done.stdout


@pytest.mark.slow
def test_an_unchanged_tree_passes_and_render_only_names_what_changed(project: Path) -> None:
    write(project)
    assert gate(project).returncode == 0
    assert gate(project, "--render-only").returncode == 0
    write(project, **MUTATIONS["Reply: for Answer:"])
    done = gate(project, "--render-only", "--format", "text", "--format", "github")
    assert done.returncode == 1
    assert re.search(r"::error file=own/mine.j2,line=12,", done.stdout), done.stdout
    assert "-Answer:" in done.stdout and "+Reply:" in done.stdout


@pytest.mark.slow
def test_another_suite_makes_the_baseline_stale(project: Path) -> None:
    write(project)
    text = (project / "gate.yaml").read_text(encoding="utf-8")
    (project / "gate.yaml").write_text(text.replace("[tiny]", "[starter]"), encoding="utf-8")
    done = gate(project)
    assert done.returncode == 2
    assert "stale" in done.stderr and "--update" in done.stderr
