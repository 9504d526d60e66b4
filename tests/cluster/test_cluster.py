"""Runs on a real Ray cluster of several nodes: the texts of one machine, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.store import Store
from tests.support.command import ROOT, environment, harness, samples, texts
from tests.support.local_cluster import Local, cluster
from tests.support.processes import heed_interrupts

pytestmark = pytest.mark.slow

TINY = ("run", "tiny", "--limit", "30", "--quants", "F16,Q8_0")
WANDERING = """\
name: wandering
stages: {{base: parrot}}
engine: {{backend: wandering}}
strategies: [raw, raw_nl]
suites: [{suite}]
controls: []
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    """Two nodes of one processor each."""
    with cluster(tmp_path) as found:
        found.add()
        found.add()
        yield found


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[tuple[str, str], str]:
    """The texts of this machine without a cluster."""
    done = harness(*TINY, "-q", "-o", folder / "alone", cache=folder / "alone-cache")
    assert done.returncode == 0, done.stderr
    return texts(folder / "alone")


def held(cache: Path) -> int:
    """How many answers a cache holds."""
    if not (cache / "answers.sqlite").is_file():
        return 0
    with Store(cache / "answers.sqlite") as store:
        return sum(usage.answers for usage in store.usage())


def wait_for(cache: Path, answers: int) -> None:
    deadline = time.monotonic() + 200
    while held(cache) < answers:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def started(local: Local, cache: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness", *map(str, arguments), "--ray", local.address]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(cache),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )


def prompts(folder: Path, lines: list[str]) -> Path:
    """An experiment of the wandering backend that asks these."""
    (folder / "prompts.txt").write_text("\n".join(lines))
    path = folder / "wandering.yaml"
    path.write_text(WANDERING.format(suite=folder / "prompts.txt"))
    return path


def test_two_nodes_give_the_texts_of_one_machine(
    local: Local, alone: dict[tuple[str, str], str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = harness(*TINY, "--ray", local.address, "-o", out, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert texts(out) == alone
    counts = [line for line in done.stderr.splitlines() if line.startswith("  ") and ", " in line]
    assert counts, done.stderr
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["engine"]["settings"]["base/F16"]["mode"] == "exact"
    assert manifest["engine"]["build"]["cpu_features"]
    # The answers are those of this very machine, and stored as such: nothing is left to do.
    again = harness(*TINY, "-o", tmp_path / "again", cache=tmp_path / "cache")
    assert "base/F16: 0 to answer" in again.stderr


def test_a_node_that_is_killed_halfway_loses_nothing(
    local: Local, alone: dict[tuple[str, str], str], tmp_path: Path
) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    process = started(local, cache, *TINY, "-o", out)
    wait_for(cache, 100)
    local.kill()
    _, told = process.communicate(timeout=280)
    assert process.returncode == 0, told
    assert texts(out) == alone
    assert "an actor was lost, others did its work" in (out / "report.md").read_text()
    assert all(row["finish_reason"] != "failed" for row in samples(out))


def test_a_driver_that_is_killed_goes_on_where_it_stopped(
    local: Local, alone: dict[tuple[str, str], str], tmp_path: Path
) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    process = started(local, cache, *TINY, "-o", out)
    wait_for(cache, 100)
    process.kill()
    process.communicate(timeout=60)
    before = held(cache)
    done = harness(*TINY, "--ray", local.address, "-o", out, cache=cache)
    assert done.returncode == 0, done.stderr
    left = sum(
        int(line.rpartition(": ")[2].split()[0])
        for line in done.stderr.splitlines()
        if line.endswith(" to answer")
    )
    assert left == len({row["request_key"] for row in samples(out) if row["request_key"]}) - before
    assert texts(out) == alone


def test_ctrl_c_ends_the_driver_in_one_line(local: Local, tmp_path: Path) -> None:
    path = prompts(tmp_path, [f"prompt {number}" for number in range(3000)])
    cache = tmp_path / "cache"
    local.add(WANDERING_PAUSE="0.02")
    process = started(local, cache, "run", path, "-o", tmp_path / "out")
    wait_for(cache, 10)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told


def test_a_node_that_computes_otherwise_is_refused_by_name(local: Local, tmp_path: Path) -> None:
    local.add(WANDERING_FEATURES="AVX512")
    path, out = prompts(tmp_path, [f"prompt {n}" for n in range(40)]), tmp_path / "out"
    done = harness("run", path, "--ray", local.address, "-o", out, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert {row["text"].rpartition(" ")[2] for row in samples(out)} == {"(AVX2)"}
    told = (out / "report.md").read_text()
    assert "is refused: its cpu" in told
    assert "AVX512" in told


def test_mixed_nodes_keep_their_answers_apart(local: Local, tmp_path: Path) -> None:
    local.add(WANDERING_FEATURES="AVX512")
    path, out = prompts(tmp_path, [f"prompt {n}" for n in range(40)]), tmp_path / "out"
    mixed = ("run", path, "--ray", local.address, "--ray-mixed")
    done = harness(*mixed, "-o", out, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    rows = samples(out)
    by_item: dict[str, set[str]] = {}
    for row in rows:
        by_item.setdefault(row["sample_id"], set()).add(row["text"].rpartition(" ")[2])
    assert all(len(kinds) == 1 for kinds in by_item.values())
    assert {kind for kinds in by_item.values() for kind in kinds} == {"(AVX2)", "(AVX512)"}
    assert "compute in 2 ways" in (out / "report.md").read_text()
    again = harness(*mixed, "-o", tmp_path / "again", cache=tmp_path / "cache")
    assert "base/as-is: 0 to answer" in again.stderr
    # Without it the answers of the odd node are not taken for the others'.
    pure = harness(*mixed[:-1], "-o", tmp_path / "pure", cache=tmp_path / "cache")
    assert pure.returncode == 0, pure.stderr
    assert {row["text"].rpartition(" ")[2] for row in samples(tmp_path / "pure")} == {"(AVX2)"}


def test_a_request_that_kills_its_actors_fails_alone(local: Local, tmp_path: Path) -> None:
    lines = [f"prompt {n}" for n in range(60)]
    lines[33] = "this is poison"
    path, out = prompts(tmp_path, lines), tmp_path / "out"
    done = harness("run", path, "--ray", local.address, "-o", out, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    failed = [row for row in samples(out) if row["finish_reason"] == "failed"]
    assert {row["sample_id"] for row in failed} == {
        row["sample_id"] for row in samples(out) if "poison" in row["prompt"]
    }
    assert "the last time it was alone" in str(failed[0]["error"])
    assert held(tmp_path / "cache") == 118


def test_verdicts_of_a_large_run_are_the_clusters_and_the_same(
    local: Local, tmp_path: Path
) -> None:
    script = tmp_path / "scores.py"
    script.write_text(f"""\
import sys
from pathlib import Path
from harness.cluster import ClusterBackends, joined
from harness.config import load_experiment
from harness.experiment import RunOptions, run
said = []
experiment = load_experiment("tiny").model_copy(update={{"levels": ("F16",), "contrasts": ()}})
with joined({local.address!r}, experiment.engine.ray, say=said.append) as cluster:
    options = RunOptions(limit=4, out=Path(sys.argv[1]))
    run(experiment, options, backends=ClusterBackends(cluster, judge_from=10))
assert "scoring on the cluster" in said, said
options = RunOptions(limit=4, out=Path(sys.argv[2]))
run(experiment, options)
""")
    outs = tmp_path / "there", tmp_path / "here"
    done = subprocess.run(
        [sys.executable, str(script), *map(str, outs)], cwd=ROOT, capture_output=True, text=True,
        env=environment(tmp_path / "cache", PYTHONPATH=os.environ["PYTHONPATH"]), timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    there, here = ({(r["request_key"], r["sample_id"], r["strategy"]): r["checks"] for r in
                    samples(out)} for out in outs)  # fmt: skip
    assert there == here


def test_no_cluster_and_no_ray_are_one_line_each(tmp_path: Path) -> None:
    nowhere = harness("run", "tiny", "--ray", "127.0.0.1:1", cache=tmp_path / "cache")
    assert nowhere.returncode == 2
    assert "--ray 127.0.0.1:1: the cluster cannot be joined" in nowhere.stderr
    (tmp_path / "ray.py").write_text("raise ImportError('no ray')\n")
    without = harness("run", "tiny", "--ray", cache=tmp_path / "cache", PYTHONPATH=str(tmp_path))
    assert without.returncode == 2
    assert "pip install 'gguf-pair-harness[ray]'" in without.stderr
