"""The one door to whatever answers requests: which backends there are, and opening one.

A backend is a file with a :class:`BackendKind` in it and a line in :data:`BACKENDS` (or an entry
point of the group ``gguf_pair_harness.backends`` in a package of your own). An experiment names it
with ``engine: {backend: NAME}``, or for one stage with ``backend: NAME``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from harness.config import ENDPOINT, LLAMA_CPP, Experiment
from harness.errors import ConfigError
from harness.intake import near, shown
from harness.models.fit import Memory
from harness.protocols import Ability, Backend, ServedTemplate, Tokenizer
from harness.records import Adapter, Arm, Cell, EngineIdentity, EngineSettings, ModelFile
from harness.strategies import Template

ENTRY_POINTS = "gguf_pair_harness.backends"

BACKENDS: Mapping[str, str] = {
    LLAMA_CPP: "harness.experiment.llama:LlamaCpp",
    ENDPOINT: "harness.experiment.remote:Endpoint",
}
"""Backends by name: the module and the class that is one. Nothing is imported before it is used."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StageModel:
    """A stage of the ladder at one level: the model, its adapter, its template, its backend.

    ``notes`` are what a reader must know of the model there (its level is made up of other types).
    ``settings`` are its engine's where the experiment has no say in them, ``unable`` says why it
    cannot be asked in some way: by ``text``, by ``native``, or with a ``prefill`` in the latter.
    """

    stage: str
    level: str
    model: ModelFile
    adapter: Adapter | None
    chat_template: str | ServedTemplate | None
    backend: str = LLAMA_CPP
    notes: tuple[str, ...] = ()
    settings: EngineSettings | None = None
    unable: Mapping[str, str] = field(default_factory=dict)

    @property
    def cell(self) -> Cell:
        """Where it stands in the grid."""
        return Cell(self.stage, self.level)

    def engine_name(self, settings: EngineSettings) -> str:
        """What its engine's notes are kept under: the file, and how it is run."""
        return f"{self.model.sha256}/{settings.mode}/{settings.n_gpu_layers}"

    def refusal(self, arm: Arm, template: Template) -> str | None:
        """Why this model cannot be asked through an arm, None when it can."""
        if why := self.unable.get(template.kind):
            return why
        opening = template.prefill if arm.prefill is None else arm.prefill
        return self.unable.get("prefill") if opening and template.kind == "native" else None


@dataclass(frozen=True, slots=True)
class Finding:
    """How models are to be found: paths from ``base_dir``, progress drawn, steps told to ``say``.

    ``dry`` fetches and makes nothing.
    """

    base_dir: Path
    progress: bool = False
    say: Say = lambda _: None
    dry: bool = False


class BackendKind(Protocol):
    """What is known of a backend before any weights are loaded, and how a model is opened with it.

    ``abilities`` are what it can do beyond generating: an arm that needs more is left out, visibly.
    """

    name: str
    abilities: frozenset[Ability]

    def models(
        self, experiment: Experiment, stages: Sequence[str], finding: Finding
    ) -> Sequence[StageModel]:
        """The stages' models at every level. Raises ModelError naming what is missing."""

    def identity(self, settings: EngineSettings) -> EngineIdentity:
        """What enters the key of each request that is run with these settings."""

    def tokenizer(self, model: ModelFile) -> AbstractContextManager[Tokenizer] | None:
        """The model's tokenizer without its weights, None where the backend tells nobody."""

    def devices(self) -> Sequence[Memory]:
        """Devices that layers may be offloaded to (``n_gpu_layers: auto`` is fitted to them)."""

    def about(self) -> Mapping[str, Any]:
        """Its build, for the manifest: flat, and without anything that differs between two runs."""

    def open(
        self, model: ModelFile, settings: EngineSettings, devices: Sequence[str] = ()
    ) -> AbstractContextManager[Backend]:
        """Load the model. Raises ModelError or EngineError, OutOfMemory where memory is short."""

    def dismiss(self) -> None:
        """No other model follows: give back what :meth:`Backend.expect_another` made ready."""


class Backends:
    """Kinds of backends by name, made when they are first asked for.

    ``given`` stand in for those of that name (tests put a fake one there).
    """

    def __init__(self, given: Mapping[str, BackendKind] | None = None) -> None:
        self._known: dict[str, BackendKind] = dict(given or {})

    def __getitem__(self, name: str) -> BackendKind:
        """The backend of that name; ConfigError, with the near miss, where there is none."""
        if name not in self._known:
            self._known[name] = _loaded(name)
        return self._known[name]

    def namer(self, item: StageModel, settings: EngineSettings) -> Callable[[str], EngineIdentity]:
        """The identity of the engine that answers an item, by the item's id."""
        identity = self.of(item).identity(settings)
        return lambda _: identity

    def judge(self, examine: Callable[[Any], Any], work: Sequence[Any]) -> Iterator[Any] | None:
        """What ``examine`` finds in each piece, elsewhere; None: here is the place to do it."""
        return None

    def of(self, item: StageModel) -> BackendKind:
        """The backend that runs a stage's model."""
        return self[item.backend]

    def dismiss(self) -> None:
        """No other model follows."""
        for kind in self._known.values():
            kind.dismiss()

    def about(self, stage_models: Sequence[StageModel]) -> dict[str, Mapping[str, Any]]:
        """What the backends of these models say of their builds, by name."""
        names = dict.fromkeys(item.backend for item in stage_models)
        return {name: self[name].about() for name in names}


def _loaded(name: str) -> BackendKind:
    known = dict(BACKENDS)
    if name not in known:  # what is installed is asked last: that reads the metadata of all of it
        known = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)} | known
    if name not in known:
        raise ConfigError(
            f"backend {shown(name)} is unknown; {near(name, known)}accepted: "
            f"{', '.join(sorted(known))}"
        )
    module, _, attribute = known[name].partition(":")
    try:
        kind: BackendKind = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"backend {name} ({known[name]}) cannot be loaded: {error}") from error
    return kind
