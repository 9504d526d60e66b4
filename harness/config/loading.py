"""From a file, a shipped name or a mapping to an experiment whose names are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.config.experiment import Experiment
from harness.config.explain import explained
from harness.config.paths import rooted_in
from harness.errors import ConfigError
from harness.intake import load_yaml, meant, near, read_text, shown
from harness.resources import find_resource, resource_dir


def load_experiment(source: str | Path) -> Experiment:
    """Read an experiment by path or shipped name (``tiny``).

    A path in it is led from the experiment's own folder, then from the working directory, then
    from what ships. Raises ConfigError naming the file, the key and what is accepted.
    """
    path = find_resource("experiments", str(source), ".yaml")
    if path is None:
        known = sorted(p.stem for p in resource_dir("experiments").glob("*.yaml"))
        raise ConfigError(
            f"no experiment {str(source)!r}: no such file, and the shipped ones are: "
            f"{', '.join(known)}{meant(source, known)}"
        )
    data = load_yaml(read_text(path), str(path))
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: an experiment is a mapping of keys such as name, stages, suites; "
            f"found {shown(data)}"
        )
    if data.get("pair") and data.get("stages"):
        raise ConfigError(
            f"{path}: it has both pair and stages; a pair brings its own stages: remove one of them"
        )
    return rooted_in(parse_experiment(data, str(path)), path.parent.absolute())


def parse_experiment(data: Mapping[str, Any], where: str) -> Experiment:
    """Validate a mapping as an experiment; ``where`` names its origin in errors."""
    try:
        experiment = Experiment.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{where}: {explained(error)}") from error
    experiment._origin = where
    _check_names(experiment, where)
    return experiment


def _check_names(experiment: Experiment, where: str) -> None:
    """Cross-references that a field's own type cannot see."""
    if not experiment.stages:
        # A pair fills them in, the file's or that of ``harness run --pair``; then they are checked.
        return
    stages = sorted(experiment.stages)
    if isinstance(experiment.strategies, Mapping):
        for stage in experiment.strategies:
            _known(where, "strategies", stage, stages)
    if experiment.recovery:
        _known(where, "recovery.base", experiment.recovery.base, stages)
        _known(where, "recovery.instruct", experiment.recovery.instruct, stages)
    for stage in stages:
        labels = [arm.label for arm in experiment.arms(stage)]
        for label in labels:
            if labels.count(label) > 1:
                raise ConfigError(
                    f"{where}: strategies of {stage}: {label!r} appears twice; "
                    "give one another name with `as:`"
                )
    for contrast in experiment.contrasts:
        for text in (contrast.a, contrast.b):
            if text.count("/") != 2:
                raise ConfigError(
                    f"{where}: contrasts ({contrast.name}): a condition is written "
                    f"stage/level/strategy, not {text!r}"
                )
        for side in contrast.conditions():
            _known(where, f"contrasts ({contrast.name})", side.stage, stages)
            _known(where, f"contrasts ({contrast.name})", side.level, experiment.level_names)
            labels = [arm.label for arm in experiment.arms(side.stage)]
            _known(where, f"contrasts ({contrast.name})", side.strategy, labels)


def _known(where: str, key: str, value: str, accepted: Sequence[str]) -> None:
    if value not in accepted:
        raise ConfigError(
            f"{where}: {key}: {shown(value)} is unknown; {near(value, accepted)}"
            f"accepted: {', '.join(accepted) or 'none'}"
        )
