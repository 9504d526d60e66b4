"""The bytes: a partial file of ours until they are the hub's, then a blob of the cache."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.errors import DigestMismatch, FetchError, ModelInvalid
from harness.models.hub.cache import cached, entry_digest, is_entry, remember, storage
from harness.models.hub.listing import Entry, Listing
from harness.models.hub.talk import asking
from harness.models.spec import Remote

_PARALLEL = 4


def in_parallel(jobs: Sequence[Callable[[], None]]) -> None:
    """Run jobs on a few threads; raises the first error when the running ones have ended.

    Daemon threads: Ctrl-C ends the process at once and not after the last gigabyte. What they have
    written by then is a good partial file.
    """
    waiting = deque(jobs)
    errors: list[BaseException] = []

    def work() -> None:
        while not errors:
            try:
                job = waiting.popleft()
            except IndexError:
                return
            try:
                job()
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in jobs[:_PARALLEL]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def obtained(listing: Listing, entry: Entry, remote: Remote, progress: bool) -> None:
    """Make sure that a file is in the cache with the bytes the hub records."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.constants import MAX_HTTP_DOWNLOAD_SIZE
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    where = f"{listing.repo}:{entry.name}"
    if (path := cached(listing, entry)) is not None:
        if is_entry(path, entry):
            return remember(remote, listing.commit)
        print(f"harness: {where} is damaged in the cache; fetching it again", file=sys.stderr)
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    blob = storage(listing.repo) / "blobs" / entry.blob
    if not blob.exists() and entry.size <= MAX_HTTP_DOWNLOAD_SIZE:
        blob.parent.mkdir(parents=True, exist_ok=True)
        part = blob.with_name(f"{blob.name}.harness.incomplete")
        lock = storage(listing.repo).parent / ".locks" / f"{entry.blob}.harness.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock):
            if not blob.exists():
                _transfer(listing, entry, part, progress)
                part.replace(blob)
    # The blob is there: this only links it into the snapshot (and asks for its ETag once more).
    # Files over the limit of plain HTTP come whole through hf_xet instead.
    linked = Path(
        asking(where, lambda: hf_hub_download(listing.repo, entry.name, revision=listing.commit))
    )
    if linked.resolve().name != entry.blob and not is_entry(linked, entry):
        linked.resolve().unlink(missing_ok=True)
        linked.unlink(missing_ok=True)
        raise DigestMismatch(f"{where}: the hub serves other bytes than it lists; try again later")
    return remember(remote, listing.commit)


def _transfer(listing: Listing, entry: Entry, part: Path, progress: bool) -> None:
    """Bring the partial file to its full, verified length, going on where it ends."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers, tqdm  # type: ignore[attr-defined]

    class Silent(tqdm):
        """A progress bar that shows nothing."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

    where = f"{listing.repo}:{entry.name}"
    url = hf_hub_url(listing.repo, entry.name, revision=listing.commit)

    def get() -> None:
        have = part.stat().st_size if part.exists() else 0
        if have > entry.size:  # not a prefix of the file: worth nothing
            part.unlink()
            have = 0
        with part.open("ab") as stream:
            http_get(
                url,
                stream,
                resume_size=have,
                headers=build_hf_headers(),
                expected_size=entry.size,
                displayed_filename=entry.name,
                tqdm_class=None if progress else Silent,
            )

    try:
        asking(where, get)
    except FetchError as error:
        have = part.stat().st_size if part.exists() else 0
        if 0 < have < entry.size:
            raise FetchError(
                f"{error}; {have} of {entry.size} bytes are kept, the same command goes on there"
            ) from error
        part.unlink(missing_ok=True)
        raise
    with part.open("rb") as stream:
        magic = stream.read(4)
    if magic != b"GGUF":
        part.unlink()
        raise ModelInvalid(
            f"{where} is no GGUF file: it begins with {magic!r}; choose another file"
        )
    if not is_entry(part, entry):
        found = entry_digest(part, entry)
        part.unlink()
        raise DigestMismatch(
            f"{where} arrived with digest {found}, the hub records {entry.blob}: damaged on the "
            "way, nothing was kept; fetch it again"
        )
