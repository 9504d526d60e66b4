"""`harness view`: finding the page, and serving it to this machine only."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli import main
from harness.reporting import Run, write_run
from tests.scored import manifest, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("view") / "run"
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
