"""Another engine is one file of under 60 lines: the tiny suite through it, llama.cpp not loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.config import parse_experiment
from harness.errors import ConfigError
from harness.experiment import Backends, Finding, resolve_models
from tests.support.command import ROOT, harness, samples

EXPERIMENT = """\
name: echo
stages: {base: parrot, instruct: {model: parrot, backend: echo}}
engine: {backend: echo}
strategies: {base: [raw, qa, rules], instruct: [native]}
suites: [tiny]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with the echo backend as its entry point, and a llama_cpp that must not load."""
    site = tmp_path_factory.mktemp("site")
    about = site / "echo_backend-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: echo-backend\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[gguf_pair_harness.backends]\necho = tests.support.echo_backend:Echo\n"
    )
    (site / "llama_cpp.py").write_text("raise SystemExit('llama.cpp was imported')\n")
    (site / "echo.yaml").write_text(EXPERIMENT)
    return site


@pytest.mark.slow
def test_a_backend_of_its_own_runs_resumes_scores_and_reports_without_llama_cpp(
    installed: Path, tmp_path: Path
) -> None:
    def command(*arguments: object) -> str:
        path = f"{installed}:{ROOT}"
        done = harness(*arguments, cache=tmp_path / "cache", cwd=tmp_path, PYTHONPATH=path)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    experiment, folder = installed / "echo.yaml", tmp_path / "run"
    command("run", experiment, "--dry-run", "--limit", 6)
    command("run", experiment, "--limit", 6, "-o", folder)
    rows = samples(folder)
    asked = [row for row in rows if row["stage"] != "control" and row["finish_reason"] == "stop"]
    assert len(asked) == 6 * 3
    assert all(row["text"] == row["prompt"].rstrip().splitlines()[-1] for row in asked)
    left_out = [row for row in rows if row["strategy"] == "rules"]
    assert len(left_out) == 6
    assert "backend echo has no rules" in json.dumps(left_out)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["engine"]["builds"] == {"echo": {"echo": "1"}}
    assert manifest["engine"]["backends"]["base/as-is"] == "echo"
    again = command("run", experiment, "--limit", 6, "-o", tmp_path / "again")
    assert samples(tmp_path / "again") == rows
    assert "base/as-is: 0 to answer" in again
    command("score", folder)
    command("report", folder)
    assert "nobody thought about these answers" in (folder / "report.md").read_text()
    command("show", folder, "--failed")
    command("verify", folder)


def test_the_file_is_short() -> None:
    assert len((ROOT / "tests/support/echo_backend.py").read_text().splitlines()) < 60


def test_a_backend_that_is_not_there_is_named_with_its_near_miss() -> None:
    data = {"name": "x", "stages": {"base": "a.gguf"}, "engine": {"backend": "lama.cpp"}}
    with pytest.raises(ConfigError, match=r"'lama\.cpp' is unknown; did you mean 'llama\.cpp'"):
        resolve_models(parse_experiment(data, "x"), Finding(Path()), Backends())
