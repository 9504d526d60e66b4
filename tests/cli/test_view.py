"""`harness view`: finding the page, and serving it to this machine only."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli import main
from harness.cli.view import pages_server
from harness.reporting import Run, write_run
from harness.reporting.runs import find_live
from tests.support.browser import chromium
from tests.support.pictures import unrendered
from tests.support.scored import manifest, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("view") / "run"
    with unrendered():
        write_run(Run(place, manifest(), tuple(run(6))))
    return place


def test_the_page_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(folder), "--no-open"]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")


def test_a_folder_without_a_page_says_how_to_make_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    assert main(["view", str(tmp_path), "--no-open"]) == 2
    assert "harness report" in capsys.readouterr().err


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "view", str(folder), "--serve", "--no-open"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    yield int(line.split("127.0.0.1:")[1].split("/")[0])
    process.terminate()  # not Ctrl-C: where tests run in the background it is ignored
    process.wait(timeout=20)


STATE = {
    "experiment": "<img src=x onerror=\"document.title='ran'\">",
    "started": "2026-01-01T00:00:00+00:00",
    "phase": "model 1 of 2",
    "done": 3,
    "total": 9,
    "failed": 1,
    "arms": [
        {"condition": "base/F16/<b>", "total": 9, "done": 3, "failed": 1, "judged": 2, "passed": 1}
    ],
}


@pytest.mark.slow
def test_a_run_that_goes_on_is_shown_until_its_report_is_there(
    folder: Path, tmp_path: Path
) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    going = tmp_path / "reports" / "tiny" / "run"
    going.mkdir(parents=True)
    (going / "live.json").write_text(json.dumps(STATE), encoding="utf-8")
    assert find_live("latest", tmp_path / "reports") == going
    assert find_live("tiny", tmp_path / "reports") == going
    assert find_live("other", tmp_path / "reports") is None
    server = pages_server(going, 0)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    with server, chromium(tmp_path) as driver:

        def until(script: str) -> None:
            WebDriverWait(driver, 20).until(lambda one: one.execute_script(f"return {script}"))

        driver.get(f"http://127.0.0.1:{server.server_address[1]}/")
        until("document.querySelectorAll('#arms tr').length === 1")
        text = driver.execute_script("return document.body.textContent")
        assert "3 of 9 answered, 1 failed" in text
        assert "base/F16/<b>" in text
        assert "50.0 %" in text
        assert driver.title == "A run that goes on"
        shutil.copy(folder / "report.html", going / "report.html")
        (going / "live.json").unlink()
        until("location.pathname === '/report.html' && document.body.dataset.ready === 'yes'")
        assert [e for e in driver.get_log("browser") if "Security" in e["message"]] == []
        server.shutdown()


def test_pages_are_served_to_this_machine_and_nothing_else_is(folder: Path, port: int) -> None:
    def status(path: str, host: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status != 200 or body == (folder / "report.html").read_bytes()
        return answer.status

    own = f"127.0.0.1:{port}"
    assert status("/", own) == status("/report.html", f"localhost:{port}") == 200
    assert status("/", "evil.example") == 403
    for path in ("/manifest.json", "/../run/manifest.json", "/samples.jsonl", "/report-9.html"):
        assert status(path, own) == 404
