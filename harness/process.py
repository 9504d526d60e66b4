"""Child processes: how every one of ours is started, bounded, watched, ended and told of.

:func:`call` runs a function in a child that may die, hang or eat memory without taking us along.
GGUF files are untrusted and llama.cpp aborts the process on what it does not like, so whatever
opens one runs there. That child is started afresh (never forked: llama.cpp's threads and Metal's
state do not survive a fork), gets its arguments as JSON and answers in JSON: what a child that
read a hostile file says is data, never a pickle.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
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


def start(
    command: Sequence[str],
    *,
    stdout: IO[bytes] | int = subprocess.PIPE,
    stderr: IO[bytes] | int = subprocess.PIPE,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    alone: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a child with a pipe to its standard input, which it can watch to end when we do.

    ``alone`` gives it a session of its own: Ctrl-C in the terminal is the parent's to handle, and
    :func:`end` reaches whatever the child has started itself.
    """
    return subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        env=env,
        cwd=cwd,
        start_new_session=alone,
    )


def end(child: subprocess.Popen[bytes], *, family: bool = False) -> int:
    """Kill a child, and with ``family`` what it started; close its pipes. Its exit code."""
    with contextlib.suppress(OSError):
        if family and hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    code = child.wait()
    close_pipes(child)
    return code


def close_pipes(child: subprocess.Popen[bytes]) -> None:
    """Close what leads to a child and from it; what it can no longer take is lost."""
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError, ValueError):
                pipe.close()


class Deadline:
    """Kills a child unless the block ends in time; works where pipes have no timeout.

    May be entered again and again; ``passed`` says that it came to that. None: no deadline.
    """

    def __init__(self, child: subprocess.Popen[bytes], seconds: float | None) -> None:
        self.seconds, self.passed = seconds, False
        self._child = child
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Deadline:
        if self.seconds is not None:
            self._timer = threading.Timer(self.seconds, self._pass)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _pass(self) -> None:
        self.passed = True
        self._child.kill()


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
        child = start(command, stderr=words, env=environment)
        deadline = Deadline(child, seconds)
        try:
            with deadline:
                reply = _converse(child, request, on_event)
                if reply is None:
                    child.wait()
        finally:
            # Its answer is complete; the natural end of a process that loaded llama.cpp adds
            # nothing but time and the chance of a crash in some library's destructor.
            code = end(child)
        if reply is None:
            limit = f"took longer than {seconds:g} s" if deadline.passed else fate(code)
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
    cap(CORE=0, for_good=False, **({"AS": int(memory)} if int(memory) else {}))
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


def cap(*, for_good: bool = False, **limits: int) -> None:
    """Bound this process where the system can: ``cap(CORE=0, AS=memory)``, never above its own.

    Names are those of ``resource.RLIMIT_*``, values bytes (seconds of CPU). What is capped
    ``for_good``, or at nothing, stays so: the process cannot raise it again.
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
                resource.setrlimit(which, (limit, hard if value and not for_good else limit))


@cache
def capping() -> str:
    """:func:`cap` as the beginning of a program that can import nothing of ours."""
    return f"import contextlib\n\n{inspect.getsource(cap)}\n"


def standalone(script: Path, **limits: int) -> list[str]:
    """The command of a script that imports nothing of ours, bounded for good before it begins.

    Nothing is imported from the working directory, which leads ``-c``'s path, nor from the
    script's own folder.
    """
    program = (
        f"import sys\nsys.path[:] = filter(None, sys.path)\n{capping()}\n"
        f"cap(for_good=True, **{limits!r})\n"
        "exec(compile(open(sys.argv[1], encoding='utf-8').read(), sys.argv[1], 'exec'))"
    )
    return [sys.executable, "-c", program, str(script)]


def _die_with_parent() -> None:
    """End at once when the parent's end of stdin closes, however the parent ended."""
    assert _watch is not None
    with contextlib.suppress(OSError):
        _watch.read()
    os._exit(1)
