"""What docs/ci.md tells a user to type and to paste works as it stands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.command import ROOT, environment

GUIDE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
OWN = ROOT / ".github" / "workflows" / "gate.yml"


def block(language: str, *marks: str) -> str:
    """The guide's code block of that language that contains the marks."""
    blocks = re.findall(rf"^ *```{language}\n(.*?)^ *```$", GUIDE, re.DOTALL | re.MULTILINE)
    found = [text for text in blocks if all(mark in text for mark in marks)]
    assert len(found) == 1, (language, marks, len(found))
    return textwrap.dedent(found[0])


@pytest.fixture
def workflows(tmp_path: Path) -> list[Path]:
    """The project's own workflow and the guide's."""
    guide = tmp_path / "templates.yml"
    guide.write_text(block("yaml", "runs-on"), encoding="utf-8")
    return [OWN, guide]


def valid(schema: str, *files: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        schema,
        *map(str, files),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_and_hooks_fit_their_schemas(workflows: list[Path], tmp_path: Path) -> None:
    valid("vendor.github-workflows", *workflows)
    hooks = tmp_path / "hooks.yaml"
    hooks.write_text(block("yaml", "repo: local"), encoding="utf-8")
    valid("custom.github-workflows-require-timeout", *workflows)
    for file in (hooks, ROOT / ".pre-commit-config.yaml"):
        done = subprocess.run(
            [sys.executable, "-m", "pre_commit", "validate-config", str(file)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_actionlint_finds_nothing(workflows: list[Path]) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = shutil.which("actionlint", path=path)
    if command is None:
        pytest.skip("actionlint is not installed")
    done = subprocess.run([command, *map(str, workflows)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_guide_goes_from_nothing_to_a_failing_commit(tmp_path: Path) -> None:
    told = {
        **environment(tmp_path / "cache"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PRE_COMMIT_HOME": str(tmp_path / "hooks"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{who}_NAME": "test" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "test@localhost" for who in ("AUTHOR", "COMMITTER")},
    }

    def typed(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-ec", text],
            cwd=folder,
            env=told,
            capture_output=True,
            text=True,
            timeout=280,
        )

    project = tmp_path / "prompts"
    for text, folder in (
        (block("sh", "mkdir prompts"), tmp_path),
        (block("sh", "--update"), project),
    ):
        done = typed(text, folder)
        assert done.returncode == 0, done.stdout + done.stderr
    config = block("yaml", "repo: local")
    (project / ".pre-commit-config.yaml").write_text(config, encoding="utf-8")
    (project / "test_prompts.py").write_text(block("python", "harness_gate"), encoding="utf-8")
    hook = "git add . && python -m pre_commit run --all-files"
    test = "python -m pytest -q -p no:cacheprovider"
    for text in (hook, test):
        done = typed(text, project)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "Passed" in typed(hook, project).stdout
    done = typed(block("sh", "sed -i"), project)
    assert done.returncode == 1, done.stdout + done.stderr
    for said in ("regress      base/as-is/ours: -", " became ", "-Answer:", "+Reply:"):
        assert said in done.stdout, done.stdout
    done = typed(hook, project)
    assert done.returncode == 1 and "regress" in done.stdout, done.stdout + done.stderr
    done = typed(test, project)
    assert done.returncode == 1 and "passes -> fails" in done.stdout, done.stdout + done.stderr
    assert typed("git checkout -q templates && " + hook, project).returncode == 1  # it was added
    assert typed("git checkout -q HEAD templates && " + hook, project).returncode == 0
