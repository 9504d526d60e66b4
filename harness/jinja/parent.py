"""Untrusted Jinja2 in a child process: a time limit per text, a size limit, one line on failure.

>>> render_all("{{ query }}!", [{"query": "Hello"}])
['Hello!']
"""

from __future__ import annotations

import atexit
import json
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from harness import process
from harness.errors import TemplateError

MAX_SOURCE = 256 * 1024
"""Characters of the longest template read (the longest chat templates have about 30,000)."""
MAX_TEXT = 4 * 1024 * 1024
"""Characters of the longest text a template may render."""
MAX_JOB = 16 * MAX_TEXT
"""Characters of all texts of one job: a suite's prompts at a few thousand each are far below."""
TIME_LIMIT = 5.0
"""Seconds one text may take; ordinary ones take a millisecond."""
MEAN_LIMIT = 0.1
"""Seconds the texts of a long job may take on average, beyond ``START_LIMIT`` for all."""
MEMORY = 1 << 30
"""Bytes of address space the child may take (the interpreter itself needs about a tenth)."""
START_LIMIT = 60.0
"""Seconds the child may take to start: long, for a machine under load is not an attack."""
PINNED_NOW = "2024-07-26T12:00:00"
"""The moment ``strftime_now`` tells, always: a prompt that changes by the day has no digest.

26 July 2024 is the date Llama 3's own templates fall back to.
"""

Mode = Literal["chat", "text"]


class RenderFailed(TemplateError):
    """A text could not be rendered; ``index`` is its context's place in the list."""

    def __init__(self, message: str, index: int = 0) -> None:
        super().__init__(message)
        self.index = index


class RenderStopped(RenderFailed):
    """Rendering passed a limit of time or size, or broke its process: no use in another try."""


def render_all(
    source: str,
    contexts: Sequence[Mapping[str, Any]],
    *,
    mode: Mode = "text",
    now: str = PINNED_NOW,
    time_limit: float = TIME_LIMIT,
) -> list[str]:
    """Render one template with many contexts; raises RenderFailed at the first that fails.

    ``text`` mode refuses undefined variables; ``chat`` mode is as lenient as transformers and
    offers ``raise_exception``, ``strftime_now`` and its ``tojson``.
    """
    lines = _ask(source, {"task": "render", "contexts": contexts}, mode, now, time_limit)
    return [str(line["text"]) for line in lines]


@lru_cache(maxsize=256)
def free_names(source: str) -> frozenset[str]:
    """The variables a text template reads without setting them; RenderFailed on bad syntax."""
    lines = _ask(source, {"task": "names", "contexts": [{}]}, "text", PINNED_NOW, TIME_LIMIT)
    return frozenset(lines[0]["names"])


def _ask(
    source: str, job: Mapping[str, Any], mode: Mode, now: str, time_limit: float
) -> list[dict[str, Any]]:
    if len(source) > MAX_SOURCE:
        raise RenderFailed(f"the template has {len(source)} characters; at most {MAX_SOURCE}")
    with _lock:
        child = _running_child()
        return child.ask(
            {
                **job,
                "source": source,
                "mode": mode,
                "now": now,
                "limit": MAX_TEXT,
                "seconds": time_limit,
            },
            len(job["contexts"]),
            time_limit,
        )


class _Child:
    """One rendering process, alive until it misbehaves or the program ends."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("child.py")
        self._process = process.start(
            process.standalone(script, AS=MEMORY), stderr=subprocess.DEVNULL
        )
        first = {"task": "names", "source": "", "mode": "text", "now": PINNED_NOW, "limit": 1}
        self.ask({**first, "seconds": START_LIMIT}, 1)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self, job: Mapping[str, Any], lines: int, time_limit: float = START_LIMIT
    ) -> list[dict[str, Any]]:
        """Send a job and read its lines, each within ``time_limit`` seconds, all in a bound too."""
        assert self._process.stdin and self._process.stdout
        deadline = process.Deadline(self._process, time_limit)
        answers: list[dict[str, Any]] = []
        size, start = 0, time.monotonic()
        try:
            self._process.stdin.write(json.dumps(job).encode("ascii") + b"\n")
            self._process.stdin.flush()
            for index in range(lines):
                with deadline:
                    line = self._process.stdout.readline()
                if not line:
                    raise RenderStopped(self._last_words(deadline), index)
                answers.append(json.loads(line))
                size += len(line)
                if size > MAX_JOB:
                    self.kill()
                    raise RenderStopped(f"more than {MAX_JOB} characters in all", index)
                if time.monotonic() - start > START_LIMIT + index * MEAN_LIMIT:
                    self.kill()
                    raise RenderStopped(f"too slow: {index + 1} texts took over a minute", index)
                if error := answers[-1].get("error"):
                    # The rest of the answers would be read as the next job's: start afresh.
                    if index + 1 < lines:
                        self.kill()
                    raise RenderFailed(str(error), index)
        except OSError as error:
            raise RenderStopped(self._last_words(deadline), len(answers)) from error
        except BaseException as error:
            if not isinstance(error, RenderFailed):
                self.kill()
            raise
        return answers

    def _last_words(self, deadline: process.Deadline) -> str:
        self.kill()
        if deadline.passed:
            return f"the template ran longer than {deadline.seconds:g} s and was stopped"
        return "the template broke the process that rendered it (out of memory?)"

    def kill(self) -> None:
        process.end(self._process)


_lock = threading.Lock()
_child: _Child | None = None


def _running_child() -> _Child:
    global _child
    if _child is None or not _child.alive:
        _child = _Child()
    return _child


@atexit.register
def _close() -> None:
    if _child is not None and _child.alive:
        _child.kill()
