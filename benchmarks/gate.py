"""What the gate catches: ``python -m benchmarks.gate [--runs 20]`` prints a Markdown table.

A project of its own overrides four shipped templates and takes the bundled models. Its baseline is
written once; then each mutation, and each rewrite that changes no prompt, is gated by the command
a user types. Exit code 1 when a mutation passes, or an unchanged tree or a rewrite does not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

EXPERIMENT = """\
name: gated
stages:
  base: {{model: {root}/models/tiny-base-F16.gguf}}
  dpo: {{model: {root}/models/tiny-dpo-F16.gguf, chat_template: chat.jinja}}
strategies:
  base: [qa, sys_qa, icl_3, prefill, {{id: qa, as: qa_prefill, prefill: "The answer is"}}]
  dpo: [native]
suites: [tiny]
controls: []
sampling: {{max_tokens: 24}}
engine: {{mode: exact, threads: 1, devices: [CPU, CPU]}}
templates: [own]
contrasts:
  - {{name: instruct against wrapper, a: base/as-is/qa, b: dpo/as-is/native}}
  - {{name: wrapper against instruct, a: dpo/as-is/native, b: base/as-is/qa}}
"""
OVERRIDDEN = ("qa", "sys_qa", "icl_3", "prefill")
Files = Mapping[str, str]


def originals() -> dict[str, str]:
    """The project's files by name, as the baseline was written with."""
    shipped = ROOT / "templates"
    files = {
        f"own/{name}.j2": (shipped / f"{name}.j2")
        .read_text(encoding="utf-8")
        .replace(f"id: {name}\n", f"id: {name}\noverrides: {name}\n", 1)
        for name in OVERRIDDEN
    }
    examples = (shipped / "examples" / "plain.jsonl").read_text(encoding="utf-8")
    return files | {
        "own/examples/plain.jsonl": examples,
        "chat.jinja": (ROOT / "models" / "tiny.jinja").read_text(encoding="utf-8"),
        "gate.yaml": EXPERIMENT.format(root=ROOT),
    }


def edited(name: str, *changes: tuple[str, str]) -> Files:
    """One file with texts replaced; each of them must be there."""
    text = originals()[name]
    for old, new in changes:
        if old not in text:
            raise ValueError(f"{name} does not contain {old!r}")
        text = text.replace(old, new)
    return {name: text}


def _swapped(name: str, one: str, other: str) -> Files:
    return edited(name, (one, "\0"), (other, one), ("\0", other))


def _first_examples_turned() -> Files:
    rows = originals()["own/examples/plain.jsonl"].splitlines(keepends=True)
    return {"own/examples/plain.jsonl": "".join([*rows[2::-1], *rows[3:]])}


def _without_system() -> Files:
    text = originals()["own/sys_qa.j2"]
    start = text.index("system: |\n")
    return {"own/sys_qa.j2": text[:start] + text[text.index("---\n", start) :]}


QA, ICL, CHAT = "own/qa.j2", "own/icl_3.j2", "chat.jinja"
_OPENED = 'prefill: "Here is the answer, exactly as asked:\\n"\n'
_EXAMPLES = "examples: {file: examples/plain.jsonl, count: 3}\n"
_FEW = "{% for turn in examples + history %}"
_TURNS = "{% for turn in history %}"
MUTATIONS: Mapping[str, Files] = {
    "no newline before `Answer:`": edited(QA, ("}}\nAnswer:", "}} Answer:")),
    "`Reply:` for `Answer:`": edited(QA, ("Answer:", "Reply:")),
    "wrong stop string": edited(QA, ('"\\nQuestion:", "\\nQ:"', '"\\n# Query"')),
    "stop strings dropped": edited(QA, ('stops: ["\\nQuestion:", "\\nQ:"]\n', "")),
    "labels swapped": _swapped(QA, "Question:", "Answer:"),
    "roles swapped in the chat template": _swapped(CHAT, "Question:", "Answer:"),
    "double BOS": {CHAT: "{{ bos_token }}{{ bos_token }}" + originals()[CHAT]},
    "trailing space": edited(QA, ("}}\nAnswer:\n", "}}\nAnswer: \n")),
    "few-shot loop dropped": edited(ICL, (_FEW, _TURNS)),
    "few-shot block dropped": edited(ICL, (_FEW, _TURNS), (_EXAMPLES, "")),
    "example order": _first_examples_turned(),
    "system text dropped": _without_system(),
    "system place dropped": edited(
        "own/sys_qa.j2", ("{% if system %}\n{{ system }}\n\n{% endif %}\n", "")
    ),
    "prefill lost in the template": edited("own/prefill.j2", (_OPENED, "")),
    "prefill lost in the experiment": edited("gate.yaml", (', prefill: "The answer is"', "")),
}
REWRITES: Mapping[str, Files] = {
    "a comment": edited(QA, ("Question: {{ query }}", "{# how we ask #}Question: {{ query }}")),
    "an equivalent expression": edited(ICL, ("examples + history", "(examples + history)[:]")),
    "another description": edited(QA, ("description: ", "description: Ours. ")),
    "front matter in another style": edited(
        QA, ('stops: ["\\nQuestion:", "\\nQ:"]', 'stops:\n  - "\\nQuestion:"\n  - "\\nQ:"')
    ),
    "a comment in the chat template": {CHAT: "{# ours #}" + originals()[CHAT]},
}


@dataclass(frozen=True)
class Outcome:
    """A gate's exit code, its seconds, and why: its first line that is no pass."""

    code: int
    seconds: float
    verdict: str
    why: str


class Project:
    """A folder with templates, an experiment, a baseline; ``items`` of the tiny suite, or all."""

    def __init__(self, folder: Path, items: int | None = None) -> None:
        self.folder = folder
        self.items = items

    def write(self, changes: Files | None = None) -> None:
        """Put the files there, some of them changed."""
        files = {**originals(), **(changes or {})}
        if self.items:
            rows = (ROOT / "datasets" / "tiny.jsonl").read_text(encoding="utf-8").splitlines(True)
            files["some.jsonl"] = "".join(rows[: self.items])
            files["gate.yaml"] = files["gate.yaml"].replace("[tiny]", "[some.jsonl]")
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def gate(self, *more: str) -> Outcome:
        """``harness gate`` as a user runs it."""
        command = [sys.executable, "-m", "harness", "gate", "gate.yaml", "-q"]
        begin = time.perf_counter()
        done = subprocess.run(
            [*command, "--baseline", "baseline.jsonl", *more],
            cwd=self.folder,
            env={**os.environ, "HARNESS_CACHE": str(self.folder / "cache")},
            capture_output=True,
            encoding="utf-8",
            timeout=600,
        )
        seconds = time.perf_counter() - begin
        if done.returncode not in {0, 1, 2} or "Traceback" in done.stderr:
            raise RuntimeError(done.stderr)
        return Outcome(done.returncode, seconds, *_read(done))

    def judged(self, changes: Files | None = None) -> Outcome:
        """The outcome of gating some changes; the files are put back afterwards."""
        self.write(changes)
        try:
            return self.gate("--format", "json")
        finally:
            self.write()


def _read(done: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    if done.returncode == 2:
        return "refused", done.stderr.strip().splitlines()[-1].removeprefix("harness: ")
    if not done.stdout.startswith("{"):
        return "", done.stdout.strip()
    found = json.loads(done.stdout)
    bad = [arm for arm in found["arms"] if arm["verdict"] != "pass"]
    why = f"{bad[0]['name']}: {bad[0]['sentence']}" if bad else found["sentence"]
    return found["verdict"], why


def caught(outcome: Outcome) -> bool:
    """Whether a mutation was caught: a regress (lint errors are one), or a prompt refused."""
    return outcome.verdict in {"regress", "refused"} and outcome.code in {1, 2}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=20, help="gates of an unchanged tree")
    runs = parser.parse_args().runs
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        project.write()
        first = project.gate("--update")
        print(f"The baseline was written in {first.seconds:.1f} s.\n")
        print("| change | verdict | exit | s | why |\n|---|---|---|---|---|")
        for name, changes in MUTATIONS.items():
            outcome = project.judged(changes)
            wrong += not caught(outcome)
            print(_row(name, outcome), flush=True)
        for name, changes in REWRITES.items():
            outcome = project.judged(changes)
            wrong += outcome.verdict != "pass"
            print(_row(f"{name} (no prompt changes)", outcome), flush=True)
        again = [project.judged() for _ in range(runs)]
        passed = sum(outcome.verdict == "pass" for outcome in again)
        wrong += len(again) - passed
        times = sorted(outcome.seconds for outcome in again)
        print(
            f"\nAn unchanged tree: {passed} of {runs} runs pass, {times[len(times) // 2]:.1f} s "
            f"(median; at most {times[-1]:.1f} s)."
        )
    print(f"\n{wrong} outcomes are not as they should be." if wrong else "")
    return int(wrong > 0)


def _row(name: str, outcome: Outcome) -> str:
    why = outcome.why.replace("|", "\\|")
    shown = why if len(why) <= 160 else why[:159] + "…"
    return f"| {name} | {outcome.verdict} | {outcome.code} | {outcome.seconds:.1f} | {shown} |"


if __name__ == "__main__":
    sys.exit(main())
