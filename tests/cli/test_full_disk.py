"""A disk that fills up: one line, exit code 2, nothing lost, nothing left behind.

The disk is a small tmpfs in a namespace of the command's own (:mod:`tests.support.smalldisk`); the
download, which asks for free space before it begins, meets a limit on the size of files instead.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.command import ROOT, harness, texts
from tests.support.hub import Hub
from tests.support.raw_gguf import of_level
from tests.support.smalldisk import SmallDisk, possible

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(not possible(), reason="needs Linux' user namespaces")

EXPERIMENT = """\
name: full
stages: {base: {model: models/tiny-base-F16.gguf}, dpo: {model: models/tiny-dpo-F16.gguf}}
strategies: {base: [raw, qa], dpo: [native]}
suites: [tiny]
sampling: {max_tokens: 12}
engine: {mode: exact, threads: 1}
recovery: {base: base, instruct: dpo}
"""
LIMIT = ("--limit", "20", "-q")
TABLES = ("samples.jsonl", "scores.csv", "summary.csv", "manifest.json")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment, the cache of its run in peace, and the run."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "full.yaml").write_text(EXPERIMENT, encoding="utf-8")
    done = harness(
        "run", folder / "full.yaml", *LIMIT, "-o", folder / "run", cache=folder / "cache"
    )
    assert done.returncode == 0, done.stderr
    return folder


def one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("harness: "), done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kib", [64, 200, 300])
def test_a_store_on_a_full_disk_keeps_what_it_holds(
    kib: int, finished: Path, tmp_path: Path
) -> None:
    disk = SmallDisk(tmp_path / "cache", kib)
    command = ("run", finished / "full.yaml", *LIMIT, "-o", tmp_path / "run")
    done = disk.harness(*command, cache=disk.folder)
    one_line(done, "answers.sqlite", "the disk is full", "run the same command again")
    assert not (tmp_path / "run" / "samples.jsonl").exists()
    again = harness(*command, cache=disk.kept)
    assert again.returncode == 0, again.stderr
    assert texts(tmp_path / "run") == texts(finished / "run")
    with closing(sqlite3.connect(disk.kept / "answers.sqlite")) as db:
        ours = db.execute("SELECT count(*), count(DISTINCT key) FROM answers").fetchone()
    with closing(sqlite3.connect(finished / "cache" / "answers.sqlite")) as db:
        assert ours == db.execute("SELECT count(*), count(DISTINCT key) FROM answers").fetchone()
    assert not [name for name in disk.files() if name.endswith((".part", ".writable"))]


@pytest.mark.slow
@pytest.mark.parametrize("kib", [4, 100, 300])
def test_a_run_folder_on_a_full_disk_costs_no_answer(
    kib: int, finished: Path, tmp_path: Path
) -> None:
    disk = SmallDisk(tmp_path / "disk", kib)
    command = ("run", finished / "full.yaml", *LIMIT, "-o")
    done = disk.harness(*command, disk.folder / "run", cache=finished / "cache")
    one_line(done, "cannot be written", "free some space there")
    assert not [name for name in disk.files() if ".part" in name]
    assert not any(set(name.split("/")) & {"report.md", "manifest.json"} for name in disk.files())


@pytest.mark.slow
def test_a_report_on_a_full_disk_leaves_the_one_before(finished: Path, tmp_path: Path) -> None:
    run = finished / "run"
    size = sum(-(-path.stat().st_size // 4096) * 4 for path in run.rglob("*"))
    disk = SmallDisk(tmp_path / "run", size + 24, holding=run)
    one_line(disk.harness("report", disk.folder, cache=finished / "cache"), "cannot be written")
    left = disk.files()
    assert left.keys() == {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    assert all(left[name] == (run / name).read_bytes() for name in TABLES)


def test_quantizing_onto_a_full_disk_says_how_much_is_free(tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path / "levels", 1000)
    source = ROOT / "models" / "tiny-base-F16.gguf"
    done = disk.harness(
        "quantize", source, "--levels", "Q8_0", "-o", disk.folder, cache=tmp_path / "cache"
    )
    one_line(done, "tiny-base-F16.gguf to Q8_0", "MB free in", "free some space there")
    assert disk.files() == {}


@pytest.mark.slow
def test_a_download_that_cannot_be_written_goes_on_later(tmp_path: Path) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 20, 16 << 20))

    with Hub() as hub:
        hub.add_repo("owner/pair-GGUF", {"pair-Q8_0.gguf": of_level("Q8_0", extra=24 << 20)})
        command = [sys.executable, "-m", "harness", "fetch", "owner/pair-GGUF:Q8_0"]
        first = subprocess.run(
            command,
            env=hub.env(tmp_path),
            cwd=ROOT,
            capture_output=True,
            encoding="utf-8",
            preexec_fn=limited,
        )
        one_line(first, "pair-Q8_0.gguf", "File too large", "are kept, the same command goes on")
        second = subprocess.run(command, env=hub.env(tmp_path), cwd=ROOT, capture_output=True)
        assert second.returncode == 0
        assert [seen.range is not None for seen in hub.downloads("Q8_0")] == [False, True]
    assert not list((tmp_path / "hf").rglob("*.incomplete"))


def test_a_download_larger_than_the_disk_is_refused_before_it_begins(tmp_path: Path) -> None:
    with Hub() as hub:
        hub.add_repo("owner/pair-GGUF", {"pair-Q8_0.gguf": of_level("Q8_0", extra=4 << 20)})
        disk = SmallDisk(tmp_path / "hf", 1000)
        env = {**hub.env(tmp_path), "HF_HUB_OFFLINE": "0"}
        done = disk.harness("fetch", "owner/pair-GGUF:Q8_0", cache=tmp_path / "cache", env=env)
        one_line(done, "are needed", "make room or point HF_HOME at a larger disk")
        assert hub.downloads("Q8_0") == []
    assert not [name for name in disk.files() if "blobs" in name]
