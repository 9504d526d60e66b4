"""From the names in an experiment to models: one :class:`StageModel` per stage and level."""

from __future__ import annotations

from harness import models
from harness.config import AS_IS, ENDPOINT, Experiment, Stage, parse_experiment
from harness.errors import ConfigError
from harness.experiment.backend import Backends, Finding, StageModel
from harness.records import Cell


def with_pair(experiment: Experiment, pair: str | None) -> Experiment:
    """The experiment with its stages taken from the family registry when a pair is named.

    The first and the last stage of the family become what recovery compares, unless the
    experiment says otherwise.
    """
    name = pair or experiment.pair
    if name is None:
        if not experiment.stages:
            raise ConfigError(
                f"{experiment.origin}: no stages and no pair; name one with --pair or `pair:` "
                "(harness list families)"
            )
        return experiment
    family = models.resolve_family(name)
    stages = {stage: Stage(model=spec) for stage, spec in family.items()}
    names = list(stages)
    updates: dict[str, object] = {"pair": name, "stages": stages}
    if experiment.recovery is None:
        updates["recovery"] = {"base": names[0], "instruct": names[-1]}
    if experiment.levels == (AS_IS,):
        updates["levels"] = ("Q8_0",)
    return parse_experiment({**_dump(experiment), **updates}, experiment.origin)


def _dump(experiment: Experiment) -> dict[str, object]:
    return experiment.model_dump(by_alias=True, exclude_unset=True)


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
