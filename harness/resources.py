"""Where the files that ship with the harness live: the checkout, or the installed wheel."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import ConfigError

KINDS = ("templates", "datasets", "experiments", "models")


def resource_dir(kind: str) -> Path:
    """The folder of shipped ``templates``, ``datasets``, ``experiments`` or ``models``.

    Raises ConfigError when the installation lacks it.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / "_data" / kind, package.parent / kind):
        if candidate.is_dir():
            return candidate
    raise ConfigError(f"the installation has no {kind}/ folder; reinstall gguf-pair-harness")


def find_resource(kind: str, name: str, suffix: str) -> Path | None:
    """A path as given, or a shipped file of that name (``starter`` -> datasets/starter.jsonl)."""
    given = Path(name)
    if _is_file(given):
        return given
    shipped = resource_dir(kind) / (given.name if given.suffix else f"{given.name}{suffix}")
    plain = given.parent in (Path(), Path(kind))
    return shipped if plain and _is_file(shipped) else None


def _is_file(path: Path) -> bool:
    """Whether it is a regular file; False too for a name that no file system takes."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


MADE_FOLDERS = ("digests", "quantized", "sent", "suites")
"""The folders that the harness makes inside its cache."""

_TAG = "CACHEDIR.TAG"
_MARK = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# Made by gguf-pair-harness; `harness cache clean --files` removes this folder.\n"
    "# The first line is a convention of backup programs: https://bford.info/cachedir/\n"
)


def made_folder(name: str) -> Path:
    """The cache's folder of that name, made and marked as the harness's own when it is missing.

    A folder that was there before, without the mark, is used and never marked: it is somebody
    else's to remove.
    """
    folder = cache_dir() / name
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _TAG).write_text(_MARK, encoding="utf-8")
    return folder


def is_made(folder: Path) -> bool:
    """Whether the harness made this folder: its name, no link, and the mark inside."""
    tag = folder / _TAG
    try:
        ours = folder.name in MADE_FOLDERS and not folder.is_symlink() and folder.is_dir()
        return ours and not tag.is_symlink() and tag.read_text(encoding="utf-8") == _MARK
    except (OSError, UnicodeDecodeError):
        return False


def reports_dir() -> Path:
    """Where runs are written and looked for: $HARNESS_REPORTS, else ``reports`` right here."""
    return Path(os.environ.get("HARNESS_REPORTS") or "reports").expanduser()


def cache_dir() -> Path:
    """Where answers and made files are kept: $HARNESS_CACHE, else the platform's cache folder."""
    if chosen := os.environ.get("HARNESS_CACHE"):
        return Path(chosen).expanduser()
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(base).expanduser() / "gguf-pair-harness"
