"""Live progress of a run: models, items, tokens a second, time left; quiet off a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.experiment.watch import Watcher
from harness.records import Generation, Request
from harness.sanitize import for_terminal


@contextmanager
def watch(interactive: bool, quiet: bool, *, steps: bool = False) -> Iterator[Watcher]:
    """A watcher for this terminal: a live bar, lines for a log, or nothing at all.

    The lines are one per model file and one every half minute; with ``steps`` one per step.
    """
    if quiet:
        yield Watcher()
    elif not interactive:
        yield _Steps() if steps else _Lines()
    else:
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        with progress:
            yield _Bar(progress)


class _Steps(Watcher):
    """A line for each step."""

    def say(self, text: str) -> None:
        print(for_terminal(text), file=sys.stderr)


_EVERY = 30.0  # seconds between two lines of progress in a log


class _Lines(Watcher):
    """A line per model file, and one every half minute: what a log wants to keep."""

    def __init__(self) -> None:
        self._pending = self._answered = 0
        self._told = self._told_nodes = time.monotonic()

    def say(self, text: str) -> None:
        if time.monotonic() - self._told >= _EVERY:
            self._told = time.monotonic()
            print(f"  {for_terminal(text)}", file=sys.stderr)

    def model(self, name: str, number: int, models: int, pending: int) -> None:
        print(f"[{number}/{models}] {for_terminal(name)}: {pending} to answer", file=sys.stderr)
        self._pending, self._answered = pending, 0

    def answered(self, request: Request, generation: Generation) -> None:
        self._answered += 1
        if time.monotonic() - self._told >= _EVERY:
            self._told = time.monotonic()
            print(f"  {self._answered} of {self._pending} answered", file=sys.stderr)

    def nodes(self, answers: Mapping[str, int]) -> None:
        if sum(answers.values()) >= self._pending or time.monotonic() - self._told_nodes >= _EVERY:
            self._told_nodes = time.monotonic()
            print(f"  {_by_node(answers)}", file=sys.stderr)

    def finish(self, failed: Sequence[Generation]) -> None:
        if failed:
            print(f"{len(failed)} requests failed", file=sys.stderr)


def _by_node(answers: Mapping[str, int]) -> str:
    return for_terminal(", ".join(f"{name}: {count}" for name, count in sorted(answers.items())))


class _Bar(Watcher):
    """A live bar over all items, with the speed of the model file at work."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task("starting", total=None, speed="")
        self._tokens = 0
        self._since = time.monotonic()
        self._name = self._nodes = ""

    def say(self, text: str) -> None:
        self._progress.update(self._task, description=for_terminal(text))

    def begin(self, total: int, stored: int) -> None:
        self._progress.update(self._task, total=total, completed=stored)

    def model(self, name: str, number: int, models: int, pending: int) -> None:
        self._name, self._nodes = f"model {number}/{models} {name}", ""
        self._tokens = 0
        self._since = time.monotonic()
        self.say(self._name)

    def answered(self, request: Request, generation: Generation) -> None:
        self._tokens += generation.completion_tokens
        seconds = max(time.monotonic() - self._since, 1e-3)
        self._progress.update(
            self._task,
            advance=1,
            description=for_terminal(f"{self._name} {request.condition.strategy}"),
            speed=f"{self._tokens / seconds:.0f} tok/s{self._nodes}",
        )

    def nodes(self, answers: Mapping[str, int]) -> None:
        self._nodes = f" · {_by_node(answers)}"
