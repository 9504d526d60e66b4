"""A million scored rows to CSV, Markdown, one family of contrasts and pages, measured.

``python -m benchmarks.million`` judges nothing and asks no model: 1,000 prompts x 100 conditions
(20 strategies x 5 levels, less those of the instruct stage) with 10 verdicts each are made up, and
what is timed is everything that :func:`harness.reporting.write_run` does with them.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.records import (
    CheckResult,
    CheckSpec,
    Condition,
    Generation,
    Message,
    RunManifest,
    Sample,
    Scored,
)
from harness.reporting import Run, folder

LEVELS = ("F16", "Q8_0", "Q6_K", "Q4_K_M", "Q2_K")
WRAPPERS = tuple(f"wrapper_{number}" for number in range(1, 19))
CHECKS = tuple(f"made:up_{number}" for number in range(10))


def main() -> None:
    """Make the run, write it piece by piece, and say what each took."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--prompts", type=int, default=1_000)
    options.add_argument("-o", "--out", type=Path, default=None)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        report(chosen.prompts, chosen.out or Path(scratch))


def report(prompts: int, out: Path) -> None:
    """Time every file of the run's folder; the frames stay in memory, as they do in a run."""
    rows = tuple(made_up(prompts))
    run = Run(out, manifest(), rows)
    print(f"{len(rows):,} answers, {len(rows) * len(CHECKS):,} verdicts")
    begun = peak()
    print(f"before: {begun:.2f} GiB")
    steps: list[tuple[str, Callable[[], object]]] = [
        ("analysis with its families of contrasts", lambda: run.analysis),
        ("the whole folder: CSV, Markdown, pages, plots, samples", lambda: folder.write_run(run)),
    ]
    total = 0.0
    for name, step in steps:
        since, used = time.perf_counter(), time.process_time()
        step()
        took, spent = time.perf_counter() - since, time.process_time() - used
        total += took
        print(f"{took:6.1f} s ({spent:.1f} of CPU)  {name}")
    print(f"{total:6.1f} s  together; peak {peak():.2f} GiB")
    for path in sorted(out.iterdir()):
        if path.is_file():
            print(f"{path.stat().st_size / 1e6:8.1f} MB  {path.name}")


def made_up(prompts: int) -> Iterator[Scored]:
    """Answers of 100 conditions to so many prompts, each of ten checks."""
    draw = random.Random(0)
    arms = [("base", name) for name in ("raw", *WRAPPERS)] + [("instruct", "native")]
    for number in range(prompts):
        item = Sample(
            id=f"item-{number:05d}",
            messages=(Message("user", f"Describe thing number {number} in a sentence or two."),),
            checks=tuple(CheckSpec(name) for name in CHECKS),
            category=f"category-{number % 12}",
            suite="made-up",
        )
        for level in LEVELS:
            for stage, strategy in arms:
                yield answer(item, Condition(stage, level, strategy), draw)


def answer(item: Sample, condition: Condition, draw: random.Random) -> Scored:
    """One answer: instruct passes more than the base, small levels a little less."""
    rate = 0.97 if condition.stage == "instruct" else 0.85
    key = f"{item.id}/{condition}"
    words = " ".join(draw.choices(("tea", "cake", "jam", "is", "and", "good"), k=20))
    results = tuple(
        CheckResult(key, index, name, 1, ok, ok, "as asked" if ok else "not as asked")
        for index, name in enumerate(CHECKS)
        for ok in (draw.random() < rate,)
    )
    return Scored(
        sample=item,
        condition=condition,
        generation=Generation(key, words, words, (), "eos", 30, 20, 0.5),
        key=key,
        prompt=f"Question: {item.query}\nAnswer:",
        results=results,
        health={"echo": 0.1, "run_on": 0.0},
    )


def manifest() -> RunManifest:
    """What such a run would say of itself."""
    bits = dict(zip(LEVELS, (16.0, 8.5, 6.6, 4.8, 3.2), strict=True))
    return RunManifest(
        experiment={
            "name": "million",
            "stages": {"base": "base.gguf", "instruct": "instruct.gguf"},
            "levels": list(LEVELS),
            "strategies": {"base": ["raw", *WRAPPERS], "instruct": ["native"]},
            "recovery": {"base": "base", "instruct": "instruct"},
        },
        models={
            f"{stage}/{level}": {"bits_per_weight": bits[level], "sha256": "ab" * 32}
            for stage in ("base", "instruct")
            for level in LEVELS
        },
        templates={},
        suites={"made-up": "cd" * 32},
        versions={},
        engine={},
        system={},
        command="python -m benchmarks.million",
    )


def peak() -> float:
    """The most memory this process has held, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
