"""What a run that goes on has come to: ``live.json`` in its folder, for ``harness view``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from harness import checks
from harness.atomic import write_text
from harness.errors import OutputError
from harness.experiment.watch import Watcher
from harness.records import Generation, Request, Sample, all_pass
from harness.reporting.runs import LIVE

_EVERY = 1.0
"""Seconds between two states on the disk."""
_JUDGING = 0.05
"""Share of the run's time that scores so far may take; beyond it answers are only counted."""
_WARM = 20
"""Verdicts that are free: the first ones load what the checks need."""


@dataclass(slots=True)
class _Arm:
    """One condition's state: requests, and what became of them."""

    condition: str
    total: int = 0
    done: int = 0
    failed: int = 0
    judged: int = 0
    passed: int = 0


@contextmanager
def shown_live(folder: Path, experiment: str) -> Iterator[Watcher]:
    """A watcher that keeps the run's state in its folder, and takes it away when the run ends.

    Scores so far are of answers as they come, in the order of the engine and without checks that
    run code: a view of a run, not a result of it.
    """
    try:
        yield _Live(folder, experiment)
    finally:
        (folder / LIVE).unlink(missing_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


class _Live(Watcher):
    def __init__(self, folder: Path, experiment: str) -> None:
        self._folder, self._experiment = folder, experiment
        self._started = datetime.now(timezone.utc)
        self._since = time.monotonic()
        self._told = self._judging = 0.0
        self._verdicts = 0
        self._phase = "starting"
        self._arms: dict[str, _Arm] = {}
        self._requests: dict[str, list[Request]] = {}
        self._samples: Mapping[str, Sample] = {}

    def say(self, text: str) -> None:
        self._phase = text
        self._tell(now=True)

    def grid(
        self,
        samples: Sequence[Sample],
        requests: Sequence[Request],
        known: Mapping[str, Generation],
    ) -> None:
        self._samples = {sample.id: sample for sample in samples}
        self._arms, self._requests = {}, {}
        for request in requests:
            self._requests.setdefault(request.key, []).append(request)
            self._arm(request).total += 1
        for key, generation in known.items():
            self._count(key, generation)
        self._tell(now=True)

    def model(self, name: str, number: int, models: int, pending: int) -> None:
        self.say(f"model {number} of {models}, {name}: {pending} to answer")

    def answered(self, request: Request, generation: Generation) -> None:
        self._count(request.key, generation)
        self._tell()

    def _arm(self, request: Request) -> _Arm:
        name = str(request.condition)
        return self._arms.setdefault(name, _Arm(name))

    def _count(self, key: str, generation: Generation) -> None:
        """Count an answer in every arm that asked for it."""
        for request in self._requests.get(key, ()):
            arm = self._arm(request)
            arm.done += 1
            if generation.finish_reason == "failed":
                arm.failed += 1
                continue
            verdict = self._verdict(request, generation)
            arm.judged += verdict is not None
            arm.passed += verdict is True

    def _verdict(self, request: Request, generation: Generation) -> bool | None:
        """Whether the answer passes; None where nothing judges it, or there is no time to."""
        begun = time.monotonic()
        if self._judging > _JUDGING * (begun - self._since):
            return None
        results = checks.judge(
            self._samples[request.sample_id],
            request.prompt.prefill + generation.answer,
            tokens=generation.completion_tokens,
        )
        self._verdicts += 1
        if self._verdicts > _WARM:
            self._judging += time.monotonic() - begun
        return all_pass(results)

    def _tell(self, *, now: bool = False) -> None:
        moment = time.monotonic()
        if not now and moment - self._told < _EVERY:
            return
        self._told = moment
        state = {
            "experiment": self._experiment,
            "started": self._started.isoformat(timespec="seconds"),
            "phase": self._phase,
            "done": sum(arm.done for arm in self._arms.values()),
            "total": sum(arm.total for arm in self._arms.values()),
            "failed": sum(arm.failed for arm in self._arms.values()),
            "arms": [asdict(arm) for arm in self._arms.values()],
        }
        with suppress(OutputError):  # the run goes on where its state cannot be shown
            write_text(self._folder / LIVE, json.dumps(state, ensure_ascii=True) + "\n")
