"""A suite of 10,000 items: ``python -m benchmarks.large [--items 10000]``.

The bundled pair answers it with one to two tokens each: plan, run, the same run again (everything
stored), report, score of answers from elsewhere. Prints seconds and the peak memory of the largest
process so far as a table.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENT = """\
name: large
stages: {{base: {{model: models/tiny-base-F16.gguf}}, dpo: {{model: models/tiny-dpo-F16.gguf}}}}
strategies: {{base: [raw, qa], dpo: [native]}}
suites: [{suite}]
sampling: {{max_tokens: 2}}
engine: {{mode: exact, threads: 1, devices: [CPU, CPU]}}
recovery: {{base: base, instruct: dpo}}
"""


def suite(path: Path, items: int) -> None:
    """Rows of two checks each, every prompt another."""
    with path.open("w", encoding="utf-8") as stream:
        for number in range(items):
            checks = [{"id": "contains", "kwargs": {"text": str(number % 10)}}, {"id": "refusal"}]
            row = {"id": f"n{number:05}", "prompt": f"Say {number}.", "checks": checks}
            stream.write(json.dumps(row) + "\n")


def answers(path: Path, items: int) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for number in range(items):
            stream.write(json.dumps({"key": f"n{number:05}", "response": f"{number}."}) + "\n")


def measured(arguments: list[str], folder: Path) -> tuple[float, float]:
    """Seconds and peak MiB of a command, which must end well."""
    begin = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments],
        env={**os.environ, "HARNESS_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)}: ended with {os.waitstatus_to_exitcode(status)}")
    largest = max(usage.ru_maxrss, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    return time.monotonic() - begin, largest / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    items = parser.parse_args().items
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        suite(folder / "large.jsonl", items)
        answers(folder / "answers.jsonl", items)
        text = EXPERIMENT.format(suite=folder / "large.jsonl")
        (folder / "large.yaml").write_text(text, encoding="utf-8")
        run = ["run", str(folder / "large.yaml"), "-q", "-o", str(folder / "out")]
        given = [
            "--responses",
            str(folder / "answers.jsonl"),
            "--suite",
            str(folder / "large.jsonl"),
        ]
        print(f"| {items} items, {3 * items} answers | seconds | peak MiB |\n|---|---|---|")
        for name, command in (
            ("plan (`--dry-run`)", [*run, "--dry-run"]),
            ("run", run),
            ("the same run again", run),
            ("report", ["report", str(folder / "out")]),
            ("score a run", ["score", str(folder / "out")]),
            ("score answers", ["score", *given, "-o", str(folder / "verdicts.jsonl")]),
        ):
            seconds, peak = measured(command, folder)
            print(f"| {name} | {seconds:.1f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
