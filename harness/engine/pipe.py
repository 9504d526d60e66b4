"""The parent's end of the child process: start it, talk to it, know how it died."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import harness
from harness.engine import wire
from harness.errors import EngineError
from harness.process import close_pipes, end, error_named, fate, gist, start

WORKER = (sys.executable, "-m", "harness.engine.worker")
"""The command line of the child process."""

_LAST_WORDS = 1 << 16

# libgomp's threads spin at every barrier, for milliseconds unless told otherwise. On a machine that
# does anything else at the same time each of the hundreds of barriers of a decode then costs a
# scheduler tick: measured, 2.5 s a decode instead of 0.3 s. A quiet machine loses little by it.
_PATIENT_THREADS = {"GOMP_SPINCOUNT": "2000", "OPENBLAS_NUM_THREADS": "1"}
_PATIENCE = 2.0  # seconds a child gets to end by itself


class ChildDied(EngineError):
    """The child process ended without being asked to; the message holds its last words."""


class Abandoned(Exception):
    """The engine was told to stop: no death to survive, and nobody waits for its answers."""


class Child:
    """A worker process with a pipe each way; a context manager would end it, so does ``close``."""

    def __init__(self, command: Sequence[str] = WORKER) -> None:
        self._process = (_spare() if command == WORKER else None) or _spawn(command)
        self._words = bytearray()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, op: str, **values: Any) -> None:
        """Send one command; raises ChildDied."""
        assert self._process.stdin is not None
        try:
            wire.send(self._process.stdin, {"op": op, **values})  # type: ignore[arg-type]
        except (OSError, ValueError) as error:
            raise self._death() from error

    def receive(self) -> Mapping[str, Any]:
        """The next event; raises ChildDied, or the HarnessError the child ran into."""
        assert self._process.stdout is not None
        try:
            event: Mapping[str, Any] = wire.receive(self._process.stdout)  # type: ignore[arg-type]
        except (EOFError, OSError, ValueError) as error:
            raise self._death() from error
        if event["event"] == "error":
            raise error_named(event["type"], event["message"], EngineError)
        return event

    def ask(self, op: str, **values: Any) -> Mapping[str, Any]:
        """Send a command and return its one answer."""
        self.send(op, **values)
        return self.receive()

    def close(self) -> None:
        """End the process: politely for a moment, then not."""
        with contextlib.suppress(OSError, ValueError):
            if self._process.stdin:
                self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._forget()

    def kill(self) -> None:
        """End the process at once."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        self._forget()

    def _forget(self) -> None:
        self._listener.join(_PATIENCE)  # it reads what the pipe still holds
        close_pipes(self._process)

    def _listen(self) -> None:
        """Keep the end of what the child prints; it would block on a full pipe otherwise."""
        assert self._process.stderr is not None
        with contextlib.suppress(OSError, ValueError):
            while data := os.read(self._process.stderr.fileno(), 1 << 16):
                # A stack comes in very many small writes: bound the bytes, not their number.
                self._words += data
                del self._words[:-_LAST_WORDS]

    def _death(self) -> ChildDied:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        code = self._process.poll()
        self.kill()
        words = self._words.decode("utf-8", "replace")
        return ChildDied(f"{_how(code)}; its last words: {gist(words) or 'none'}")


_spares: list[subprocess.Popen[bytes]] = []


def keep_spares(count: int) -> None:
    """Have so many idle worker processes at hand: one takes half a second to import its libraries.

    They hold no model, and end with this process like any worker.
    """
    _spares.extend(_spawn(WORKER) for _ in range(count - len(_spares)))


def dismiss_spares() -> None:
    """End the idle worker processes that nobody took."""
    while spare := _spare():
        end(spare)


def _spare() -> subprocess.Popen[bytes] | None:
    """An idle worker that still lives, if there is one."""
    while _spares:
        with contextlib.suppress(IndexError):  # another thread may have taken the last one
            spare = _spares.pop()
            if spare.poll() is None:
                return spare
            end(spare)
    return None


def _spawn(command: Sequence[str]) -> subprocess.Popen[bytes]:
    root = str(Path(harness.__file__).resolve().parent.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**_PATIENT_THREADS, **os.environ, "PYTHONPATH": path}
    return start(command, env=environment, alone=True)


def _how(code: int | None) -> str:
    how = "closed its pipe" if code is None else fate(code)
    return f"the engine's child process {how}"
