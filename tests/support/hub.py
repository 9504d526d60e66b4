"""A hub on loopback: enough of huggingface.co's HTTP for the real client, and faults on demand.

    with Hub() as hub:
        hub.add_repo("owner/name", {"X-Q8_0.gguf": data})
        hub.fault("X-Q8_0", cut=1000)            # the next download of it breaks off there
        run(["harness", "fetch", "owner/name:Q8_0"], env=hub.env(folder))

Listing (``/api/models|datasets/...``), ``resolve`` with ETag, X-Repo-Commit, X-Linked-Size and
X-Linked-ETag, a redirect to a "CDN" path, range requests, gated and private repositories, and
every commit a repository ever had.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LFS_FROM = 64
"""Files of at least this many bytes are kept like LFS files, with a sha256 of their own."""

TOKEN = "hf_a_token_that_may_read_gated_repositories"


@dataclass
class Fault:
    """What goes wrong with requests whose path contains ``match``; ``times`` -1: always.

    ``cut``: the connection closes after that many bytes of a body. ``status``: answered with it
    (``headers`` added). ``data``: other bytes of the same announced kind. ``short``: the body and
    its Content-Length lack that many bytes. ``slow``: seconds between pieces of 256 KiB. ``where``:
    ``api``, ``resolve`` or ``cdn``.
    """

    match: str
    times: int = 1
    where: str = "cdn"
    cut: int | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    data: bytes | None = None
    short: int = 0
    slow: float = 0.0


@dataclass(frozen=True)
class Seen:
    """One request the hub got."""

    method: str
    path: str
    range: str | None
    authorized: bool


@dataclass
class Repo:
    """A repository: every commit's files, the branches, and who may read it."""

    kind: str
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False


class Hub:
    """The server; a context manager. ``url`` is its address, ``requests`` what it was asked."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.faults: list[Fault] = []
        self.requests: list[Seen] = []
        self.claimed: dict[str, int] = {}  # sizes the listing gives instead of the true ones
        self.lock = threading.Lock()
        hub = self

        class Handler(_Handler):
            served = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Hub:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def cdn(self) -> str:
        """The same server under another name: like a CDN's, it is another origin to a client."""
        return f"http://localhost:{self.server.server_address[1]}"

    def env(self, folder: Path, **more: str) -> dict[str, str]:
        """An environment for a subprocess that talks to this hub and caches under ``folder``."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        return kept | {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(folder / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HARNESS_CACHE": str(folder / "harness"),
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            **more,
        }

    def add_repo(
        self,
        name: str,
        files: Mapping[str, bytes],
        *,
        kind: str = "model",
        gated: bool = False,
        private: bool = False,
    ) -> str:
        """Add a repository, or a commit on its ``main``; returns the commit."""
        repo = self.repos.setdefault((kind, name), Repo(kind))
        repo.gated, repo.private = gated, private
        parent = repo.branches.get("main", "")
        content = [(path, hashlib.sha256(data).hexdigest()) for path, data in sorted(files.items())]
        commit = hashlib.sha1(json.dumps([name, parent, content]).encode()).hexdigest()
        repo.commits[commit] = dict(files)
        repo.branches["main"] = commit
        return commit

    def fault(self, match: str, **what: Any) -> Fault:
        """Let requests whose path contains ``match`` go wrong. See :class:`Fault`."""
        fault = Fault(match, **what)
        with self.lock:
            self.faults.append(fault)
        return fault

    def downloads(self, name: str) -> list[Seen]:
        """The requests for the bytes of files whose path contains ``name``."""
        return [
            seen for seen in self.requests if seen.path.startswith("/cdn/") and name in seen.path
        ]

    def take(self, where: str, path: str) -> Fault | None:
        """The fault that applies to a request now, used up by it."""
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.where == where and fault.match in path:
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    served: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.body = self.rfile.read(length)
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        authorized = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        seen = Seen(self.command, path, self.headers.get("Range"), authorized)
        with self.served.lock:
            self.served.requests.append(seen)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if match := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(.*))?", path):
                self._api(match[1].rstrip("s"), match[2], match[3] or "", authorized)
            elif match := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                kind = "dataset" if match[1] else "model"
                self._resolve(kind, match[2], match[3], match[4], authorized)
            elif match := re.fullmatch(
                r"/cdn/(model|dataset)/([^/]+/[^/]+)/([0-9a-f]{40})/(.+)", path
            ):
                repo = self.served.repos[match[1], match[2]]
                self._bytes(repo.commits[match[3]][match[4]], path)
            elif path == "/api/whoami-v2":
                self._json({"name": "tester"} if authorized else {"error": "no token"})
            else:
                self._error(404, "")

    def _api(self, kind: str, name: str, rest: str, authorized: bool) -> None:
        if self._faulty("api", self.path):
            return None
        repo = self.served.repos.get((kind, name))
        if repo is None or (repo.private and not authorized):
            return self._error(401, "RepoNotFound")
        what, _, revision = rest.partition("/")
        commit = self._commit(repo, (revision or "main").split("/")[0])
        if commit is None:
            return self._error(404, "RevisionNotFound")
        files = repo.commits[commit]
        if what in ("", "revision"):
            return self._json(
                {
                    "_id": "0",
                    "id": name,
                    "sha": commit,
                    "private": repo.private,
                    "gated": "manual" if repo.gated else False,
                    "tags": [],
                    "downloads": 0,
                    "likes": 0,
                    "siblings": [
                        _sibling(path, data, self.served.claimed.get(path, len(data)))
                        for path, data in files.items()
                    ],
                }
            )
        if what in ("tree", "paths-info"):
            return self._json([_tree_entry(path, data) for path, data in files.items()])
        return self._error(404, "")

    def _resolve(self, kind: str, name: str, revision: str, path: str, authorized: bool) -> None:
        if self._faulty("resolve", self.path):
            return None
        repo = self.served.repos.get((kind, name))
        if repo is None or (repo.private and not authorized):
            return self._error(401, "RepoNotFound")
        if repo.gated and not authorized:
            token = "Authorization" in self.headers
            return self._error(403 if token else 401, "GatedRepo")
        commit = self._commit(repo, revision)
        if commit is None:
            return self._error(404, "RevisionNotFound")
        data = repo.commits[commit].get(path)
        if data is None:
            return self._error(404, "EntryNotFound", {"X-Repo-Commit": commit})
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_git_id(data)}"'}
        if len(data) < LFS_FROM:
            return self._bytes(data, self.path, headers)
        headers |= {
            "X-Linked-Size": str(len(data)),
            "X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "Location": f"{self.served.cdn}/cdn/{kind}/{name}/{commit}/{path}",
        }
        return self._send(302, b"", headers)

    def _bytes(self, data: bytes, path: str, headers: Mapping[str, str] | None = None) -> None:
        fault = self.served.take("cdn", path) or Fault("")
        if fault.status:
            return self._error(fault.status, "", fault.headers)
        data = fault.data if fault.data is not None else data
        data = data[: len(data) - fault.short]
        headers = {"Accept-Ranges": "bytes", **(headers or {})}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not wanted:
            return self._send(200, data, headers, fault)
        start = int(wanted[1])
        if start >= len(data):
            return self._error(416, "", {"Content-Range": f"bytes */{len(data)}"})
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return self._send(206, data[start:], headers, fault)

    def _faulty(self, where: str, path: str) -> bool:
        fault = self.served.take(where, path)
        if fault and fault.status:
            self._error(fault.status, "", fault.headers)
        elif fault:
            self.close_connection = True
            self.connection.close()
        return fault is not None

    def _commit(self, repo: Repo, revision: str) -> str | None:
        return repo.branches.get(revision) or (revision if revision in repo.commits else None)

    def _error(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        named = {"X-Error-Code": code} if code else {}
        self._send(status, b'{"error": "no"}', {**named, **(headers or {})})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(
        self, status: int, data: bytes, headers: Mapping[str, str], fault: Fault | None = None
    ) -> None:
        fault = fault or Fault("")
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        end = len(data) if fault.cut is None else fault.cut
        for piece in _pieces(data[:end], 1 << 18 if fault.slow else 1 << 20):
            self.wfile.write(piece)
            self.wfile.flush()
            time.sleep(fault.slow)
        if end < len(data):
            self.close_connection = True
            self.connection.close()


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def _git_id(data: bytes) -> str:
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


def _sibling(path: str, data: bytes, size: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"rfilename": path, "size": size, "blobId": _git_id(data)}
    if len(data) >= LFS_FROM:
        sha256 = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"sha256": sha256, "size": size, "pointerSize": 134}
    return entry


def _tree_entry(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "file",
        "oid": _git_id(data),
        "size": len(data),
        "path": path,
    }
    if len(data) >= LFS_FROM:
        sha256 = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": 134}
    return entry
