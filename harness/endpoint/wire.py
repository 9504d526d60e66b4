"""One exchange with a server: bounded, tried again where that may help, its key never told.

The client runs in a thread of its own, so that ordinary code can wait for it and Ctrl-C ends what
is under way at once.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
import threading
import time
from collections.abc import Coroutine, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import httpx

from harness.endpoint.address import Address
from harness.errors import EngineError
from harness.intake import load_json, shown

T = TypeVar("T")

BODY_BYTES = 16 << 20
"""The longest reply that is read."""

LONGEST_WAIT = 120.0
"""Seconds: a server that asks to be left alone for longer is not waited for."""

_FIRST_PAUSE = 0.25
_CONNECT = 10.0
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})

Kind = Literal["key", "route", "refused", "busy", "silent", "gone", "garbled"]
"""Why there is no reply: the key; no such route; this request; too much to do; too slow; nobody
there; a reply that is none."""


class Fault(EngineError):
    """An exchange without a usable reply; ``status`` is HTTP's, 0 where there was none."""

    def __init__(self, kind: Kind, said: str, status: int = 0) -> None:
        super().__init__(said)
        self.kind, self.status = kind, status


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """A connection to one server, kept alive between exchanges; a context manager."""

    def __init__(self, address: Address, *, parallel: int = 16) -> None:
        self.address = address
        self._key = address.key()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client = self.wait(self._opened(parallel))
        self.restarts = 0

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it to its end; whatever interrupts the caller ends it too."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise EngineError(f"{self.address.url}: the connection was closed") from None
        except BaseException:
            future.cancel()
            raise

    def start(self, work: Coroutine[Any, Any, None]) -> Any:
        """Begin it; the future that is returned can be cancelled."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """End every exchange and the thread."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._ended(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def ask(
        self, route: str, body: Mapping[str, Any] | None = None, *, retries: int | None = None
    ) -> Any:
        """The JSON value of a reply: GET, or POST where there is a ``body``. Raises Fault.

        What may pass (429, 5xx, a timeout, a broken connection, a reply that is no JSON) is tried
        again after a pause that doubles, or that the server asks for (``Retry-After``).
        """
        tries = 1 + (self.address.retries if retries is None else retries)
        begin = time.monotonic()
        for number in range(1, tries + 1):
            pause = _FIRST_PAUSE * 2 ** (number - 1) * random.uniform(0.75, 1.25)
            try:
                reply = await self._exchange(route, body)
                if reply.status == 200:
                    return self._value(route, reply)
                fault, wanted = self._refusal(route, reply), _retry_after(reply)
            except Fault as error:
                fault, wanted = error, None
            if fault.kind not in {"busy", "silent", "gone", "garbled"}:
                raise fault
            if fault.kind == "gone":
                self.restarts += 1
            if wanted is not None and wanted > LONGEST_WAIT:
                raise Fault(
                    fault.kind, f"{fault}; it asks to wait {wanted:.0f} s", fault.status
                ) from fault
            if number == tries:
                spent = time.monotonic() - begin
                said = f"{fault} (tried {number} times in {spent:.0f} s)" if tries > 1 else fault
                raise Fault(fault.kind, str(said), fault.status) from fault
            await asyncio.sleep(pause if wanted is None else wanted)
        raise AssertionError("the last try returns or raises")

    async def _opened(self, parallel: int) -> httpx.AsyncClient:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(self.address.timeout, connect=_CONNECT, pool=None),
            limits=httpx.Limits(max_connections=parallel, max_keepalive_connections=parallel),
            follow_redirects=False,  # a key goes to nobody else
            trust_env=not self.address.is_local,
        )

    async def _ended(self) -> None:
        mine = asyncio.current_task()
        under_way = [task for task in asyncio.all_tasks() if task is not mine]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._client.aclose()

    async def _exchange(self, route: str, body: Mapping[str, Any] | None) -> _Reply:
        """One try. Foreign exceptions are translated here, and only here."""
        limit = self.address.timeout
        try:
            return await asyncio.wait_for(self._read(route, body), limit)
        except (asyncio.TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout) as error:
            raise Fault("silent", f"{self._at(route)} gave no answer in {limit:g} s") from error
        except httpx.RemoteProtocolError as error:
            said = f"{self._at(route)} broke off in the middle of an answer: {self._clean(error)}"
            raise Fault("gone", said) from error
        except (httpx.DecodingError, httpx.InvalidURL) as error:
            raise Fault("garbled", f"{self._at(route)}: {self._clean(error)}") from error
        except httpx.TransportError as error:
            why = self._clean(error) or type(error).__name__
            raise Fault("gone", f"{self._at(route)} cannot be reached: {why}") from error

    async def _read(self, route: str, body: Mapping[str, Any] | None) -> _Reply:
        method = "GET" if body is None else "POST"
        url = f"{self.address.url}{route}"
        async with self._client.stream(method, url, json=body) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise Fault("garbled", f"{self._at(route)} sent a compressed reply unasked")
            read = bytearray()
            async for part in response.aiter_raw():
                read += part
                if len(read) > BODY_BYTES:
                    raise Fault(
                        "refused", f"{self._at(route)} sent more than {BODY_BYTES >> 20} MiB"
                    )
            return _Reply(response.status_code, response.headers, self._without_key(bytes(read)))

    def _value(self, route: str, reply: _Reply) -> Any:
        try:
            text = reply.body.decode("utf-8")
            value = load_json(text, self._at(route), EngineError, surrogates=True)
        except UnicodeDecodeError as error:
            raise Fault("garbled", f"{self._at(route)} sent a reply that is no UTF-8") from error
        except EngineError as error:
            kind = str(reply.headers.get("content-type", "nothing named"))[:60]
            raise Fault(
                "garbled", f"{error}; is this the server's API? (content type {kind})"
            ) from error
        if isinstance(value, dict) and set(value) == {"error"}:
            raise Fault("busy", f"{self._at(route)} answered with an error{_said(reply.body)}")
        return value

    def _refusal(self, route: str, reply: _Reply) -> Fault:
        status, said = reply.status, _said(reply.body)
        where = f"{self._at(route)} answered {status}"
        if status in {401, 403}:
            name = self.address.key_env
            advice = f"is the key in {name} right?" if name else "name its key's variable: key_env"
            return Fault("key", f"{where}{said}; {advice}", status)
        if status in _PASSING:
            return Fault("busy", f"{where}{said}", status)
        if 300 <= status < 400:
            place = shown(str(reply.headers.get("location", "")))
            return Fault("route", f"{where}, a redirection to {place}; name that address", status)
        if status in {404, 405, 501}:
            return Fault("route", f"{where}{said}", status)
        return Fault("refused", f"{where}{said}", status)

    def _at(self, route: str) -> str:
        return f"{self.address.url}{route}"

    def _clean(self, error: Exception) -> str:
        return self._without_key(str(error).encode("utf-8", "replace")).decode("utf-8")[:200]

    def _without_key(self, data: bytes) -> bytes:
        """What a server says back may hold the key: it goes no further."""
        if not self._key:
            return data
        key = self._key.encode("ascii")
        for form in (key, key.replace(b"/", b"\\/")):
            data = data.replace(form, b"[key]")
        return data


def _said(body: bytes) -> str:
    """The server's own words for an error, on one line, cut; empty where there are none."""
    text = body[:4000].decode("utf-8", "replace")
    try:
        value = load_json(text, "")
    except Exception:  # any text may stand there
        return f": {shown(text.strip(), 160)}" if text.strip() else ""
    for name in ("error", "detail", "message"):
        if isinstance(value, Mapping) and value.get(name):
            value = value[name]
    if isinstance(value, Mapping) and value.get("message"):
        value = value["message"]
    return f": {shown(value, 240)}"


def _retry_after(reply: _Reply) -> float | None:
    """Seconds the server asks to be left alone (RFC 9110, 10.2.3), None where it says nothing."""
    given = str(reply.headers.get("retry-after", "")).strip()
    if given.isascii() and given.isdigit():
        return float(given[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(given).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
