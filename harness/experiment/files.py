"""The GGUF files of an experiment's stages: found, fetched, made, inspected, of their levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness import models
from harness.config import AS_IS, WITH_IMATRIX, Experiment, MadeLevels, Stage
from harness.errors import TemplateError
from harness.experiment.backend import Finding, StageModel
from harness.intake import read_text
from harness.records import Adapter, ModelFile
from harness.resources import resource_dir


def find_files(
    experiment: Experiment, stages: Sequence[str], finding: Finding
) -> tuple[StageModel, ...]:
    """Find, fetch, verify, make and inspect the stages' GGUF files at every level.

    In a dry run the file that a level would be made from stands in for it, without a digest, so
    that no stored answer is taken for that level's. Raises ModelError naming what is missing or is
    not of its level.
    """
    base_dir = finding.base_dir
    files = {
        (name, level): path
        for name in stages
        for level, path in _files(experiment, experiment.stages[name], finding).items()
    }
    distinct = list(dict.fromkeys(files.values()))
    inspected = dict(zip(distinct, models.inspect_models(distinct), strict=True))
    found: list[StageModel] = []
    for name in stages:
        stage = experiment.stages[name]
        cells = [(level, inspected[files[name, level]]) for n, level in files if n == name]
        adapter = _adapter(stage, cells, base_dir)
        template = stage_template(stage, base_dir)
        own: list[StageModel] = []
        for level, model in cells:
            chosen = template or model.chat_template
            source = files.get((name, _source(experiment)))
            if _stands_in(experiment, level, files[name, level], source):
                model = replace(model, sha256=NOT_MADE)
            own.append(StageModel(name, level, model, adapter, chosen))
        found += _noted(stage.model, own)
    return tuple(found)


NOT_MADE = "not made yet"
"""The digest of a level's file that a dry run does not make."""


def _source(experiment: Experiment) -> str:
    levels = experiment.levels
    return levels.source if isinstance(levels, MadeLevels) else ""


def _stands_in(experiment: Experiment, level: str, path: Path, source: Path | None) -> bool:
    """Whether a level's file is really the one it would be made from."""
    return bool(_source(experiment)) and level != _source(experiment) and path == source


def _noted(spec: str, items: Sequence[StageModel]) -> list[StageModel]:
    """A stage's models, each with what a reader must know of its level.

    Raises ModelInvalid for a file that is not of the level it stands for.
    """
    noted: list[StageModel] = []
    alike: dict[tuple[object, ...], list[str]] = {}
    for item in items:
        model = item.model
        if model.sha256 == NOT_MADE:
            told = f"{item.cell} is not made yet: its stored answers are not counted"
        else:
            name = item.level.removesuffix(WITH_IMATRIX)
            asked = name if name != AS_IS else models.asked_level(spec)
            shared = sum(other.model.path == model.path for other in items) > 1
            where = f"{item.cell}: {model.path.name}"
            told = models.require_level(model, asked, where=where, fixed=shared) if asked else ""
            types = (model.size, *sorted(model.tensor_types.items()))
            alike.setdefault(types, []).append(item.level)
        noted.append(replace(item, notes=(told,) if told else ()))
    same = tuple(
        f"{items[0].stage}: {' and '.join(names)} hold the same tensor types in this model: one "
        "file under several names"
        for names in alike.values()
        if len(names) > 1
    )
    return [*noted[:-1], replace(noted[-1], notes=noted[-1].notes + same)] if noted else []


def _adapter(
    stage: Stage, cells: Sequence[tuple[str, ModelFile]], base_dir: Path
) -> Adapter | None:
    """The stage's adapter, made for its model; PairMismatch when it was made for another."""
    if stage.adapter is None or not cells:
        return None
    adapter = models.resolve_adapter(_found(stage.adapter, base_dir), stage.scale, base_dir)
    models.check_adapter(adapter, cells[0][1])
    return adapter


def _files(experiment: Experiment, stage: Stage, finding: Finding) -> Mapping[str, Path]:
    """The stage's file at each level, in the order of the experiment's levels."""
    base_dir = finding.base_dir

    def resolve(level: str) -> Path:
        spec = stage.model.replace("{level}", level)
        wanted = None if level == AS_IS else level
        return models.resolve_model(
            spec,
            level=wanted,
            base_dir=base_dir,
            sha256=stage.pin(level),
            progress=finding.progress,
            offline=finding.dry,
        )

    levels = experiment.levels
    names = experiment.level_names[: 1 if stage.fixed else None]
    if not isinstance(levels, MadeLevels):
        return {level: resolve(level) for level in names}
    made = levels
    source = resolve(made.source)

    def make(name: str) -> Path:
        level, matrix = made.recipe(name)
        imatrix = base_dir / matrix if matrix else None
        if finding.dry:
            return models.already_made(source, level, imatrix=imatrix) or source
        return models.quantize(
            source,
            level,
            imatrix=imatrix,
            requantize=made.requantize,
            on_start=lambda: finding.say(f"quantizing {source.name} to {name}"),
        )

    return {name: source if name == made.source else make(name) for name in names}


def _found(name: str, base_dir: Path) -> Path:
    """A file of the experiment's folder, or one that ships with the harness."""
    path = base_dir / Path(name).expanduser()
    shipped = resource_dir("models").parent / name
    return shipped if not path.exists() and shipped.is_file() else path


def stage_template(stage: Stage, base_dir: Path) -> str | None:
    """The template an experiment gives a stage in place of its model's own, None without one."""
    if stage.chat_template is None:
        return None
    return read_text(_found(stage.chat_template, base_dir), TemplateError)
