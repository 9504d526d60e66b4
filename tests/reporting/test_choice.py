"""The choice's page, Markdown and JSON: hostile texts stay text, and the page is accessible."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.reporting.choice import as_lines
from harness.reporting.html.choose import write_choice
from tests.support.browser import chromium, require_browser
from tests.support.chosen import chosen


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("choice") / "new"
    write_choice(chosen(), made)
    return made


def test_every_use_stands_in_every_form_in_the_same_words(folder: Path) -> None:
    told = chosen()
    report = (folder / "choice.md").read_text(encoding="utf-8").replace("\\", "")
    page = (folder / "choice.html").read_text(encoding="utf-8")
    kept = json.loads((folder / "choice.json").read_text(encoding="utf-8"))
    printed = "\n".join(as_lines(told))
    for row, held in zip(told.rows, kept["rows"], strict=True):
        sentence = row.decision.sentence
        assert held["decision"]["sentence"] == sentence
        assert sentence in printed
        assert sentence in report
        assert sentence.replace("'", "&#39;") in page
        assert held["pick"] in page


def test_hostile_texts_move_no_terminal_and_make_no_markup(folder: Path) -> None:
    assert "\x1b" not in "\n".join(as_lines(chosen()))
    for name in ("choice.md", "choice.html", "choice.json"):
        assert "\x1b" not in (folder / name).read_text(encoding="utf-8")
    assert "<script>document" not in (folder / "choice.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)], ids=["desk", "phone"])
def test_the_page_runs_nothing_and_has_no_serious_fault(
    folder: Path, tmp_path: Path, width: int, dark: bool
) -> None:
    require_browser()
    from axe_selenium_python import Axe

    with chromium(tmp_path, width=width, dark=dark) as driver:
        driver.get((folder / "choice.html").as_uri())
        assert driver.title == "Which of the two models, for what"
        errors: list[Any] = driver.get_log("browser")
        axe = Axe(driver)
        driver.execute_cdp_cmd(
            "Runtime.evaluate", {"expression": Path(axe.script_url).read_text("utf-8")}
        )
        found = axe.run()
    assert errors == []
    serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    assert not serious, [(v["id"], [n["html"][:200] for n in v["nodes"]][:3]) for v in serious]
