"""The public face: what `import harness` offers, what it costs, and whether its page is true."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.checks.plugins import only_here
from harness.checks.registry import _REGISTRY
from harness.reporting.tables import TABLES

DOCS = Path(harness.__file__).parent.parent / "docs"


def test_the_public_names_are_these_and_each_loads() -> None:
    assert harness.__all__ == [
        "Context",
        "Example",
        "Experiment",
        "Outcome",
        "Run",
        "ask",
        "check",
        "choose",
        "load_experiment",
        "override",
        "read_run",
        "run",
        "score",
    ]
    for name in harness.__all__:
        assert inspect.getdoc(getattr(harness, name))
        assert name in dir(harness)
        assert f"`{name}" in (DOCS / "api.md").read_text("utf-8")
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        harness.rum  # noqa: B018


def test_importing_the_package_loads_nothing_of_weight() -> None:
    heavy = (
        "pandas",
        "numpy",
        "pydantic",
        "llama_cpp",
        "jinja2",
        "rich",
        "typer",
        "harness.config",
    )
    script = f"import sys, harness; print([n for n in {heavy!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_page_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "api.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks[0].strip().splitlines()) <= 10
    space: dict[str, Any] = {}
    try:
        for number, block in enumerate(blocks):
            exec(compile(block, f"docs/api.md block {number}", "exec"), space)
        assert only_here()
    finally:
        _REGISTRY.pop("ends_politely", None)  # other tests judge without it
    assert not only_here()
    printed = capsys.readouterr().out
    assert re.search(r"^qa recovers (nan|-?\d+)%", printed, re.MULTILINE)
    run, again = space["run"], space["again"]
    for name in TABLES:
        made, read = getattr(run, name), getattr(again, name)
        assert made.dtypes.equals(read.dtypes), name
        assert made.equals(read), name
    assert (tmp_path / "first" / "report.md").is_file()
    judged = space["judged"].scores
    assert list(judged["strict"]) == [False, True]
    assert not (tmp_path / "responses").exists()


def test_every_column_is_described_with_its_type() -> None:
    page = (DOCS / "reports.md").read_text("utf-8")
    columns = page.partition("## Columns")[2]
    for name, table in TABLES.items():
        section = columns.partition(f"### `{name}`")[2].partition("###")[0]
        for column in table.columns:
            assert f"| `{column}` | {table.dtype(column)} |" in section, (name, column)
