"""report.html in a real browser: hostile answers, the explorer, accessibility."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.records import Condition
from harness.reporting import Run, write_run
from harness.reporting.html import explorer as page
from tests.support.browser import chromium, opened, require_browser
from tests.support.chosen import chosen
from tests.support.scored import manifest, passes, row, run, sample

RAW = Condition("base", "F16", "raw")
QA = Condition("base", "F16", "qa")
NATIVE = Condition("dpo", "F16", "native")
HOSTILE = (
    "<script>document.title='ran'</script>",
    "<img src=x onerror=\"document.title='ran'\">",
    "</script><script>document.title='ran'</script>",
    "<!-- <script> -->",
    "{{ 7 * 7 }} {% raw %} ${7 * 7}",
    '"]}</script><svg onload="document.title=\'ran\'">',
    "\u202eevil\u202c \u2066x\u2069 \x1b[31m \x00",
    "javascript:document.title='ran'",
    "x" * 1_000_000,
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run in which every text that others write is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = []
    for number, text in enumerate(HOSTILE):
        item = sample(f"i{number}{text[:60]}", category=text[:80], query=text)
        for condition in (RAW, QA, NATIVE):
            rows.append(
                row(item, condition, (True, condition == NATIVE), text=text, reason=text[:5000])
            )
    made = manifest(warnings=(HOSTILE[0],), command=HOSTILE[1])
    write_run(Run(folder, made, tuple(rows), choice=chosen()))
    return folder / "report.html"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    write_run(Run(folder, manifest(), tuple(run(40)), choice=chosen()))
    return folder / "report.html"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("browser")) as started:
        yield started


def asked(driver: Any) -> list[str]:
    """The addresses that the browser asked for."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


def shown(driver: Any) -> list[str]:
    return driver.execute_script(
        "return [...document.querySelectorAll('#items button')].map((b) => b.dataset.id)"
    )


def test_hostile_texts_run_nothing_and_break_nothing(driver: Any, hostile: Path) -> None:
    opened(driver, hostile)
    assert driver.title == "tiny"
    assert len(shown(driver)) == len(HOSTILE)
    for _ in HOSTILE:
        driver.execute_script("step(1)")
        assert (
            driver.execute_script(
                "return document.querySelectorAll('main script, main svg, #item img').length"
            )
            == 0
        )
    assert driver.title == "tiny"
    text = driver.execute_script("return document.body.textContent")
    assert "<script>document.title='ran'</script>" in text
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x1b]", text)
    assert "more characters in samples.jsonl" in text
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert not [url for url in asked(driver) if url.startswith(("http", "ws", "ftp"))]


def test_the_policy_forbids_what_is_not_the_pages_own(driver: Any, plain: Path) -> None:
    opened(driver, plain)
    driver.execute_script(
        "const s = document.createElement('script'); s.textContent = 'document.title = \"ran\"';"
        "document.body.append(s);"
        "const i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x.png';"
        "document.body.append(i);"
    )
    assert driver.title == "tiny"
    assert any("Content Security Policy" in entry["message"] for entry in driver.get_log("browser"))


def test_items_are_filtered_searched_walked_and_linked_to(driver: Any, plain: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    opened(driver, plain)
    every = shown(driver)
    assert len(every) == 40
    body = driver.find_element(By.TAG_NAME, "body")
    body.send_keys("d")
    differ = shown(driver)
    assert 0 < len(differ) < 40
    assert "differ" not in driver.current_url
    body.send_keys("j")
    assert driver.execute_script("return current.id") == differ[1]
    assert driver.current_url.endswith(f"#item={differ[1]}")
    body.send_keys("a")
    body.send_keys("/")
    driver.switch_to.active_element.send_keys(every[7], Keys.TAB)
    assert every[7] in shown(driver)
    assert len(shown(driver)) < 40
    opened(driver, plain, every[20])
    assert driver.execute_script("return current.id") == every[20]
    heading = driver.find_element(By.CSS_SELECTOR, "#item h3")
    assert heading.text.startswith(every[20])


@pytest.mark.usefixtures("unrendered")
def test_every_filter_narrows_what_is_shown(driver: Any, tmp_path: Path) -> None:
    items = [sample("plain", "facts"), sample("hostile", HOSTILE[0]), sample("quiet", "facts")]
    low = Condition("base", "Q2_K", "qa")
    rows = [row(item, arm, (True, True)) for item in items for arm in (QA, low, NATIVE)]
    rows[0] = row(items[0], QA, (False, True), text="Tea, jam", reason="1 comma")
    rows[4] = row(items[1], low, (True, False), text=HOSTILE[4] + "\nQuestion: more cake")
    rows[8] = passes(items[2], NATIVE, None)
    write_run(Run(tmp_path, manifest(), tuple(rows)))
    opened(driver, tmp_path / "report.html")

    def chosen(**values: str) -> list[str]:
        driver.execute_script(
            "document.getElementById('filters').reset();"
            "for (const [id, value] of Object.entries(arguments[0]))"
            " { document.getElementById(id).value = value; } list();",
            values,
        )
        return sorted(shown(driver))

    assert chosen(level="") == ["hostile", "plain", "quiet"]
    assert chosen(level="", which="failed") == ["hostile", "plain"]
    assert chosen(level="", which="missing") == ["quiet"]
    assert chosen(level="", which="differ") == ["hostile", "plain", "quiet"]
    assert chosen(level="F16", which="failed") == ["plain"]
    assert chosen(level="Q2_K", which="failed") == ["hostile"]
    assert chosen(level="", which="failed", check="target") == ["hostile"]
    assert chosen(level="", which="failed", check="punctuation:no_comma") == ["plain"]
    assert chosen(level="", category=HOSTILE[0]) == ["hostile"]
    assert chosen(level="", which="failed", arm="dpo native") == []
    assert chosen(level="", search="1 COMMA") == ["plain"]
    assert chosen(level="", search="more cake") == ["hostile"], "what came after the stop string"
    assert chosen(level="", search="no answer") == ["quiet"], "why an answer is missing"
    assert driver.title == "tiny"


@pytest.mark.usefixtures("unrendered")
def test_what_decided_a_verdict_is_marked_in_the_answer(driver: Any, tmp_path: Path) -> None:
    text = "\x1b[1m😀 tea, <b>jam</b>, 😀 cake"
    commas = tuple((at, at + 1) for at, sign in enumerate(f"Sure: {text}") if sign == ",")
    emoji = f"Sure: {text}".index("😀")
    plain = row(sample("a"), RAW, (False, True), text=text)
    results = (
        replace(plain.results[0], spans=commas),
        replace(plain.results[1], spans=((0, 4), (emoji, emoji + 5), (5, 10_000))),
    )
    marked = replace(plain, prefill="Sure: ", results=results)
    write_run(Run(tmp_path, manifest(), (marked, row(sample("a"), NATIVE, (True, True)))))
    opened(driver, tmp_path / "report.html")
    found = driver.execute_script(
        "return ['bad', 'good'].map((kind) => "
        "[...document.querySelectorAll(`#item .card mark.${kind}`)].map((m) => m.textContent))"
    )
    assert found == [[",", ","], ["Sure", "😀 tea"]]
    whole = driver.execute_script("return document.querySelector('#item .card pre').textContent")
    assert whole == "Sure: \\x1b[1m😀 tea, <b>jam</b>, 😀 cake"
    titles = driver.execute_script("return document.querySelector('#item mark.bad').title")
    assert titles == "fails punctuation:no_comma"


def test_a_table_is_sorted_by_numbers(driver: Any, plain: Path) -> None:
    opened(driver, plain)
    column = driver.execute_script(
        "const head = [...document.querySelectorAll('section[aria-labelledby=conditions] th')]"
        ".find((h) => h.textContent === 'prompt strict'); head.querySelector('button').click();"
        "return [...document.querySelectorAll('section[aria-labelledby=conditions] tbody tr')]"
        ".map((r) => Number(r.cells[3].dataset.value))"
    )
    assert column == sorted(column, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)], ids=["desk", "phone"])
def test_axe_finds_no_serious_fault(plain: Path, tmp_path: Path, width: int, dark: bool) -> None:
    require_browser()
    from axe_selenium_python import Axe

    with chromium(tmp_path, width=width, dark=dark) as started:
        opened(started, plain)
        axe = Axe(started)
        # The page's policy would forbid axe to run, as it should: axe comes in as the debugger.
        started.execute_cdp_cmd(
            "Runtime.evaluate", {"expression": Path(axe.script_url).read_text("utf-8")}
        )
        found = axe.run()
    serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    assert not serious, [(v["id"], [n["html"][:200] for n in v["nodes"]][:3]) for v in serious]


def test_the_decision_stands_in_the_page_in_the_reports_own_words(plain: Path) -> None:
    text = plain.read_text(encoding="utf-8")
    report = (plain.parent / "report.md").read_text(encoding="utf-8")
    sentence = re.search(r"\*\*wrapper, [a-z ]+:\*\* (.+)", report)
    assert sentence is not None
    assert sentence[1].replace("\\", "") in text


@pytest.mark.usefixtures("unrendered")
def test_a_run_too_large_for_one_page_is_spread_and_old_pages_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tuple(
        passes(sample(f"i{n}"), c, n % 2 == 0) for n in range(30) for c in (RAW, QA, NATIVE)
    )
    monkeypatch.setattr(page, "PAGE_BYTES", 400)
    write_run(Run(tmp_path, manifest(), rows))
    several = sorted(path.name for path in tmp_path.glob("report*.html"))
    assert len(several) > 2
    assert all(
        f'href="{name}"' in (tmp_path / "report.html").read_text("utf-8")
        for name in several
        if name != "report.html"
    )
    monkeypatch.undo()
    write_run(Run(tmp_path, manifest(), rows))
    assert [path.name for path in tmp_path.glob("report*.html")] == ["report.html"]


def test_what_stands_behind_the_answer_reads_as_in_the_markdown(driver: Any, plain: Path) -> None:
    told = (plain.parent / "report.md").read_text(encoding="utf-8")
    opened(driver, plain)
    for title in ("Strategy against strategy", "Counted otherwise", "What no model scores"):
        rows = told.partition(f"\n## {title}\n")[2].partition("\n## ")[0].count("\n| ") - 2
        name = title.lower().replace(" ", "-")
        cells = driver.execute_script(
            "return document.querySelectorAll(`section[aria-labelledby=${arguments[0]}] tbody tr`)"
            ".length",
            name,
        )
        assert cells == rows > 0, title
