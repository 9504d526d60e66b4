"""A full disk: a command in a mount namespace of its own, where a folder is a tiny tmpfs.

    disk = SmallDisk(folder, kib=64)
    done = disk.harness("run", "tiny", "-o", folder / "out", cache=elsewhere)
    disk.kept          # a folder with what lay on the small disk when the command had ended

Needs no rights but Linux' user namespaces; ``possible()`` says whether they are allowed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from tests.support.command import ROOT, environment

_SCRIPT = """\
mount -t tmpfs -o size=$1k tmpfs "$2" || exit 99
[ -z "$3" ] || cp -r "$3/." "$2/" || exit 98
place=$2; kept=$4; shift 4
"$@"
code=$?
cp -r "$place/." "$kept" || exit 97
exit $code
"""


@lru_cache(maxsize=1)
def possible() -> bool:
    """Whether a tmpfs can be mounted here without being root."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0


class SmallDisk:
    """A folder on a disk of ``kib`` KiB for one command, filled first with what ``holding`` has."""

    def __init__(self, folder: Path, kib: int, holding: Path | None = None) -> None:
        self.folder, self.kib, self.holding = folder, kib, holding
        self.kept = folder.with_name(f"{folder.name}.kept")
        for made in (self.folder, self.kept):
            made.mkdir(parents=True)

    def harness(
        self, *arguments: object, cache: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``harness ARGUMENTS`` while the folder is small."""
        place = [str(self.kib), str(self.folder), str(self.holding or ""), str(self.kept)]
        return subprocess.run(
            [
                *("unshare", "-Urm", "sh", "-c", _SCRIPT, "sh", *place),
                *(sys.executable, "-m", "harness", *map(str, arguments)),
            ],
            cwd=ROOT,
            env={**environment(cache), **(env or {})},
            capture_output=True,
            encoding="utf-8",
            timeout=280,
        )

    def files(self) -> dict[str, bytes]:
        """What is on the disk afterwards, by path."""
        found = (path for path in self.kept.rglob("*") if path.is_file())
        return {str(path.relative_to(self.kept)): path.read_bytes() for path in found}
