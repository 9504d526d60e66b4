"""A server on loopback that speaks OpenAI's API, and does wrong on demand.

    with FaultyServer() as server:
        server.fault = lambda ask: Reply(500) if ask.number == 3 else None
        run(..., server.url)

It answers a prompt with ``re: `` and the prompt's last line, counts a token per word, and keeps
every request it was asked. ``fault`` is asked first: what it returns is sent instead, None is not.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One POST: its place among those with more than one token to generate (from 1), its body."""

    number: int
    path: str
    body: Mapping[str, Any]
    authorization: str
    tries: int
    """How often this very prompt was asked, this time included."""

    @property
    def text(self) -> str:
        messages = self.body.get("messages")
        return str(messages[-1]["content"] if messages else self.body["prompt"])


@dataclass(frozen=True)
class Reply:
    """What to send instead; ``cut``: bytes after which the connection closes, ``slow``: seconds
    before each byte, ``sleep``: seconds before anything."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    slow: float = 0.0
    sleep: float = 0.0


def said(ask: Asked, **changed: Any) -> dict[str, Any]:
    """The reply that would be right, with what is to be wrong in it."""
    words = f"re: {ask.text.splitlines()[-1]}"
    usage = {"prompt_tokens": len(ask.text.split()), "completion_tokens": len(words.split())}
    text: dict[str, Any] = (
        {"message": {"content": words}} if "chat" in ask.path else {"text": words}
    )
    choice = {"index": 0, "finish_reason": "stop", **text, **changed.pop("choice", {})}
    usage |= changed.pop("usage", {})
    return {"model": ask.body["model"], "choices": [choice], "usage": usage, **changed}


def value(ask: Asked, **changed: Any) -> Reply:
    return Reply(body=json.dumps(said(ask, **changed)).encode())


class _Server(ThreadingHTTPServer):
    """Knows how many of the connections that it took are open."""

    daemon_threads = True
    open = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        with _COUNTING:
            self.open += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with _COUNTING:
            self.open -= 1


_COUNTING = threading.Lock()


class FaultyServer:
    """A context manager; ``asked`` are the requests for answers it got, ``url`` its address."""

    def __init__(self) -> None:
        self.fault: Callable[[Asked], Reply | None] = lambda _: None
        self.probe: Callable[[Asked], Reply | None] = lambda _: None
        """Asked for requests of one token: what is tried before the answers."""
        self.models: list[dict[str, Any]] = [{"id": "parrot", "owned_by": "tests"}]
        self.routes = ["/v1/completions", "/v1/chat/completions"]
        self.asked: list[Asked] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(_Handler):
            served = outer

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def note(self, path: str, body: Mapping[str, Any], authorization: str) -> Asked:
        with self._lock:
            draft = Asked(len(self.asked) + 1, path, body, authorization, 1)
            tries = 1 + sum(before.text == draft.text for before in self.asked)
            found = Asked(draft.number, path, body, authorization, tries)
            if body.get("max_tokens") != 1:
                self.asked.append(found)
            return found

    def __enter__(self) -> FaultyServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def settle(self) -> None:
        """Wait for what a client that has left put on its way: all of it is in ``asked`` then."""
        with urllib.request.urlopen(f"{self.url}/v1/models", timeout=20) as last:
            last.read()  # whoever came before was let in before
        until = time.monotonic() + 20
        while self._server.open:
            assert time.monotonic() < until, "a client left its connections open"
            time.sleep(0.005)

    def stop(self) -> None:
        """Nobody listens there any more."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    served: FaultyServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._send(Reply(body=json.dumps({"data": self.served.models}).encode()))
        else:
            self._send(Reply(404, b'{"error": {"message": "no such route"}}'))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path not in self.served.routes:
            self._send(Reply(404, b'{"error": {"message": "no such route"}}'))
            return
        ask = self.served.note(self.path, body, self.headers.get("authorization", ""))
        hook = self.served.probe if body.get("max_tokens") == 1 else self.served.fault
        self._send(hook(ask) or value(ask))

    def _send(self, reply: Reply) -> None:
        time.sleep(reply.sleep)
        try:
            self.send_response(reply.status)
            self.send_header("Content-Type", "application/json")
            for name, text in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, text)
            self.end_headers()
            for byte in reply.body if reply.slow else ():
                time.sleep(reply.slow)
                self.wfile.write(bytes([byte]))
            if not reply.slow:
                self.wfile.write(reply.body[: reply.cut])
            if reply.cut is not None:
                self.close_connection = True
        except OSError:  # the client went away
            self.close_connection = True

    def log_message(self, *_: object) -> None: ...
