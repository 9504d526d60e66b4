"""What the command offers to programs: JSON of lists, and completion in the shell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import ROOT, harness


@pytest.mark.slow
def test_lists_are_printed_as_json(tmp_path: Path) -> None:
    for kind in ("checks", "suites", "experiments", "strategies", "controls", "families"):
        done = harness("list", kind, "--json", cache=tmp_path)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found and all(set(item) == {"id", "about"} for item in found)
    refused = harness("list", "checks", "target", "--json", cache=tmp_path)
    assert refused.returncode != 0 and "leave out the name" in refused.stderr


@pytest.mark.slow
def test_the_doctor_and_the_cache_speak_json(tmp_path: Path) -> None:
    done = harness("doctor", "--json", cache=tmp_path)
    findings = json.loads(done.stdout)
    assert all(set(item) == {"state", "what", "found", "advice"} for item in findings)
    assert (done.returncode == 2) == any(item["state"] == "FAIL" for item in findings)
    empty = json.loads(harness("cache", "list", "--json", cache=tmp_path).stdout)
    assert empty == {"folder": str(tmp_path), "answers": []}
    run = harness(
        "run", "--base", ROOT / "models/tiny-base-F16.gguf", "--instruct",
        ROOT / "models/tiny-dpo-F16.gguf", "--suite", "tiny", "--limit", 1, "--max-tokens", 2,
        "--strategies", "qa", "-o", tmp_path / "run", "--json", cache=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert (said["folder"], said["generated"], said["failed"]) == (str(tmp_path / "run"), 3, 0)
    keys = {"topic", "subject", "verdict", "sentence", "evidence", "settle"}
    assert said["decisions"] and all(set(item) == keys for item in said["decisions"])
    (one, other) = json.loads(harness("cache", "list", "--json", cache=tmp_path).stdout)["answers"]
    assert set(one) == {"model_sha256", "answers", "scored_texts", "bytes", "last_used"}
    assert one["scored_texts"] == other["scored_texts"] == 0
    assert one["answers"] + other["answers"] == 3


def test_help_and_completion_wait_for_no_library_that_only_work_needs() -> None:
    loads = "import sys, harness.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True, timeout=60)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    heavy = {"numpy", "pandas", "scipy", "pydantic", "llama_cpp", "jsonschema", "gguf", "httpx"}
    assert "typer" in loaded and not heavy & loaded


def test_completion_installs_and_completes(tmp_path: Path) -> None:
    asked = {"_HARNESS_COMPLETE": "complete_bash", "COMP_WORDS": "harness lev", "COMP_CWORD": "1"}
    assert harness(cache=tmp_path, **asked).stdout.split() == ["levels"]
    home = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = harness("--install-completion", "bash", cache=tmp_path, **home)
    assert done.returncode == 0, done.stderr
    assert "harness" in (tmp_path / ".bashrc").read_text(encoding="utf-8")
    (script,) = (tmp_path / ".bash_completions").glob("*.sh")
    assert "_HARNESS_COMPLETE" in script.read_text(encoding="utf-8")
