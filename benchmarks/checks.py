"""Responses judged a second, strict and loose, in one process; imports and models left out.

    python benchmarks/checks.py [answers.jsonl suite.jsonl]

By default it judges GPT-4's IFEval answers from ../shared/ifeval when they stand there. The
official code judges about 365 responses a second on that file (language detection is most of
it). Each repeat forgets the languages detected before, so none is answered from memory.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

from harness.checks import judge, metrics, validate
from harness.checks.text import language
from harness.datasets import load_suite
from harness.records import Sample

REPEATS = 7
OFFICIAL = 365
SHARED = Path(__file__).parents[2] / "shared" / "ifeval"


def load(answers: Path, suite: Path) -> list[tuple[Sample, str]]:
    samples = {
        sample.id: sample for sample in load_suite({"ifeval": str(suite)}, validate=validate)
    }
    with answers.open(encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    return [(samples[str(row["key"])], row["response"]) for row in rows]


def measure(items: list[tuple[Sample, str]]) -> tuple[float, float]:
    """Responses a second by the wall clock and by this process's own CPU time."""
    language._KNOWN.clear()
    wall, cpu = time.perf_counter(), time.process_time()
    for sample, response in items:
        judge(sample, response)
    return (
        len(items) / (time.perf_counter() - wall),
        len(items) / (time.process_time() - cpu),
    )


def main() -> int:
    given = [Path(name) for name in sys.argv[1:]]
    answers, suite = given or (SHARED / "responses_gpt4.jsonl", SHARED / "input_data.jsonl")
    if not (answers.is_file() and suite.is_file()):
        print(f"there is no {answers} or no {suite}; give a file of answers and a suite")
        return 2
    items = load(answers, suite)
    measure(items)  # loads the language profiles and the sentence model
    wall, cpu = zip(*(measure(items) for _ in range(REPEATS)), strict=True)
    for name, rates in (("wall clock", wall), ("CPU time", cpu)):
        median = statistics.median(rates)
        print(
            f"{name}: {median:.0f} responses/s (median of {REPEATS}, {min(rates):.0f} to "
            f"{max(rates):.0f}), {median / OFFICIAL:.1f} times the official {OFFICIAL}"
        )
    print(dict(metrics(judge(*item) for item in items)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
