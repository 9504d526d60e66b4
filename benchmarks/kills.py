"""Kill deeds at random moments and do them again: ``python -m benchmarks.kills [--runs 40]``.

A deed is a run of the bundled family (which quantizes, generates, judges and writes reports), a
quantization, a download from a hub on loopback, or the writing of a report. Each trial has empty
folders; the command is killed with SIGKILL at a random moment, the parent, its children or both,
and then given again. Counts answers lost or stored twice, texts and files other than those of the
deed in peace, half-written files under a final name, files left behind and processes left alive.
Exit code 1 when anything is not as it should be.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

EXPERIMENT = """\
name: kills
stages: {base: {model: models/tiny-base-F16.gguf}, dpo: {model: models/tiny-dpo-F16.gguf}}
levels: {from: F16, make: [Q8_0]}
strategies: {base: [raw, qa, sys_qa], dpo: [native]}
suites: [tiny]
sampling: {max_tokens: 12}
engine: {mode: exact, threads: 1}
recovery: {base: base, instruct: dpo}
"""
VICTIMS = ("parent", "child", "both")
OTHERS = ("quantization", "download", "report")
REPOSITORY = "owner/pair-GGUF"
Environment = Mapping[str, str]


@dataclass(frozen=True)
class Deed:
    """A command and what it leaves: ``outcome(folder)`` is equal after any kill and a repeat.

    ``prepare`` fills the empty folder; ``sound`` are the folder's files that may be absent after
    a kill, but under their names only as they are in the end.
    """

    name: str
    command: Callable[[Path], list[str]]
    outcome: Callable[[Path], object]
    prepare: Callable[[Path], None] = lambda folder: None
    sound: Callable[[Path], dict[str, str]] = lambda folder: {}
    env: Callable[[Path], Environment] = lambda folder: {}


def a_run() -> Deed:
    """Everything from the quantization to the report."""

    def prepare(folder: Path) -> None:
        (folder / "kills.yaml").write_text(EXPERIMENT, encoding="utf-8")

    def command(folder: Path) -> list[str]:
        return ["run", str(folder / "kills.yaml"), "--limit", "4", "-q", "-o", str(folder / "out")]

    return Deed("run", command, lambda f: (texts(f / "out"), stored(f / "cache")), prepare)


def a_quantization() -> Deed:
    """Two levels of the bundled base model."""

    def command(folder: Path) -> list[str]:
        source = str(ROOT / "models" / "tiny-base-F16.gguf")
        return ["quantize", source, "--levels", "Q8_0,Q4_K_M", "-o", str(folder / "out")]

    def made(folder: Path) -> dict[str, str]:
        return digests(folder / "out", "*.gguf")

    return Deed("quantization", command, lambda f: (made(f), names(f / "out")), sound=made)


def a_download(env: Callable[[Path], Environment]) -> Deed:
    """One file of 24 MiB from the hub that ``env`` points to."""

    def blobs(folder: Path) -> dict[str, str]:
        found = digests(folder / "hf", "hub/models--*/blobs/*")
        return {name: digest for name, digest in found.items() if "incomplete" not in name}

    def outcome(folder: Path) -> object:
        return blobs(folder), names(folder / "hf" / "hub")

    return Deed(
        "download", lambda folder: ["fetch", f"{REPOSITORY}:Q8_0"], outcome, sound=blobs, env=env
    )


def a_report(finished: Path) -> Deed:
    """A finished run's reports, written again over those that are there."""

    def prepare(folder: Path) -> None:
        shutil.copytree(finished, folder / "out")

    def written(folder: Path) -> dict[str, str]:
        return digests(folder / "out", "*.*")

    def outcome(folder: Path) -> object:
        return texts(folder / "out"), written(folder), names(folder / "out")

    return Deed("report", lambda f: ["report", str(f / "out")], outcome, prepare, sound=written)


def started(deed: Deed, folder: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, **deed.env(folder), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *deed.command(folder)],
        env={**env, "HARNESS_CACHE": str(folder / "cache")},
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
    """The texts by item and condition; ValueError when one is there twice."""
    rows = [json.loads(line) for line in (out / "samples.jsonl").read_text("utf-8").splitlines()]
    keys = ("suite", "sample_id", "stage", "level", "strategy")
    found = {tuple(str(row[key]) for key in keys): row["text"] for row in rows}
    if len(found) != len(rows):
        raise ValueError(f"{len(rows) - len(found)} rows are there twice")
    return found


def stored(cache: Path) -> int:
    with contextlib.closing(sqlite3.connect(cache / "answers.sqlite")) as db:
        return int(db.execute("SELECT count(*) FROM answers").fetchone()[0])


def digests(folder: Path, pattern: str) -> dict[str, str]:
    """sha256 of the visible files by name."""
    found = (path for path in folder.glob(pattern) if path.is_file() and path.name[0] != ".")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def names(folder: Path) -> list[str]:
    """Every path under a folder, so that nothing left behind goes unseen."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def trial(deed: Deed, folder: Path, seed: int, longest: float, peace: dict[str, str]) -> str:
    """Kill one deed and do it again; says who was killed. AssertionError: what went wrong."""
    rng = random.Random(f"{deed.name} {seed}")
    deed.prepare(folder)
    process = started(deed, folder)
    time.sleep(rng.uniform(0.1, longest))
    victim = killed(process, rng.choice(VICTIMS))
    for name, digest in deed.sound(folder).items():
        assert peace.get(name) == digest, f"{name} is half written or another"
    again = started(deed, folder)
    assert again.wait(300) == 0, f"given again it ended with {again.returncode}"
    return victim


def killed(process: subprocess.Popen[bytes], victim: str) -> str:
    """Kill; waits until the whole family is gone. Returns who was there to be killed."""
    children = family(process.pid)
    ended = process.poll() is not None
    victim = "nobody, it had ended" if ended else victim if children else "parent"
    for pid in children if victim in ("child", "both") else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if victim in ("parent", "both"):
        process.kill()
    process.wait(120)
    deadline = time.monotonic() + 20
    while alive(children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(children), "processes outlive the command"
    return victim


def in_peace(deed: Deed, folder: Path) -> tuple[object, dict[str, str], float]:
    """What the deed leaves undisturbed, its files, and the seconds it took."""
    deed.prepare(folder)
    begin = time.monotonic()
    assert started(deed, folder).wait(300) == 0, f"{deed.name} fails in peace"
    return deed.outcome(folder), deed.sound(folder), time.monotonic() - begin


def strays(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.name.endswith((".part", ".writable"))]


def campaign(deed: Deed, n: int, start: int) -> tuple[Counter[str], list[str]]:
    """Who was killed how often in ``n`` trials, and what went wrong."""
    victims: Counter[str] = Counter()
    problems = []
    with tempfile.TemporaryDirectory() as place:
        wanted, peace, longest = in_peace(deed, Path(place))
    for seed in range(start, start + n):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            try:
                victims[trial(deed, folder, seed, longest, peace)] += 1
                assert not strays(folder), f"left behind: {', '.join(strays(folder))}"
                assert deed.outcome(folder) == wanted, "lost, double or other than in peace"
            except (AssertionError, ValueError) as error:
                problems.append(f"{deed.name} seed {seed}: {error}")
    return victims, problems


@contextlib.contextmanager
def deeds(wanted: Mapping[str, int]) -> Iterator[list[tuple[Deed, int]]]:
    """The deeds with how often to do each, the hub they need being up."""
    from tests.support.hub import Hub
    from tests.support.raw_gguf import of_level

    with tempfile.TemporaryDirectory() as place, Hub() as hub:
        found: list[tuple[Deed, int]] = []
        if wanted["download"]:
            # A client that was killed is no error of the server's.
            hub.server.handle_error = lambda *_: None  # type: ignore[method-assign]
            hub.add_repo(REPOSITORY, {"pair-Q8_0.gguf": of_level("Q8_0", extra=24 << 20)})
            hub.fault("Q8_0", times=-1, slow=0.01)
            found.append((a_download(hub.env), wanted["download"]))
        if wanted["report"]:
            in_peace(a_run(), Path(place))
            # What a report says is settled by writing it once over the run's own.
            found.append((a_report(Path(place) / "out"), wanted["report"]))
        if wanted["quantization"]:
            found.append((a_quantization(), wanted["quantization"]))
        if wanted["run"]:
            found.append((a_run(), wanted["run"]))
        yield found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    for name in OTHERS:
        parser.add_argument(f"--{name}s", dest=name, type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="The first trial's seed.")
    options = parser.parse_args()
    wanted = {"run": options.runs, **{name: vars(options)[name] for name in OTHERS}}
    problems: list[str] = []
    with deeds(wanted) as chosen:
        for deed, n in chosen:
            victims, wrong = campaign(deed, n, options.start)
            problems += wrong
            print(f"{deed.name}: {n} trials, killed {dict(victims)}, {len(wrong)} problems")
            sys.stdout.flush()
    for line in problems:
        print(line)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
