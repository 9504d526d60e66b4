"""Models by name to files on this machine: resolved, pinned, fetched, placed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from harness.errors import DigestMismatch, FetchError, ModelNotFound
from harness.models.digest import sha256_of
from harness.models.hub.cache import cached, require_space, snapshot, storage
from harness.models.hub.listing import Entry, Listing, Wanted, listing_of
from harness.models.hub.transfer import in_parallel, obtained
from harness.models.levels import choose
from harness.models.spec import Remote
from harness.sanitize import for_terminal


def fetch(
    remote: Remote,
    *,
    level: str | None = None,
    sha256: str | None = None,
    progress: bool = False,
    update: bool = False,
    offline: bool = False,
) -> Path:
    """The (first) file of a model on this machine. See :func:`fetch_all`."""
    wanted = Wanted(remote, level, sha256, update)
    return fetch_all([wanted], progress=progress, offline=offline)[0]


def fetch_all(
    wanted: Sequence[Wanted], *, progress: bool = False, offline: bool = False
) -> list[Path]:
    """Each model's (first) file, downloaded and verified where the cache lacks it.

    Names are resolved and disk space is checked before the first byte; files come in parallel. In
    offline mode, or when the hub does not answer, the cache's copy is used and said so. Raises
    ModelNotFound, DigestMismatch (a pin or a file fetched before and the hub disagree: both
    digests, nothing downloaded) or FetchError; a partial file stays for the next run.
    """
    listings: dict[tuple[str, str], Listing | None] = {}
    plans: list[tuple[Wanted, Listing | None, tuple[str, ...]]] = []
    for item in wanted:
        place = (item.remote.repo, item.remote.revision)
        if place not in listings:
            listings[place] = _listing(item.remote, offline)
        listing = listings[place]
        plans.append((item, listing, _names(item, listing)))
    todo: dict[tuple[str, str], tuple[Listing, Entry, Remote]] = {}
    for item, listing, names in plans:
        if listing is None:
            continue
        for name in names:
            entry = listing.files[name]
            _refuse_change(item, listing, entry, len(names))
            todo[(listing.repo, name)] = (listing, entry, item.remote)
    require_space([entry for listing, entry, _ in todo.values() if cached(listing, entry) is None])
    in_parallel([partial(obtained, *job, progress) for job in todo.values()])
    return [_place(item, listing, names[0]) for item, listing, names in plans]


def _listing(remote: Remote, offline: bool) -> Listing | None:
    """The repository's listing; None when the hub cannot be asked but the cache knows the repo."""
    from huggingface_hub.constants import is_offline_mode

    if offline and not is_offline_mode() and snapshot(remote) is None:
        raise ModelNotFound(
            f"{remote.repo} is not on this machine, and a dry run downloads nothing; run "
            f"`harness fetch {remote.repo}` first, or run without --dry-run"
        )
    try:
        if not offline and not is_offline_mode():
            return listing_of(remote)
    except FetchError as error:
        if snapshot(remote) is None:
            raise
        print(f"harness: {for_terminal(str(error))}; using the cached copy", file=sys.stderr)
        return None
    if snapshot(remote) is None:
        raise FetchError(
            f"{remote.repo} is not in the cache and HF_HUB_OFFLINE is set; unset it and fetch once"
        )
    return None


def _names(item: Wanted, listing: Listing | None) -> tuple[str, ...]:
    """The files (shards) of a model, out of the hub's listing or the cached snapshot."""
    remote = item.remote
    where = remote.repo
    if listing is not None:
        names = list(listing.files)
    else:
        where += " (offline: only what was fetched before)"
        folder = snapshot(remote)
        assert folder is not None
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.gguf")]
    if (file := remote.file()) is None:
        return choose(names, remote.level(item.level), where=where)
    from harness.models.shards import shard_names

    shards = shard_names(file)
    missing = [name for name in shards if name not in names]
    if missing:
        raise ModelNotFound(
            f"{where}: no file {missing[0]} at {remote.revision}; it has "
            f"{', '.join(sorted(n for n in names if n.endswith('.gguf'))[:12]) or 'no GGUF'}"
        )
    return shards


def _refuse_change(item: Wanted, listing: Listing, entry: Entry, files: int) -> None:
    """Report bytes that are not those pinned, or not those fetched under this name before."""
    if entry.sha256 is None:
        return
    where = f"{listing.repo}@{item.remote.revision}:{entry.name}"
    if item.sha256 and files == 1 and item.sha256.lower() != entry.sha256:
        raise DigestMismatch(
            f"{where} is pinned to sha256 {item.sha256.lower()}, the hub now has {entry.sha256} "
            f"(commit {listing.commit[:12]}): it changed upstream; name the revision that had the "
            "pinned file, or change the pin"
        )
    folder = snapshot(item.remote)
    before = folder / entry.name if folder else None
    if item.update or before is None or not before.is_file() or folder is None:
        return
    if folder.name != listing.commit and (digest := sha256_of(before)) != entry.sha256:
        raise DigestMismatch(
            f"{where} changed upstream: sha256 {digest} was fetched before (commit "
            f"{folder.name[:12]}), the hub now has {entry.sha256}; take the new one with `harness "
            f"fetch --update`, or stay with {listing.repo}@{folder.name}:{entry.name}"
        )


def _place(item: Wanted, listing: Listing | None, name: str) -> Path:
    """Where a fetched or cached file lies, its cached bytes checked against its blob's name."""
    if listing is not None:
        return storage(listing.repo) / "snapshots" / listing.commit / name
    folder = snapshot(item.remote)
    assert folder is not None
    blob = (folder / name).resolve().name
    if len(blob) == 64 and sha256_of(folder / name) != blob:
        raise DigestMismatch(
            f"{item.remote.repo}:{name} is damaged in the cache ({folder / name}); fetch it online"
        )
    return folder / name
