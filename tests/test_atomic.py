"""One atomic write: a file is whole or not there, and nothing is left beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.atomic import replacing, write_bytes, write_text
from harness.errors import OutputError


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_is_replaced_whole_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "report.md"
    write_text(target, "first\r\n")
    write_bytes(target, b"second\n")
    assert target.read_bytes() == b"second\n"
    assert names(target.parent) == ["report.md"]
    mask = os.umask(0)
    os.umask(mask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~mask  # not a temporary file's 0600


def test_an_error_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    target = tmp_path / "summary.csv"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError), replacing(target) as draft:
        draft.write_text("half")
        raise ZeroDivisionError
    assert (target.read_text(), names(tmp_path)) == ("old", ["summary.csv"])


def test_a_link_is_replaced_and_never_followed_and_a_device_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "precious"
    elsewhere.write_text("mine")
    link = tmp_path / "report.md"
    link.symlink_to(elsewhere)
    write_text(link, "theirs")
    assert (elsewhere.read_text(), link.is_symlink()) == ("mine", False)
    with pytest.raises(OutputError, match="no file"):
        write_text(Path(os.devnull), "theirs")
    assert Path(os.devnull).is_char_device()


_KILLED = """
import os, signal, sys
from pathlib import Path
from harness.atomic import replacing
with replacing(Path(sys.argv[1])) as draft:
    draft.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_write_leaves_the_old_file_and_the_next_write_clears_its_draft(
    tmp_path: Path,
) -> None:
    target = tmp_path / "samples.jsonl"
    write_text(target, "old")
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    assert len(names(tmp_path)) == 2  # the draft of the dead
    with replacing(target) as living:
        write_text(target, "another")  # sweeps the dead one's draft, not the living one's
        assert names(tmp_path) == sorted([living.name, "samples.jsonl"])
        living.write_text("new")
    assert (target.read_text(), names(tmp_path)) == ("new", ["samples.jsonl"])
