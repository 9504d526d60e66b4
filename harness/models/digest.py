"""sha256 of large files, remembered for as long as the file does not change."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

from harness.atomic import write_text
from harness.errors import ModelInvalid, OutputError
from harness.hashing import file_sha256, tagged_hash
from harness.resources import made_folder

_RACY_SECONDS = 2.0


def sha256_of(path: Path) -> str:
    """A file's sha256, read from the cache while its size, mtime and inode are the same.

    A digest of a file written less than two seconds ago is not remembered: a second write within
    the clock's grain would leave the same stamp (git calls such an index entry racy).
    """
    try:
        before = _stamp(path)
        entry = made_folder("digests") / f"{tagged_hash('stamp', before)[:32]}.json"
        if found := _remembered(entry, before):
            return found
        digest = file_sha256(path)
        changed = _stamp(path) != before
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelInvalid(f"{path} cannot be read: {reason}; check the path") from error
    if changed:
        raise ModelInvalid(f"{path} changed while it was read; wait until it is complete")
    if time.time() - path.stat().st_mtime > _RACY_SECONDS:
        _remember(entry, before, digest)
    return digest


def sha256_of_set(paths: tuple[Path, ...]) -> str:
    """The digest of a model: its one file's, or a tagged hash over its shards' in order."""
    digests = [sha256_of(path) for path in paths]
    return digests[0] if len(digests) == 1 else tagged_hash("shards", digests)


def _stamp(path: Path) -> list[str | int]:
    real = path.resolve(strict=True)
    stat = real.stat()
    return [str(real), stat.st_size, stat.st_mtime_ns, stat.st_ino]


def _remembered(entry: Path, stamp: list[str | int]) -> str | None:
    try:
        record = json.loads(entry.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("stamp") != stamp:
        return None
    digest = record.get("sha256")
    return digest if isinstance(digest, str) and len(digest) == 64 else None


def _remember(entry: Path, stamp: list[str | int], digest: str) -> None:
    # A cache that cannot be written costs time, never the answer.
    with contextlib.suppress(OutputError):
        write_text(entry, json.dumps({"stamp": stamp, "sha256": digest}))
