"""The paths in an experiment, led from the experiment's own folder."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.config.experiment import Experiment
from harness.config.stages import MadeLevels


def rooted_in(experiment: Experiment, folder: Path) -> Experiment:
    """The experiment with every path that leads somewhere from its own folder led from there.

    Any other stays as written: a name, a repository, a file that ships, or a path from the working
    directory.
    """

    def rooted(name: str, *, folders: bool = False) -> str:
        path = Path(name)
        if path.is_absolute() or name.startswith("~"):
            return name
        place = folder / path
        try:
            there = place.is_dir() if folders else place.is_file()
            if "{level}" in name:
                pattern = glob.escape(name).replace("{level}", "*")
                there = next(folder.glob(pattern), None) is not None
        except (OSError, ValueError, IndexError, NotImplementedError):
            return name
        return str(place) if there else name

    def maybe(name: str | None) -> str | None:
        return None if name is None else rooted(name)

    def suite(source: Any) -> Any:
        if isinstance(source, Mapping):
            return {
                key: maybe(value) if key != "sha256" else value for key, value in source.items()
            }
        return rooted(source, folders=source.endswith("/"))  # a bare name may be a shipped suite's

    stages = {
        name: stage.model_copy(
            update={
                "model": stage.model if stage.endpoint else rooted(stage.model),
                "adapter": maybe(stage.adapter),
                "chat_template": maybe(stage.chat_template),
            }
        )
        for name, stage in experiment.stages.items()
    }
    levels: Any = experiment.levels
    if isinstance(levels, MadeLevels):
        levels = levels.model_copy(update={"imatrix": maybe(levels.imatrix)})
    measure = experiment.measure
    if measure is not None:
        measure = measure.model_copy(update={"text": maybe(measure.text)})
    uses = experiment.uses
    if uses is not None:
        lists = {
            key: tuple(rooted(rooted(name), folders=True) for name in getattr(uses, key))
            for key in ("text", "infill")
        }
        uses = uses.model_copy(update={**lists, "examples": maybe(uses.examples)})
    updates: dict[str, Any] = {
        "stages": stages,
        "measure": measure,
        "uses": uses,
        "levels": levels,
        "suites": tuple(suite(source) for source in experiment.suites),
        "templates": tuple(rooted(name, folders=True) for name in experiment.templates),
        "checks": tuple(rooted(name) for name in experiment.checks),
    }
    given = experiment.model_fields_set
    return experiment.model_copy(update={k: v for k, v in updates.items() if k in given})
