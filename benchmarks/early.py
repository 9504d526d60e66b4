"""What ``--early`` saves: ``python -m benchmarks.early MODEL.gguf [--suite S] [--limit N]``.

The raw prompt of one model, three times by the command a user types: whole, ``--early=check`` and
``--early=prompt``, each with a store of its own. Prints the tokens generated, per form and check
(an item with several checks counts under each), and exits with 1 where a verdict differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FORMS = ("off", "check", "prompt")
EXPERIMENT = """\
name: early
stages:
  base: {{model: {model}}}
strategies:
  base: [raw]
suites: [{suite}]
controls: []
sampling: {{max_tokens: {max_tokens}}}
engine: {{mode: {mode}}}
"""


@dataclass(frozen=True)
class Answer:
    """An answer's tokens, whether its item passes, the checks it was asked with."""

    tokens: int
    passed: bool | None
    checks: frozenset[str]


def answers(folder: Path, form: str, *more: str) -> dict[str, Answer]:
    """Run the experiment in a folder with one form of ``--early``; answers by item."""
    out = folder / form
    early = [] if form == "off" else [f"--early={form}"]
    subprocess.run(
        [sys.executable, "-m", "harness", "run", "early.yaml", "-q", "-o", str(out), *early, *more],
        cwd=folder,
        env={**os.environ, "HARNESS_CACHE": str(folder / "cache" / form)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    rows = (json.loads(line) for line in (out / "samples.jsonl").open(encoding="utf-8"))
    return {
        row["sample_id"]: Answer(
            row["completion_tokens"],
            row["prompt_level_strict"],
            frozenset(check["id"] for check in row["asked"]),
        )
        for row in rows
    }


def table(found: dict[str, dict[str, Answer]]) -> str:
    """Tokens by form for all items and for those of each check, what saves most first."""
    whole = found["off"]
    names = sorted({name for answer in whole.values() for name in answer.checks})
    groups = {name: [i for i, a in whole.items() if name in a.checks] for name in names}
    rows = [("all items", list(whole)), *groups.items()]

    def saved(items: Sequence[str], form: str) -> float:
        tokens = {f: sum(found[f][item].tokens for item in items) for f in (form, "off")}
        return 1 - tokens[form] / max(tokens["off"], 1)

    rows[1:] = sorted(rows[1:], key=lambda row: -saved(row[1], "prompt"))
    lines = [
        "| check | items | tokens, whole | saved by `check` | saved by `prompt` |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {len(items)} | {sum(whole[item].tokens for item in items):,} "
        f"| {100 * saved(items, 'check'):.0f} % | {100 * saved(items, 'prompt'):.0f} % |"
        for name, items in rows
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--suite", default="starter", help="as in an experiment: {ifeval: FILE}")
    parser.add_argument("--limit", type=int, default=0, help="the suite's first items; 0: all")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--mode", default="fast", help="exact or fast")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = EXPERIMENT.format(
            model=given.model.resolve(),
            suite=given.suite,
            max_tokens=given.max_tokens,
            mode=given.mode,
        )
        (folder / "early.yaml").write_text(text, encoding="utf-8")
        some = ["--limit", str(given.limit)] if given.limit else []
        found = {form: answers(folder, form, *some) for form in FORMS}
    print(table(found))
    differ = [
        item
        for item, answer in found["off"].items()
        if any(found[form][item].passed != answer.passed for form in FORMS)
    ]
    print(f"\nVerdicts that differ: {len(differ)}" + (f" ({', '.join(differ[:5])})" * bool(differ)))
    return bool(differ)


if __name__ == "__main__":
    sys.exit(main())
