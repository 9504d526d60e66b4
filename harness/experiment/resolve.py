"""From the names in an experiment to models: one :class:`StageModel` per stage and level.

With the settings each is run with, and what differs between the two that are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness import models
from harness.config import ENDPOINT, Experiment
from harness.experiment.backend import Backends, Finding, StageModel
from harness.records import Cell, EngineSettings

PLANNING_TOKENS = 2048
"""Tokens per sequence assumed when layers are fitted to a device before prompts are known."""


def resolve_models(
    experiment: Experiment, finding: Finding, backends: Backends | None = None
) -> tuple[StageModel, ...]:
    """Every stage's model at every level, each found by its own backend, in the file's order.

    Raises ModelError naming what is missing or is not of its level; nothing is loaded.
    """
    known = backends or Backends()
    by_backend: dict[str, list[str]] = {}
    for name in experiment.stages:
        if experiment.arms(name):
            by_backend.setdefault(experiment.backend_of(name), []).append(name)
    found = [
        item
        for name, stages in by_backend.items()
        for item in known[name].models(experiment, stages, finding)
    ]
    order = {name: place for place, name in enumerate(experiment.stages)}
    return tuple(sorted(found, key=lambda item: order[item.stage]))


def fitted_settings(
    experiment: Experiment,
    stage_models: Sequence[StageModel],
    backends: Backends,
    lowered: Mapping[Cell, int],
) -> tuple[dict[Cell, EngineSettings], list[str]]:
    """Each stage model's settings, and what was chosen; ``auto`` layers are fitted to devices.

    ``lowered`` holds the layers of models that did not load with what was fitted.
    """
    settings: dict[Cell, EngineSettings] = {}
    notes: list[str] = []
    wanted = experiment.engine.n_gpu_layers
    for item in stage_models:
        if item.settings is not None:
            settings[item.cell] = item.settings
            continue
        layers = wanted if isinstance(wanted, int) else lowered.get(item.cell, 0)
        if item.cell in lowered:
            notes.append(f"{item.cell}: loaded with {layers} layers after a failure")
        elif wanted == "auto":
            fitted = models.fit(
                item.model,
                n_gpu_layers="auto",
                parallel=experiment.engine.width,
                tokens_per_sequence=PLANNING_TOKENS,
                devices=backends.of(item).devices(),
            )
            layers = fitted.n_gpu_layers
            notes.append(f"{item.cell}: {fitted.why}")
        settings[item.cell] = replace(experiment.engine.settings(layers), adapter=item.adapter)
    return settings, notes


_UNSEEN = (
    "that the two are stages of one model is not checked: a server does not show its model's file"
)


def pair_notes(
    experiment: Experiment, stage_models: tuple[StageModel, ...]
) -> tuple[list[str], list[str]]:
    """What differs between the compared stages at each level, and what that invalidates.

    Notes first, then warnings: what leaves the two files with nothing to compare.
    """
    pair = experiment.recovery_pair()
    notes: list[str] = []
    warnings: list[str] = []
    if pair is None:
        return notes, warnings
    by_cell = {item.cell: item.model for item in stage_models}
    for level in experiment.level_names:
        base, instruct = (by_cell.get(Cell(stage, level)) for stage in pair)
        if base is None or instruct is None:
            continue
        if not (base.architecture and instruct.architecture):
            if ENDPOINT in map(experiment.backend_of, pair):
                notes.append(_UNSEEN)
            continue
        for difference in models.compare_pair(base, instruct):
            differ = (
                f"{difference.field} differs: {difference.a} ({pair[0]}), "
                f"{difference.b} ({pair[1]}); {difference.invalidates}"
            )
            if difference.fatal:
                warnings.append(f"{pair[0]} and {pair[1]} are not stages of one model: {differ}")
            else:
                notes.append(differ)
    return list(dict.fromkeys(notes)), list(dict.fromkeys(warnings))
