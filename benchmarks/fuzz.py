"""Mutated inputs against the commands that read them: ``python -m benchmarks.fuzz [--n 2000]``.

Experiments, suites, templates and response files, the shipped ones cut, spliced and spoiled. Each
case must end with exit code 0 or 2, at most one line of error, no traceback, in under 10 seconds
and 1 GB more than the process had. Prints the counts, and every case that broke a promise.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SECONDS = 10.0
BYTES = 1 << 30
ODD = (
    *("", "null", "true", "-1", "1e999", "9" * 200, "[]", "{}", "[[[[", "\x00", "\u202e", "{{"),
    *("}}", "{% for x in range(10**9) %}x{% endfor %}", "*a", "&a [*a]", "<<: {}", "---", "yes"),
    *("!!python/object:os.system", "../../etc/passwd", "/dev/zero", "\ud83d", "é" * 3000, "\t"),
    *("2001-99-99", "|", ">", '{"$ref": "#/nope"}', "(a+)+$", "=cmd|' /C calc'!A0", "\x1b[2J"),
    *("1_000", "0x10", "~", "<script>"),
)


@dataclass(frozen=True)
class Case:
    """A kind of input, the text to spoil, and the command that reads it."""

    kind: str
    name: str
    text: str
    command: Callable[[Path], Sequence[str]]


def cases() -> list[Case]:
    """The shipped files, and answers to a shipped suite."""
    found = [
        Case("experiment", path.name, path.read_text("utf-8"), _run)
        for path in sorted((ROOT / "experiments").glob("*.yaml"))
    ]
    for path in sorted((ROOT / "datasets").glob("*.jsonl")):
        rows = path.read_text("utf-8").splitlines()[:6]
        found.append(Case("suite", path.name, "\n".join(rows) + "\n", _score_suite))
    found += [
        Case("template", path.name, path.read_text("utf-8"), _check_template)
        for path in sorted((ROOT / "templates").glob("*.j2"))
    ]
    starter = (ROOT / "datasets" / "starter.jsonl").read_text("utf-8").splitlines()
    answers = [{"key": json.loads(row)["id"], "response": "Tea, I say."} for row in starter[:6]]
    text = "".join(json.dumps(answer) + "\n" for answer in answers)
    return [*found, Case("responses", "answers.jsonl", text, _score_answers)]


def _run(path: Path) -> Sequence[str]:
    # A fetch would ask the hub: these runs are told to look only at what is here.
    return ["run", str(path), "--dry-run", "--limit", "1", "-q", "-o", str(path.parent / "out")]


def _score_suite(path: Path) -> Sequence[str]:
    answers = path.parent / "none.jsonl"
    answers.write_text('{"key": "nothing", "response": ""}\n', encoding="utf-8")
    return ["score", "--responses", str(answers), "--suite", str(path), "--jobs", "1"]


def _check_template(path: Path) -> Sequence[str]:
    return ["template", "check", str(path)]


def _score_answers(path: Path) -> Sequence[str]:
    return ["score", "--responses", str(path), "--suite", "starter", "--jobs", "1"]


def spoiled(text: str, rng: random.Random) -> bytes:
    """A text with one to four things done to it."""
    data = text
    for _ in range(rng.randint(1, 4)):
        place, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        act = rng.randrange(7)
        if act == 0:
            data = data[:place] + rng.choice(ODD) + data[place:]
        elif act == 1:
            data = data[:place] + data[min(end, place + 40) :]
        elif act == 2:
            data = data[:end] + data[place:end][:500] + data[end:]
        elif act == 3:
            lines = data.splitlines(keepends=True)
            rng.shuffle(lines)
            data = "".join(lines)
        elif act == 4:
            lines = data.splitlines(keepends=True) or [""]
            number = rng.randrange(len(lines))
            head = lines[number].partition(":")[0]
            lines[number] = f"{head}: {rng.choice(ODD)}\n"
            data = "".join(lines)
        elif act == 5:
            data = data.replace(rng.choice([":", '"', "{", "  ", "-"]), rng.choice(ODD), 1)
        else:
            data = data[:place]
    raw = bytearray(data.encode("utf-8", "surrogatepass"))
    if raw and rng.random() < 0.1:
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return bytes(raw)


def verdict(case: Case, seed: int, folder: Path) -> tuple[int, str]:
    """The exit code of one case, and which promise it broke (empty: none)."""
    from harness.cli import main

    path = folder / case.name
    path.write_bytes(spoiled(case.text, random.Random(f"{case.name} {seed}")))
    out, err = io.StringIO(), io.StringIO()
    begin = time.monotonic()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(case.command(path)))
    except BaseException:
        return -1, "traceback: " + traceback.format_exc().strip().splitlines()[-1]
    seconds = time.monotonic() - begin
    lines = [line for line in err.getvalue().splitlines() if line.startswith("harness: ")]
    if code not in (0, 1, 2) or (code == 1 and case.kind != "template"):
        return code, f"exit code {code}"
    if "Traceback" in err.getvalue() + out.getvalue():
        return code, "a traceback is shown"
    if len(lines) > 1:
        return code, f"{len(lines)} lines of error"
    if code == 2 and case.kind != "template" and not err.getvalue().strip():
        return code, "an error without a word"
    return code, f"{seconds:.1f} s" if seconds > SECONDS else ""


def bounded() -> None:
    """Let this process allocate 1 GB more than it has: a bomb ends in MemoryError, seen above."""
    import resource

    import pandas  # noqa: F401  # what the commands import belongs to what it has
    import scipy.stats  # noqa: F401

    status = Path("/proc/self/status").read_text("ascii")
    have = next(int(x.split()[1]) * 1024 for x in status.splitlines() if x.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (have + BYTES, have + BYTES))


def campaign(n: int, start: int = 0) -> tuple[Counter[tuple[str, int]], list[str]]:
    """Counts by kind and exit code of ``n`` cases, and the broken promises."""
    every = cases()
    counts: Counter[tuple[str, int]] = Counter()
    broken = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HARNESS_CACHE"] = str(Path(folder) / "cache")
        os.environ["HF_HUB_OFFLINE"] = "1"
        for number in range(start, start + n):
            case = every[number % len(every)]
            code, complaint = verdict(case, number, Path(folder))
            counts[case.kind, code] += 1
            if complaint:
                broken.append(f"{case.kind} {case.name} seed {number}: {complaint}")
    return counts, broken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--start", type=int, default=0)
    options = parser.parse_args()
    bounded()
    counts, broken = campaign(options.n, options.start)
    for (kind, code), count in sorted(counts.items()):
        print(f"{kind:<12} exit {code}: {count}")
    print(f"{sum(counts.values())} cases, {len(broken)} broken promises")
    for line in broken:
        print(line)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
