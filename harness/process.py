"""Run a function in a child process that may die, hang or eat memory without taking us along.

GGUF files are untrusted and llama.cpp aborts the process on what it does not like, so whatever
opens one runs here. The child is started afresh (never forked: llama.cpp's threads and Metal's
state do not survive a fork), gets its arguments as JSON and answers in JSON: what a child that
read a hostile file says is data, never a pickle.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any

import harness.errors
from harness.errors import HarnessError
from harness.sanitize import for_terminal

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

_MAX_REPLY = 64 << 20
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from harness.process import serve; serve(*sys.argv[2:])"
)
_watch: IO[bytes] | None = None
_reply: IO[bytes] | None = None


def call(
    function: Callable[..., Any],
    *args: Any,
    error: type[HarnessError],
    doing: str,
    seconds: float | None = None,
    memory: int | None = None,
    on_event: Callable[[Any], None] | None = None,
) -> Any:
    """What ``function(*args)`` returns when called in a child process of its own.

    ``function`` stands at the top level of a module; arguments and result are JSON values (tuples
    come back as lists). A HarnessError raised in the child is raised here again; everything else
    that can happen to it (a signal, a native abort, more than ``seconds``, more than ``memory``
    bytes of address space) becomes an ``error`` that begins with ``doing`` and ends with the
    child's last words. ``on_event`` is called with each value the child hands to :func:`tell`.
    When this process dies, even by SIGKILL, the child notices and ends.
    """
    request = json.dumps(args).encode("utf-8") + b"\n"
    command = [sys.executable, "-c", _BOOT, json.dumps(sys.path)]
    command += [function.__module__, function.__qualname__, str(memory or 0)]
    environment = {**os.environ, "PYTHONFAULTHANDLER": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as words:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words,
            env=environment,
        )
        timed_out = threading.Event()
        timer = _kill_later(child, seconds, timed_out)
        try:
            reply = _converse(child, request, on_event)
            # Its answer is complete; the natural end of a process that loaded llama.cpp adds
            # nothing but time and the chance of a crash in some library's destructor.
            if reply is not None:
                child.kill()
            code = child.wait()
        finally:
            if timer:
                timer.cancel()
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                with contextlib.suppress(OSError):  # the child may be gone: nothing left to flush
                    assert pipe is not None
                    pipe.close()
        if reply is None:
            limit = f"took longer than {seconds:g} s" if timed_out.is_set() else fate(code)
            raise error(f"{doing}: the child process {limit}{_last_words(words)}")
    return _unpack(reply, error, doing, memory)


def tell(value: Any) -> None:
    """Send a JSON value to the parent's ``on_event``; without a parent, do nothing."""
    if _reply is not None:
        _reply.write(json.dumps({"event": value}).encode("utf-8") + b"\n")
        _reply.flush()


def serve(module: str, name: str, memory: str) -> None:
    """The child's side of :func:`call`: one request in, one reply out."""
    global _watch, _reply
    _watch = sys.stdin.buffer
    _reply = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a native library prints belongs to the last words, not to the reply
    cap(CORE=0, **({"AS": int(memory)} if int(memory) else {}))
    args = json.loads(_watch.readline())
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        function = getattr(importlib.import_module(module), name)
        reply: dict[str, Any] = {"result": function(*args)}
    except HarnessError as error:
        reply = {"error": type(error).__name__, "message": str(error)}
    except MemoryError:
        reply = {"memory": True}
    except Exception as error:
        reply = {"crash": f"{type(error).__name__}: {error}"}
    _reply.write(json.dumps(reply).encode("utf-8") + b"\n")
    _reply.flush()


@contextlib.contextmanager
def pool(workers: int, prepare: Callable[..., Any], *args: Any) -> Iterator[ProcessPoolExecutor]:
    """Worker processes for our own work, each having called ``prepare(*args)``.

    They end with this process, however it ends (a worker of the standard pool waits for ever on a
    pipe that it holds open itself), leave Ctrl-C to it, and are killed when the block is left
    by an exception: nobody waits for work whose result is no longer wanted.
    """
    from concurrent.futures import ProcessPoolExecutor  # 14 ms that other children need not pay

    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_work, initargs=(prepare, args)
    ) as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - others:
                worker.kill()
            raise


def _work(prepare: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """A worker's beginning."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare(*args)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _converse(
    child: subprocess.Popen[bytes], request: bytes, on_event: Callable[[Any], None] | None
) -> Any:
    """Send the request, read events until the reply; None when the child died first."""
    assert child.stdin is not None and child.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it died at once: the missing reply says so
        child.stdin.write(request)
        child.stdin.flush()
    while line := child.stdout.readline(_MAX_REPLY):
        try:
            message = json.loads(line)
        except ValueError:
            return None
        if "event" not in message:
            return message
        if on_event:
            on_event(message["event"])
    return None


def _unpack(reply: Any, error: type[HarnessError], doing: str, memory: int | None) -> Any:
    if "result" in reply:
        return reply["result"]
    if "memory" in reply:
        limit = f" the {memory >> 20} MiB it may use" if memory else " this machine has"
        raise error(f"{doing}: needs more memory than{limit}")
    if "crash" in reply:
        raise error(f"{doing}: {for_terminal(str(reply['crash']))}")
    raise error_named(reply.get("error"), reply.get("message"), error)


def error_named(name: object, message: object, otherwise: type[HarnessError]) -> HarnessError:
    """The error that a child ran into, by the name it gave; ``otherwise`` for none of ours."""
    kind = getattr(harness.errors, str(name), otherwise)
    if not (isinstance(kind, type) and issubclass(kind, HarnessError)):
        kind = otherwise
    return kind(for_terminal(str(message)))


def _kill_later(
    child: subprocess.Popen[bytes], seconds: float | None, timed_out: threading.Event
) -> threading.Timer | None:
    if seconds is None:
        return None

    def kill() -> None:
        timed_out.set()
        child.kill()

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()
    return timer


def fate(code: int) -> str:
    """How a process ended, in words: ``was ended by SIGABRT``."""
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def gist(words: str) -> str:
    """What a dead child said that tells why it died, in one line; empty when it said nothing.

    Asserts and errors where there are any, else the last lines; never faulthandler's Python stack,
    which follows the native message that matters.
    """
    lines = [line.strip() for line in words.split("Fatal Python error")[0].splitlines()]
    lines = [line for line in lines if line] or [line.strip() for line in words.splitlines()][:1]
    telling = [line for line in lines if "ASSERT" in line or "rror" in line]
    # An assertion names its source file by the folder that the library was compiled in.
    said = _BUILD_PATH.sub(r"\1", " / ".join((telling or lines)[-3:]))
    return for_terminal(said[:600])


_BUILD_PATH = re.compile(r"(?:\b[A-Za-z]:)?(?:[\\/][^\s:\\/]+)*[\\/]([^\s:\\/]+:\d+)")


def _last_words(words: IO[bytes]) -> str:
    """The end of an error message: what the child wrote last, if anything."""
    words.seek(0, os.SEEK_END)
    words.seek(max(0, words.tell() - 8192))
    said = gist(words.read().decode("utf-8", "replace"))
    return f"; its last words: {said}" if said else ""


def cap(**limits: int) -> None:
    """Bound this process where the system can: ``cap(CORE=0, AS=memory)``, never above its own.

    Names are those of ``resource.RLIMIT_*``, values bytes. What is capped at nothing stays so: the
    process cannot raise it again.
    """
    try:
        import resource
    except ImportError:  # Windows has none
        return
    for name, value in limits.items():
        which = getattr(resource, f"RLIMIT_{name}", None)
        with contextlib.suppress(ValueError, OSError):  # macOS refuses RLIMIT_AS; time still binds
            if which is not None:
                hard = resource.getrlimit(which)[1]
                limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
                resource.setrlimit(which, (limit, hard if value else 0))


def _die_with_parent() -> None:
    """End at once when the parent's end of stdin closes, however the parent ended."""
    assert _watch is not None
    with contextlib.suppress(OSError):
        _watch.read()
    os._exit(1)
