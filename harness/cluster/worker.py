"""What runs on a machine of the cluster: a model held open, and what is asked of it.

Nothing here raises what a user can cause: it is returned, so that it arrives as it was said.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from harness import __version__
from harness.cluster.files import Lacking, Parcel, placed
from harness.errors import EngineError, HarnessError
from harness.experiment.backend import Backends
from harness.protocols import Backend
from harness.records import EngineIdentity, EngineSettings, Generation, ModelFile, Request

FLUSH_SECONDS = 0.1
"""Answers wait this long for others to travel with."""

FLUSH_ANSWERS = 256


@dataclass(frozen=True, slots=True)
class Probed:
    """What a machine would answer with."""

    version: str
    identity: EngineIdentity
    about: Mapping[str, Any]


def probe(kind: str, settings: EngineSettings) -> Probed | HarnessError:
    """The identity of a backend's engine on this machine."""
    try:
        backend = Backends()[kind]
        return Probed(__version__, backend.identity(settings), backend.about())
    except HarnessError as error:
        return error


def examined(examine: Any, work: Sequence[Any]) -> list[Any]:
    """What a function finds in each piece of work (verdicts of answers)."""
    return [examine(item) for item in work]


class Worker:
    """The actor: one model at a time, opened anew when another is wanted."""

    def __init__(self) -> None:
        self._held = ExitStack()
        self._backend: Backend | None = None
        self._what: object = None

    def start(
        self,
        kind: str,
        model: ModelFile,
        settings: EngineSettings,
        threads: int,
        parcels: Mapping[str, Any],
    ) -> tuple[str, ...] | Lacking | HarnessError:
        """Have the model open; its notes, or what this machine lacks for it.

        ``parcels`` refer to files in the object store, by digest.
        """
        import ray

        if self._what == (kind, model.sha256, settings) and self._backend:
            return self._backend.notes
        self._held.close()
        self._backend, self._what = None, None
        try:
            sent: dict[str, Parcel] = {name: ray.get(ref) for name, ref in parcels.items()}
            found = placed(model, settings, sent)
            if isinstance(found, Lacking):
                return found
            here, own = found
            own = replace(own, threads=own.threads or threads)
            backend = self._held.enter_context(Backends()[kind].open(here, own))
        except HarnessError as error:
            return error
        self._backend, self._what = backend, (kind, model.sha256, settings)
        return backend.notes

    def answer(self, requests: Sequence[Request]) -> Iterator[list[Generation] | HarnessError]:
        """Answers as they finish, a few at a time; last the error that ended it early, if any."""
        if self._backend is None:
            yield EngineError("the actor was asked before it had a model")
            return
        batch: list[Generation] = []
        since = time.monotonic()
        try:
            for generation in self._backend.generate(requests):
                batch.append(generation)
                now = time.monotonic()
                if now - since >= FLUSH_SECONDS or len(batch) >= FLUSH_ANSWERS:
                    yield batch
                    batch, since = [], now
        except HarnessError as error:
            yield batch
            yield error
            return
        yield batch
