"""A stage's model, loaded: with fewer layers on the GPU where memory turns out to be short."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.config import Experiment
from harness.errors import OutOfMemory
from harness.experiment.backend import Backends, StageModel
from harness.protocols import Backend
from harness.records import Cell, EngineSettings

PER_DEVICE = 128
"""Requests that another device must have before its child process pays for its start."""


class DoesNotFit(Exception):
    """A model did not load with the layers that ``auto`` had put on the GPU."""

    def __init__(self, cell: Cell, layers: int) -> None:
        super().__init__(cell, layers)
        self.cell, self.layers = cell, layers


@contextmanager
def opened(
    experiment: Experiment,
    item: StageModel,
    settings: EngineSettings,
    backends: Backends,
    pending: int,
) -> Iterator[Backend]:
    """The stage's model, loaded; DoesNotFit when fewer layers on the GPU are worth a try.

    Memory may be short at loading and, since the cache is made for the prompts at hand, later.
    """
    wanted = experiment.engine
    devices = wanted.devices[: max(1, pending // PER_DEVICE)]
    try:
        with backends.of(item).open(item.model, settings, devices) as backend:
            yield backend
    except OutOfMemory as error:
        if wanted.n_gpu_layers != "auto" or not settings.n_gpu_layers:
            raise
        blocks = int(item.model.metadata.get("inspect.blocks", 0)) + 1
        layers = blocks if settings.n_gpu_layers < 0 else settings.n_gpu_layers
        raise DoesNotFit(item.cell, layers // 2) from error
