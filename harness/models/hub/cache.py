"""huggingface_hub's cache: where its files lie, and whether they are those of the listing."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.errors import FetchError, ModelNotFound
from harness.models.digest import sha256_of
from harness.models.hub.listing import Entry, Listing
from harness.models.spec import Remote

_MARGIN = 64 << 20
_BLOCK = 1 << 20


def require_space(entries: Sequence[Entry]) -> None:
    """Raise FetchError where the cache's disk has no room for these files."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    need = sum(entry.size for entry in entries) + _MARGIN
    free = shutil.disk_usage(folder).free
    if entries and need > free:
        raise FetchError(
            f"{need / 1e9:.1f} GB are needed for {len(entries)} files, {folder} has "
            f"{free / 1e9:.1f} GB free; make room or point HF_HOME at a larger disk"
        )


def storage(repo: str) -> Path:
    """A repository's folder in the cache; ModelNotFound for what is no repository's name."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.file_download import repo_folder_name

    try:
        return Path(HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model")
    except HFValidationError as error:
        raise ModelNotFound(
            f"{repo!r:.120} is no file here and no name of a repository; write owner/repo:QUANT"
        ) from error


def cached(listing: Listing, entry: Entry) -> Path | None:
    """A file of a listing in the cache, None where it is not there."""
    path = storage(listing.repo) / "snapshots" / listing.commit / entry.name
    return path if path.is_file() else None


def snapshot(remote: Remote) -> Path | None:
    """The cached snapshot a revision stood for when it was last fetched."""
    place = storage(remote.repo)
    commit = remote.revision
    with contextlib.suppress(OSError):
        commit = (place / "refs" / remote.revision).read_text(encoding="utf-8").strip()
    folder = place / "snapshots" / commit
    return folder if folder.is_dir() else None


def remember(remote: Remote, commit: str) -> None:
    """Note in the cache which commit a branch stood for, as huggingface_hub does."""
    if remote.revision == commit:
        return
    ref = storage(remote.repo) / "refs" / remote.revision
    with contextlib.suppress(OSError):  # a cache that is only readable still serves
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit, encoding="utf-8")


def is_entry(path: Path, entry: Entry) -> bool:
    """Whether a file's bytes are those of the record."""
    return path.stat().st_size == entry.size and entry_digest(path, entry) == entry.blob


def entry_digest(path: Path, entry: Entry) -> str:
    """A file's digest of the kind its record has: sha256, or git's blob id."""
    if entry.sha256:
        return sha256_of(path)
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
