"""Fetch GGUF files from the Hugging Face hub: resumed, verified, then put into its cache.

huggingface_hub does the talking (endpoint, token, offline mode, retries, progress) and owns the
cache's layout. What it leaves out is added here: it keeps no partial data between runs and checks
sizes, not digests. So bytes go to a partial file of ours, are compared with the hub's own record
of the file, and only then get the blob's name; a blob in the cache is complete and verified.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import DigestMismatch, FetchError, HarnessError, ModelInvalid, ModelNotFound
from harness.models.digest import sha256_of
from harness.models.levels import choose
from harness.models.spec import Remote
from harness.sanitize import for_terminal

_ATTEMPTS = 3
_LONGEST_PAUSE = 10.0
"""Seconds that are waited when a busy hub asks for it; more is for the user to decide."""
_PARALLEL = 4
_MARGIN = 64 << 20
_BLOCK = 1 << 20
T = TypeVar("T")


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
    _require_space(
        [entry for listing, entry, _ in todo.values() if _cached(listing, entry) is None]
    )
    _in_parallel([partial(_obtain, *job, progress) for job in todo.values()])
    return [_place(item, listing, names[0]) for item, listing, names in plans]


def _in_parallel(jobs: Sequence[Callable[[], None]]) -> None:
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


def listing_of(remote: Remote) -> Listing:
    """What the hub says a repository holds. Raises ModelNotFound or FetchError."""
    return _asking(remote.repo, lambda: _ask_listing(remote))


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


def _listing(remote: Remote, offline: bool) -> Listing | None:
    """The repository's listing; None when the hub cannot be asked but the cache knows the repo."""
    from huggingface_hub.constants import is_offline_mode

    if offline and not is_offline_mode() and _snapshot(remote) is None:
        raise ModelNotFound(
            f"{remote.repo} is not on this machine, and a dry run downloads nothing; run "
            f"`harness fetch {remote.repo}` first, or run without --dry-run"
        )
    try:
        if not offline and not is_offline_mode():
            return listing_of(remote)
    except FetchError as error:
        if _snapshot(remote) is None:
            raise
        print(f"harness: {for_terminal(str(error))}; using the cached copy", file=sys.stderr)
        return None
    if _snapshot(remote) is None:
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
        folder = _snapshot(remote)
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
    folder = _snapshot(item.remote)
    before = folder / entry.name if folder else None
    if item.update or before is None or not before.is_file() or folder is None:
        return
    if folder.name != listing.commit and (digest := sha256_of(before)) != entry.sha256:
        raise DigestMismatch(
            f"{where} changed upstream: sha256 {digest} was fetched before (commit "
            f"{folder.name[:12]}), the hub now has {entry.sha256}; take the new one with `harness "
            f"fetch --update`, or stay with {listing.repo}@{folder.name}:{entry.name}"
        )


def _obtain(listing: Listing, entry: Entry, remote: Remote, progress: bool) -> None:
    """Make sure that a file is in the cache with the bytes the hub records."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.constants import MAX_HTTP_DOWNLOAD_SIZE
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    where = f"{listing.repo}:{entry.name}"
    if (path := _cached(listing, entry)) is not None:
        if _is(path, entry):
            return _remember(remote, listing.commit)
        print(f"harness: {where} is damaged in the cache; fetching it again", file=sys.stderr)
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    blob = _storage(listing.repo) / "blobs" / entry.blob
    if not blob.exists() and entry.size <= MAX_HTTP_DOWNLOAD_SIZE:
        blob.parent.mkdir(parents=True, exist_ok=True)
        part = blob.with_name(f"{blob.name}.harness.incomplete")
        lock = _storage(listing.repo).parent / ".locks" / f"{entry.blob}.harness.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock):
            if not blob.exists():
                _transfer(listing, entry, part, progress)
                part.replace(blob)
    # The blob is there: this only links it into the snapshot (and asks for its ETag once more).
    # Files over the limit of plain HTTP come whole through hf_xet instead.
    linked = Path(
        _asking(where, lambda: hf_hub_download(listing.repo, entry.name, revision=listing.commit))
    )
    if linked.resolve().name != entry.blob and not _is(linked, entry):
        linked.resolve().unlink(missing_ok=True)
        linked.unlink(missing_ok=True)
        raise DigestMismatch(f"{where}: the hub serves other bytes than it lists; try again later")
    return _remember(remote, listing.commit)


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
        _asking(where, get)
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
    if not _is(part, entry):
        found = _digest(part, entry)
        part.unlink()
        raise DigestMismatch(
            f"{where} arrived with digest {found}, the hub records {entry.blob}: damaged on the "
            "way, nothing was kept; fetch it again"
        )


def _place(item: Wanted, listing: Listing | None, name: str) -> Path:
    """Where a fetched or cached file lies, its cached bytes checked against its blob's name."""
    if listing is not None:
        return _storage(listing.repo) / "snapshots" / listing.commit / name
    folder = _snapshot(item.remote)
    assert folder is not None
    blob = (folder / name).resolve().name
    if len(blob) == 64 and sha256_of(folder / name) != blob:
        raise DigestMismatch(
            f"{item.remote.repo}:{name} is damaged in the cache ({folder / name}); fetch it online"
        )
    return folder / name


def _asking(where: str, ask: Callable[[], T]) -> T:
    """Call the hub; try again after a fault that may pass; translate what it raises, once."""
    from huggingface_hub.errors import HfHubHTTPError

    # It logs every retry as a warning; the outcome is told once, by us.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return ask()
        except HarnessError:
            raise
        except Exception as error:
            status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
            passing = status in (408, 429, 500, 502, 503, 504) or _network(error)
            pause = _pause(error, status)
            if attempt == _ATTEMPTS or not passing or pause > _LONGEST_PAUSE:
                raise _translated(where, error, status) from error
            time.sleep(attempt * pause)
    raise AssertionError("the last attempt returns or raises")


def _pause(error: Exception, status: int) -> float:
    """Seconds before the next attempt: what a 429 asks for."""
    if status == 429:
        asked = error.response.headers.get("Retry-After", "1")  # type: ignore[attr-defined]
        return float(asked) if re.fullmatch(r"[0-9]{1,9}", asked) else 1.0
    return 0.5


def _network(error: Exception) -> bool:
    """Whether the wire failed: httpx's TransportError (or httpx2's, which differs by version)."""
    return type(error).__name__ != "TooManyRedirects" and any(
        kind.__name__ == "TransportError" for kind in type(error).__mro__
    )


def _translated(where: str, error: Exception, status: int) -> HarnessError:
    from huggingface_hub import errors

    repo = where.split(":")[0]
    if isinstance(error, errors.GatedRepoError):
        return FetchError(
            f"{where} is gated ({status}): accept its terms at https://huggingface.co/{repo}, then "
            "set HF_TOKEN or run `hf auth login`"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelNotFound(
            f"no repository {repo} on the hub ({status}); check the name, or set HF_TOKEN if it is "
            "private"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelNotFound(f"{repo} has no such revision; check what stands after @")
    if isinstance(error, errors.EntryNotFoundError):
        return ModelNotFound(f"{where} is not on the hub; check the file's name")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return FetchError(f"{where} is not in the cache and HF_HUB_OFFLINE is set; unset it once")
    if status == 429:
        wait = _pause(error, status)
        asks = f" and asks to wait {wait:.0f} seconds" if wait > _LONGEST_PAUSE else "; wait"
        return FetchError(f"{where}: the hub says too many requests (429){asks}, then try again")
    if status:
        return FetchError(f"{where}: the hub answered {status}; try again later")
    if _network(error):
        reason = str(error) or type(error).__name__
        return FetchError(f"{where}: the hub cannot be reached ({reason}); check the network")
    if isinstance(error, OSError) and "Consistency check" in str(error):
        return FetchError(f"{where}: the hub sent another length than it lists; try again")
    if isinstance(error, OSError):
        return FetchError(
            f"{where}: {error.strerror or error}; check the disk and the cache folder"
        )
    if isinstance(error, errors.HFValidationError):
        return ModelNotFound(f"{where} is no name of a repository; write owner/repo:QUANT")
    said = str(error).strip().split("\n")[0][:160] or type(error).__name__
    return FetchError(
        f"{where}: the hub's answer cannot be understood ({said}); check HF_ENDPOINT and any proxy"
    )


def _require_space(entries: Sequence[Entry]) -> None:
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


def _storage(repo: str) -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.file_download import repo_folder_name

    try:
        return Path(HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type="model")
    except HFValidationError as error:
        raise ModelNotFound(
            f"{repo!r:.120} is no file here and no name of a repository; write owner/repo:QUANT"
        ) from error


def _cached(listing: Listing, entry: Entry) -> Path | None:
    path = _storage(listing.repo) / "snapshots" / listing.commit / entry.name
    return path if path.is_file() else None


def _snapshot(remote: Remote) -> Path | None:
    """The cached snapshot a revision stood for when it was last fetched."""
    storage = _storage(remote.repo)
    commit = remote.revision
    with contextlib.suppress(OSError):
        commit = (storage / "refs" / remote.revision).read_text(encoding="utf-8").strip()
    folder = storage / "snapshots" / commit
    return folder if folder.is_dir() else None


def _remember(remote: Remote, commit: str) -> None:
    """Note in the cache which commit a branch stood for, as huggingface_hub does."""
    if remote.revision == commit:
        return
    ref = _storage(remote.repo) / "refs" / remote.revision
    with contextlib.suppress(OSError):  # a cache that is only readable still serves
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit, encoding="utf-8")


def _is(path: Path, entry: Entry) -> bool:
    return path.stat().st_size == entry.size and _digest(path, entry) == entry.blob


def _digest(path: Path, entry: Entry) -> str:
    """A file's digest of the kind its record has: sha256, or git's blob id."""
    if entry.sha256:
        return sha256_of(path)
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
