"""The backend that runs GGUF files in-process: llama.cpp through llama-cpp-python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harness import native
from harness.config import LLAMA_CPP, Experiment
from harness.engine import (
    ABILITIES,
    ChildTokenizer,
    Engine,
    Fleet,
    dismiss_spares,
    engine_identity,
    open_engine,
    open_tokenizer,
)
from harness.experiment.backend import Finding, StageModel
from harness.experiment.files import find_files
from harness.native import Device
from harness.records import EngineIdentity, EngineSettings, ModelFile


class LlamaCpp:
    """GGUF files on this machine, each in a child process; see :mod:`harness.engine`."""

    name = LLAMA_CPP
    abilities = ABILITIES

    def models(
        self, experiment: Experiment, stages: Sequence[str], finding: Finding
    ) -> tuple[StageModel, ...]:
        """The stages' files, fetched and made where they are not there yet."""
        return find_files(experiment, stages, finding)

    def identity(self, settings: EngineSettings) -> EngineIdentity:
        """The build, its processor features, and what of the settings moves a rounding."""
        return engine_identity(settings)

    def tokenizer(self, model: ModelFile) -> ChildTokenizer:
        """The vocabulary alone, in a child process of its own."""
        return open_tokenizer(model.path)

    def devices(self) -> tuple[Device, ...]:
        """What ggml sees on this machine."""
        return native.devices()

    def about(self) -> Mapping[str, Any]:
        """The package, the llama.cpp in it, its backend and processor features."""
        return asdict(native.build_info())

    def open(
        self, model: ModelFile, settings: EngineSettings, devices: Sequence[str] = ()
    ) -> Engine | Fleet:
        """An engine, or a fleet of them where several devices are named."""
        return open_engine(model.path, model.sha256, settings, devices)

    def dismiss(self) -> None:
        """End processes that were started for a model that did not follow."""
        dismiss_spares()
