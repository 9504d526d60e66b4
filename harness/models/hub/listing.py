"""What the hub says a repository holds, at one commit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.models.hub.talk import asking
from harness.models.spec import Remote


@dataclass(frozen=True, slots=True)
class Wanted:
    """One model to fetch: where it is, the level, the pin, whether an upstream change is taken."""

    remote: Remote
    level: str | None = None
    sha256: str | None = None
    update: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """The hub's record of one file; ``sha256`` is None for small files kept in git itself."""

    name: str
    size: int
    sha256: str | None
    git_id: str

    @property
    def blob(self) -> str:
        """The file's name among the cache's blobs, and its ETag."""
        return self.sha256 or self.git_id


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at one commit."""

    repo: str
    commit: str
    files: Mapping[str, Entry] = field(default_factory=dict)


def listing_of(remote: Remote) -> Listing:
    """What the hub says a repository holds. Raises ModelNotFound or FetchError."""
    return asking(remote.repo, lambda: _ask_listing(remote))


def _ask_listing(remote: Remote) -> Listing:
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_ETAG_TIMEOUT

    info = HfApi().model_info(
        remote.repo,
        revision=remote.revision,
        files_metadata=True,
        timeout=float(HF_HUB_ETAG_TIMEOUT),
    )
    files = {}
    for sibling in info.siblings or []:
        lfs = sibling.lfs
        size = lfs.size if lfs else sibling.size
        sha256 = lfs.sha256 if lfs else None
        name, blob = sibling.rfilename, sha256 or sibling.blob_id or ""
        # Names and digests become paths in the cache: only what cannot lead out of it is taken.
        if size is not None and _stays_inside(name) and _DIGEST.fullmatch(blob):
            files[name] = Entry(name, int(size), sha256, sibling.blob_id or "")
    if not _DIGEST.fullmatch(str(info.sha)):
        raise ValueError("the listing names no commit")
    return Listing(remote.repo, str(info.sha), files)


_DIGEST = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def _stays_inside(name: str) -> bool:
    """Whether a file's name on the hub is a plain relative path, on every system."""
    parts = name.split("/")
    return not ("\\" in name or ":" in name or {"", ".", ".."} & set(parts))
