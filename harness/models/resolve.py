"""From a name to a file on this machine: paths, shipped models, families, repositories."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from harness.errors import ConfigError, DigestMismatch, ModelNotFound
from harness.intake import meant
from harness.models.digest import sha256_of_set
from harness.models.levels import canonical_level, choose
from harness.models.shards import shard_paths
from harness.models.spec import REPO, parse_remote
from harness.resources import resource_dir


def resolve_model(
    spec: str,
    *,
    level: str | None = None,
    base_dir: Path,
    sha256: str | None = None,
    progress: bool = False,
    offline: bool = False,
) -> Path:
    """The file a spec names, downloaded when it has to be; the first shard of a split model.

    A spec is a path (relative to ``base_dir`` or to the shipped models; ``{level}`` stands for the
    level; a folder is searched for the level), ``repo:QUANT``, ``repo@revision:file``, or
    ``family/stage``. ``sha256`` is the experiment's pin; ``offline`` asks no hub. Raises
    ModelNotFound, DigestMismatch, FetchError or ModelInvalid.
    """
    found = find_local(spec, level, base_dir)
    if found is None:
        remote = parse_remote(spec)
        from harness.models.hub import fetch

        found = fetch(remote, level=level, sha256=sha256, progress=progress, offline=offline)
    if sha256 is not None:
        digest = sha256_of_set(shard_paths(found))
        if digest != sha256.lower():
            raise DigestMismatch(
                f"{spec} is pinned to sha256 {sha256.lower()}, the file {found} has {digest}: it "
                "changed; restore the pinned file or change the pin"
            )
    return found


def find_local(spec: str, level: str | None, base_dir: Path) -> Path | None:
    """The file on this machine a spec names, None when it is a name for the hub."""
    tried = []
    for folder in (base_dir, *_shipped()):
        for name in _spellings(spec, level):
            try:
                path = folder / Path(name).expanduser()
                tried.append(path)
                if path.is_dir():
                    chosen = _in_folder(path, level)
                    if chosen or path.suffix or spec.startswith((".", "/", "~")):
                        return chosen or path
                elif path.is_symlink() or path.exists():
                    return path
                elif level and (beside := _beside(path, level)):
                    return beside
            except OSError:  # a name too long for a file system, a loop of links
                continue
    named = REPO.match(spec) if ":" in spec or "@" in spec else None
    a_file = spec.lower().endswith(".gguf") or "{level}" in spec or spec.startswith((".", "/", "~"))
    if a_file and not named:
        raise ModelNotFound(
            f"no file {tried[0]}; check the path (also looked among shipped models)"
            f"{meant(tried[0].name, _names_beside(tried))}"
        )
    return None


def _names_beside(places: Sequence[Path]) -> list[str]:
    """The names of the model files where one was looked for."""
    found: set[str] = set()
    for place in places:
        # A name too long for a file system, a folder that may not be read.
        with contextlib.suppress(OSError, ValueError):
            found |= {path.name for path in place.parent.glob("*.gguf")}
    return sorted(found)


def _shipped() -> tuple[Path, ...]:
    try:
        folder = resource_dir("models")
    except ConfigError:
        return ()
    return (folder, folder.parent)


def _spellings(spec: str, level: str | None) -> list[str]:
    if "{level}" not in spec:
        return [spec]
    if level is None:
        raise ModelNotFound(f"{spec} needs a level in place of {{level}}; give one")
    forms = (level, canonical_level(level), level.lower(), level.upper())
    return [spec.replace("{level}", form) for form in dict.fromkeys(forms)]


def _in_folder(folder: Path, level: str | None) -> Path | None:
    names = [str(path.relative_to(folder)) for path in folder.rglob("*.gguf")]
    if not names:
        return None
    return folder / choose(names, level, where=str(folder))[0]


def _beside(path: Path, level: str) -> Path | None:
    """``tiny-base`` with level Q8_0: the file ``tiny-base-Q8_0.gguf`` in that folder."""
    if not path.name or not path.parent.is_dir():
        return None
    starts = (f"{path.name}-".lower(), f"{path.name}.".lower())
    names = [
        other.name for other in path.parent.glob("*.gguf") if other.name.lower().startswith(starts)
    ]
    return path.parent / choose(names, level, where=str(path))[0] if names else None
