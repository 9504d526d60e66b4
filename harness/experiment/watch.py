"""What a run tells whoever watches it; the base class watches nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.records import Generation, Request, Sample


class Watcher:
    """Told of each step of a run. Override what is of interest; every method may do nothing."""

    def say(self, text: str) -> None:
        """A step that takes a moment has begun (``quantizing tiny-base to Q2_K``)."""

    def grid(
        self,
        samples: Sequence[Sample],
        requests: Sequence[Request],
        known: Mapping[str, Generation],
    ) -> None:
        """What will be asked of which samples, and the answers (by key) that are there already."""

    def begin(self, total: int, stored: int) -> None:
        """Generation begins: ``total`` distinct requests, ``stored`` of them answered before."""

    def model(self, name: str, number: int, models: int, pending: int) -> None:
        """A model file is loaded: its name, its place among the files, and its open requests."""

    def answered(self, request: Request, generation: Generation) -> None:
        """One request was answered and stored."""

    def nodes(self, answers: Mapping[str, int]) -> None:
        """How many answers of the model at work each node of a cluster gave so far."""

    def finish(self, failed: Sequence[Generation]) -> None:
        """Generation ended; ``failed`` are those whose request brought the engine down."""


def together(*watchers: Watcher) -> Watcher:
    """A watcher that tells several the same."""
    return _Together(*watchers)


class _Together(Watcher):
    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def say(self, text: str) -> None:
        for watcher in self._watchers:
            watcher.say(text)

    def grid(
        self,
        samples: Sequence[Sample],
        requests: Sequence[Request],
        known: Mapping[str, Generation],
    ) -> None:
        for watcher in self._watchers:
            watcher.grid(samples, requests, known)

    def begin(self, total: int, stored: int) -> None:
        for watcher in self._watchers:
            watcher.begin(total, stored)

    def model(self, name: str, number: int, models: int, pending: int) -> None:
        for watcher in self._watchers:
            watcher.model(name, number, models, pending)

    def answered(self, request: Request, generation: Generation) -> None:
        for watcher in self._watchers:
            watcher.answered(request, generation)

    def nodes(self, answers: Mapping[str, int]) -> None:
        for watcher in self._watchers:
            watcher.nodes(answers)

    def finish(self, failed: Sequence[Generation]) -> None:
        for watcher in self._watchers:
            watcher.finish(failed)
