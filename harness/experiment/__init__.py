"""Running an experiment: start at :func:`run` and go down one call at a time."""

from __future__ import annotations

from harness.experiment.backend import BackendKind, Backends, Finding, StageModel
from harness.experiment.override import with_pair
from harness.experiment.prepare import Prepared, RunOptions, prepare
from harness.experiment.rescore import Changed, Rescored, rescore, rewrite
from harness.experiment.resolve import resolve_models
from harness.experiment.walk import RunResult, run
from harness.experiment.watch import Watcher

__all__ = [
    "BackendKind",
    "Backends",
    "Changed",
    "Finding",
    "Prepared",
    "Rescored",
    "RunOptions",
    "RunResult",
    "StageModel",
    "Watcher",
    "prepare",
    "rescore",
    "resolve_models",
    "rewrite",
    "run",
    "with_pair",
]
