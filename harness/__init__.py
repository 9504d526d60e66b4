"""Paired base/instruct evaluation of GGUF language models through llama.cpp.

>>> import harness
>>> run = harness.run("tiny", limit=10)
>>> run.recovery[["wrapper", "recovered", "low", "high"]]

``docs/api.md`` goes through all of it. Each name is loaded when first used, so that importing the
package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.asking import ask as ask
    from harness.checks.registry import Context as Context
    from harness.checks.registry import Example as Example
    from harness.checks.registry import Outcome as Outcome
    from harness.checks.registry import check as check
    from harness.config import Experiment as Experiment
    from harness.config import load_experiment as load_experiment
    from harness.experiment.override import override as override
    from harness.face import choose as choose
    from harness.face import run as run
    from harness.face import score as score
    from harness.reporting.folder import Run as Run
    from harness.reporting.folder import read_run as read_run

__version__ = "0.1.0"

_HOMES = {
    "Context": "harness.checks.registry",
    "Example": "harness.checks.registry",
    "Experiment": "harness.config",
    "Outcome": "harness.checks.registry",
    "Run": "harness.reporting.folder",
    "ask": "harness.asking",
    "check": "harness.checks.registry",
    "choose": "harness.face",
    "load_experiment": "harness.config",
    "override": "harness.experiment.override",
    "read_run": "harness.reporting.folder",
    "run": "harness.face",
    "score": "harness.face",
}

__all__ = [
    "Context",
    "Example",
    "Experiment",
    "Outcome",
    "Run",
    "ask",
    "check",
    "choose",
    "load_experiment",
    "override",
    "read_run",
    "run",
    "score",
]


def __getattr__(name: str) -> object:
    """Load a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
