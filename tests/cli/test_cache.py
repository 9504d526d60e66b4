"""`harness cache`: what it shows and what it may remove."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import main
from harness.resources import MADE_FOLDERS, made_folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of somebody's, named as the cache."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("option", ["--files", "--all"])
def test_clean_removes_what_the_harness_made_and_nothing_else(
    place: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    for name in MADE_FOLDERS:
        (made_folder(name) / "x").write_bytes(b"1" * 2048)
    assert main(["cache", "clean", option]) == 0
    assert sorted(path.name for path in place.iterdir()) == ["letter.txt", "photos"]
    assert (place / "photos" / "cat.jpg").read_bytes() == b"cat"


def test_a_folder_of_that_name_that_the_harness_did_not_make_stays(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "quantized").mkdir()
    (place / "quantized" / "mine.gguf").write_bytes(b"mine")
    outside = place / "photos"
    (place / "digests").symlink_to(outside)
    made_folder("quantized")  # used, and not marked
    assert main(["cache", "clean", "--all"]) == 0
    assert (place / "quantized" / "mine.gguf").read_bytes() == b"mine"
    assert (outside / "cat.jpg").exists()
    assert "left alone" in capsys.readouterr().out
    assert main(["cache", "list"]) == 0
    assert "not made by the harness" in capsys.readouterr().out


def test_clean_wants_to_be_told_what(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "clean"]) == 2
    assert "say what: --all" in capsys.readouterr().err
