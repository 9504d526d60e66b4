"""One way to write a file: whole, under its name, or not at all.

A draft stands beside the target under a hidden name and takes the name when it is complete and on
the disk. Whoever writes holds a lock on its draft, so what a killed process left behind is known
from what a living one is writing, and the next writer of the same file removes it. A link in the
target's place is replaced, never followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from harness.errors import HarnessError, OutputError

try:
    import fcntl
except ImportError:  # Windows: no locks on drafts, so what a kill left behind stays
    fcntl = None  # type: ignore[assignment]

_ADVICE = {
    errno.ENOSPC: "free some space there, or choose another place",
    errno.EDQUOT: "free some space there, or choose another place",
    errno.EFBIG: "files may not grow that large there: choose another place",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.ENOTDIR: "a file stands where a folder is wanted: choose another place",
    errno.EISDIR: "a folder stands there: choose another name",
}


@contextmanager
def replacing(path: Path, refusal: type[HarnessError] = OutputError) -> Iterator[Path]:
    """The path of an empty draft that becomes ``path`` when the block ends well.

    After an error, or a kill, ``path`` is what it was before. Its folder is made when missing.
    Raises ``refusal`` when the disk says no.
    """
    with translated(path, refusal):
        path.parent.mkdir(parents=True, exist_ok=True)
        _refuse_odd(path)
        sweep(path)
        draft, handle = _draft(path)
    try:
        with translated(path, refusal):
            yield draft
            _settle(draft)
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def writing(path: Path, refusal: type[HarnessError] = OutputError) -> Iterator[IO[str]]:
    """A stream of UTF-8 text with LF line ends that becomes ``path`` when the block ends well."""
    with replacing(path, refusal) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        yield stream


def write_text(path: Path, text: str, refusal: type[HarnessError] = OutputError) -> None:
    """Make ``path`` hold this text, as it is; see :func:`replacing`."""
    with writing(path, refusal) as stream:
        stream.write(text)


def write_bytes(path: Path, data: bytes, refusal: type[HarnessError] = OutputError) -> None:
    """Make ``path`` hold these bytes; see :func:`replacing`."""
    with replacing(path, refusal) as draft:
        draft.write_bytes(data)


@contextmanager
def translated(path: Path, refusal: type[HarnessError] = OutputError) -> Iterator[None]:
    """What the disk says, as one line that names the file and what to do."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        advice = _ADVICE.get(error.errno or 0, "check the folder")
        raise refusal(f"{path} cannot be written: {why}; {advice}") from error


def sweep(path: Path) -> None:
    """Remove the drafts of ``path`` that nobody is writing any more."""
    if fcntl is None:
        return
    for draft in path.parent.glob(f".{_escaped(path.name)}.*.part"):
        with contextlib.suppress(OSError):
            handle = os.open(draft, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                draft.unlink()
            finally:
                os.close(handle)


def _refuse_odd(path: Path) -> None:
    """A device, a pipe or a folder is nobody's file to replace (``-o /dev/null`` as root)."""
    if os.path.lexists(path):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            raise OSError(errno.EEXIST, "something that is no file stands there")


def _draft(path: Path) -> tuple[Path, int]:
    """A new empty draft beside ``path`` and the handle that holds its lock."""
    while True:
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if fcntl is None:
            return draft, handle
        with contextlib.suppress(OSError):  # a file system without locks: its drafts are not swept
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if draft.exists():  # another process may have swept it before it was locked
            return draft, handle
        os.close(handle)


def _settle(draft: Path) -> None:
    """Have the draft's bytes on the disk before it takes the name."""
    with draft.open("rb+") as stream:
        os.fsync(stream.fileno())


def _escaped(name: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)
