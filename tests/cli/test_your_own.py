"""docs/your-own.md, typed from its first line to its last by somebody who has nothing yet."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import ROOT, environment, samples, table

PAGE = (ROOT / "docs/your-own.md").read_text(encoding="utf-8")
FENCE = re.compile(r"(?:Save as `([^`]+)`:\n\n)?```(\w+)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder after every file was saved and every block was run, and what each printed."""
    folder = tmp_path_factory.mktemp("own")
    bin = Path(sys.executable).parent
    path = f"{bin}{os.pathsep}{os.environ['PATH']}"
    said = {}
    for name, language, text in FENCE.findall(PAGE):
        if name:
            place = folder / name
            place.parent.mkdir(exist_ok=True)
            place.write_text(text, encoding="utf-8")
            continue
        assert language == "sh", text
        done = subprocess.run(
            ["bash", "-e", "-c", text],
            cwd=folder,
            env=environment(folder / "cache", PATH=path, BROWSER="true", COLUMNS="120"),
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        said[text] = done.stdout
    return folder, said


@pytest.mark.slow
def test_every_command_of_the_page_ends_well(typed: tuple[Path, dict[str, str]]) -> None:
    folder, said = typed
    everything = "\n".join(said.values())
    assert "Nothing was judged: no item of this run has a check or a target" in everything
    assert "tickets: 12 items in 3 categories, 12 judged" in everything
    assert "0 errors, 0 warnings" in everything and "1 templates, 0 errors, 2 notes" in everything
    assert "Ticket: I was charged twice this month." in everything
    assert str(Path("tickets/report.html")) in everything
    assert (folder / "tickets/report.html").is_file()


@pytest.mark.slow
def test_the_tickets_are_twelve_and_judged_by_schema_priority_and_an_own_check(
    typed: tuple[Path, dict[str, str]],
) -> None:
    rows = samples(typed[0] / "tickets")
    arms = {(row["stage"], row["strategy"]) for row in rows if row["stage"] != "control"}
    assert arms == {("base", n) for n in ("raw", "qa", "ticket")} | {("instruct", "native")}
    assert len({row["sample_id"] for row in rows}) == 12
    kinds = [[verdict["id"] for verdict in row["checks"]] for row in rows]
    assert set(map(tuple, kinds)) == {("contains_json", "contains_json", "ticket:kind_reply")}
    # A constant answer is right for every ticket of low priority: half of them.
    summary = table(typed[0] / "tickets/summary.csv")
    (constant,) = [row for row in summary if row["strategy"].startswith("says {")]
    assert float(constant["prompt_level_strict_acc"]) == 0.5


@pytest.mark.slow
def test_two_files_and_prompts_become_a_page_in_three_commands(
    typed: tuple[Path, dict[str, str]],
) -> None:
    first = next(iter(typed[1]))
    assert len([line for line in first.splitlines() if line.strip()]) == 3
    (page,) = (typed[0] / "reports/two-files").glob("*/report.html")
    text = page.read_text(encoding="utf-8")
    assert "Nothing was judged" in text


def test_the_readme_links_the_page_on_its_first_screen() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert any("docs/your-own.md" in line for line in readme[:24])
