"""One run's files being measured: each is opened by its own backend, and what fails is a note."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import cast

from harness.errors import ConfigError, EngineError
from harness.experiment.backend import Backends, StageModel
from harness.experiment.measure.step import walking
from harness.experiment.plan import Plan
from harness.experiment.watch import Watcher
from harness.protocols import Measurable
from harness.records import EngineSettings


class Session:
    """The files of one run being measured; ``notes`` grows by what could not be.

    ``pieces`` are the instruct model's answers as their tokens' texts, by item.
    """

    def __init__(
        self, planned: Plan, backends: Backends, watcher: Watcher, notes: list[str]
    ) -> None:
        self.planned, self._backends = planned, backends
        self.say, self.notes = watcher.say, notes
        self.pieces: dict[str, tuple[str, ...]] = {}

    def walked(self, item: StageModel) -> AbstractContextManager[Measurable]:
        """The stage's model, to have its logits walked."""
        return self.opened(item, walking(self.planned.settings[item.cell], item.model))

    @contextmanager
    def opened(self, item: StageModel, settings: EngineSettings) -> Iterator[Measurable]:
        """The stage's model, loaded with these settings."""
        with self._backends.of(item).open(item.model, settings) as backend:
            yield cast(Measurable, backend)

    @contextmanager
    def noting(self, cell: str) -> Iterator[None]:
        """A file that cannot be walked is a note; the run's answers stand."""
        try:
            yield
        except (EngineError, ConfigError) as error:
            self.notes.append(f"{cell}: not compared: {error}")
