"""The data set: rows that programs made, and the base model's own answers that pass every check."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from recipe.gemma.row import HERE
from recipe.gemma.rows import made

MADE, MADE_SEED = 4800, 0  # rows that programs make
ASKED, ASKED_SEED = 160, 1  # prompts that the base answers


def write_suite(path: Path, count: int) -> None:
    """Write prompts to draw answers to: a suite of rows with checks, none of them a made row's."""
    rows = itertools.islice(made(ASKED_SEED), count)
    lines = ({"id": f"gemma-{i:04}", "category": row.family.replace(" ", "-"),
              "messages": row.messages(), "checks": row.specs()}
             for i, row in enumerate(rows, 1))  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def draw(out: Path, count: int) -> None:
    """Ask the base, keep what passes: ``suite.jsonl``, the run ``draws``, then ``drawn.jsonl``."""
    write_suite(out / "suite.jsonl", count)
    harness("run", HERE / "draw.yaml", "--suite", out / "suite.jsonl", "-o", out / "draws")
    harness("export", out / "draws", "--as", "sft", "-o", out / "drawn.jsonl", "--per-prompt", 2)


def harness(*args: object) -> None:
    """Run the command as a user types it; CalledProcessError where it fails."""
    subprocess.run([sys.executable, "-m", "harness", *map(str, args)], check=True)


def training_rows(out: Path, count: int) -> list[dict[str, Any]]:
    """`count` made rows with the drawn ones (where ``drawn.jsonl`` is) spread evenly among them.

    Each is ``{"messages": [...], "answer": "..."}``.
    """
    rows = [{"messages": row.messages(), "answer": row.answer}
            for row in itertools.islice(made(MADE_SEED), count)]  # fmt: skip
    drawn = out / "drawn.jsonl"
    if drawn.exists():
        lines = [json.loads(x) for x in drawn.read_text(encoding="utf-8").splitlines()]
        for i, line in enumerate(lines):
            row = {"messages": line["prompt"], "answer": line["completion"][0]["content"]}
            rows.insert(i * (len(rows) + 1) // len(lines), row)
    return rows
