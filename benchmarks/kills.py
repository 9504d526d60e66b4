"""Kill runs at random moments and resume them: ``python -m benchmarks.kills [--n 30]``.

Each trial has an empty cache: a run of the bundled family (which quantizes, generates, judges and
writes reports) is killed with SIGKILL at a random moment, the parent, its child or both; the same
command then finishes it. Counts answers lost or stored twice, texts other than those of a run in
peace, files left behind and processes left alive. Exit code 1 when anything is not as it should be.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = ["run", "tiny", "--limit", "1", "--quants", "F16,Q8_0", "--max-tokens", "12", "-q"]
VICTIMS = ("parent", "child", "both")


def started(cache: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *COMMAND, "-o", str(out)],
        env={**os.environ, "HARNESS_CACHE": str(cache), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def family(pid: int) -> list[int]:
    """The process's descendants, itself not among them."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    return [member for child in map(int, found) for member in (child, *family(child))]


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def texts(out: Path) -> dict[tuple[str, ...], str]:
    rows = map(json.loads, (out / "samples.jsonl").read_text("utf-8").splitlines())
    names = ("suite", "sample_id", "stage", "level", "strategy")
    return {tuple(str(row[name]) for name in names): row["text"] for row in rows}


def stored(cache: Path) -> int:
    with sqlite3.connect(cache / "answers.sqlite") as db:
        return int(db.execute("SELECT count(*) FROM answers").fetchone()[0])


def trial(folder: Path, seed: int, longest: float) -> tuple[str, dict[tuple[str, ...], str], int]:
    """Kill one run and finish it: who was killed, the texts, the stored answers; stray files."""
    rng = random.Random(seed)
    cache, out = folder / "cache", folder / "out"
    process = started(cache, out)
    time.sleep(rng.uniform(0.2, longest))
    children = family(process.pid)
    victim = rng.choice(VICTIMS) if children else "parent"
    for pid in children if victim != "parent" else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if victim != "child":
        process.kill()
    process.wait(120)
    deadline = time.monotonic() + 20
    while alive(children) and time.monotonic() < deadline:
        time.sleep(0.1)
    if left := alive(children):
        raise AssertionError(f"seed {seed}: {len(left)} processes outlive the run")
    finished = started(cache, out)
    if finished.wait(300) != 0:
        raise AssertionError(f"seed {seed}: the resumed run ended with {finished.returncode}")
    strays = [path for path in folder.rglob("*") if path.name.endswith((".part", ".writable"))]
    if strays:
        raise AssertionError(f"seed {seed}: left behind: {', '.join(p.name for p in strays)}")
    return victim, texts(out), stored(cache)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=30)
    parser.add_argument("--start", type=int, default=0)
    options = parser.parse_args()
    problems: list[str] = []
    killed: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        begin = time.monotonic()
        reference = started(Path(place) / "cache", Path(place) / "out")
        reference.wait(300)
        longest = time.monotonic() - begin
        wanted, count = texts(Path(place) / "out"), stored(Path(place) / "cache")
    for seed in range(options.start, options.start + options.n):
        with tempfile.TemporaryDirectory() as place:
            try:
                victim, found, kept = trial(Path(place), seed, longest)
            except AssertionError as error:
                problems.append(str(error))
                continue
        killed[victim] += 1
        lost = len(wanted.keys() - found.keys())
        other = sum(found.get(key) != text for key, text in wanted.items())
        if lost or other or kept != count:
            problems.append(
                f"seed {seed}: {lost} lost, {other} other texts, {kept} of {count} kept"
            )
    print(f"{sum(killed.values())} kills resumed ({dict(killed)}), {len(problems)} problems")
    for line in problems:
        print(line)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
