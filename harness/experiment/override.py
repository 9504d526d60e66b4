"""What is laid over an experiment: a pair of the registry, or a command line's options."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import models
from harness.config import (
    AS_IS,
    CONTROL_NAMES,
    Experiment,
    MadeLevels,
    Stage,
    StrategyEntry,
    is_url,
    load_experiment,
    parse_experiment,
    strategy_entry,
)
from harness.datasets import own_place, piped_suite
from harness.errors import ConfigError
from harness.intake import read_text
from harness.records import Condition
from harness.resources import find_resource
from harness.strategies import UNTOUCHED

# What the recovered share R = (W - B) / (I - B) is measured between, whatever is selected.
_BASE_ANCHOR = "raw"
_INSTRUCT_ANCHOR = "native"
_SYSTEM_BYTES = 1 << 20


def chosen_experiment(
    experiment: str | None,
    *,
    pair: str | None = None,
    base: str | None = None,
    instruct: str | None = None,
    suite: str | None = None,
) -> Experiment:
    """The experiment a command line names: a file, a shipped one, a pair, or two model files.

    ``base`` and ``instruct`` are paths, places on the hub or servers' addresses; ``suite`` takes
    the place of the experiment's own. Raises ConfigError for what does not go together.
    """
    suites = [chosen_suite(suite)] if suite else None
    if base is None and instruct is None:
        found = with_pair(load_experiment(experiment or "tiny"), pair)
        if suites is None:
            return found
        data = found.model_dump(mode="json", by_alias=True)
        return parse_experiment({**data, "suites": suites}, found.origin)
    if base is None or instruct is None:
        given, wanted = ("--base", "--instruct") if instruct is None else ("--instruct", "--base")
        raise ConfigError(f"{given} needs {wanted} beside it: the two models of the pair")
    if experiment or pair:
        raise ConfigError(
            "--base and --instruct are an experiment of their own: leave out "
            f"{experiment or pair!r}"
        )
    stages = {"base": _named(base), "instruct": _named(instruct)}
    data = {
        "name": "two-files",
        "description": f"{_short(base)} and {_short(instruct)}.",
        "stages": stages,
        "suites": suites or ["starter"],
    }
    return parse_experiment(data, "--base and --instruct")


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


def chosen_suite(suite: str) -> str:
    """``--suite``: a file or folder by its path from everywhere, ``-`` for what is piped in.

    A shipped or published name stays one.
    """
    if suite == "-":
        if sys.stdin.isatty():
            print("prompts, one a line; Ctrl-D ends them:", file=sys.stderr)
        return str(piped_suite(sys.stdin))
    place = own_place(suite)
    return suite if place is None else str(place.resolve())


def _named(model: str) -> str | dict[str, str]:
    """A stage by its file, its place on the hub, or its server: ``http://HOST:PORT#MODEL``."""
    address, _, name = model.partition("#")
    if not is_url(model):
        return {"model": placed(model)}
    return {"endpoint": address, **({"model": name} if name else {})}


def _short(model: str) -> str:
    return model if is_url(model) else Path(model).name


def placed(model: str) -> str:
    """A path that means the same from every folder; a shipped file and anything else as it is."""
    path = Path(model)
    shipped = not path.exists() and find_resource("models", model, "") is not None
    return str(path.absolute()) if path.suffix.lower() == ".gguf" and not shipped else model


def without_uses(experiment: Experiment) -> Experiment:
    """The experiment's grid alone."""
    return experiment.model_copy(update={"uses": None})


def only_stages(experiment: Experiment, names: Sequence[str]) -> Experiment:
    """The experiment without its other stages, and without contrasts, which may name them."""
    strategies = experiment.strategies
    if isinstance(strategies, Mapping):
        strategies = {stage: arms for stage, arms in strategies.items() if stage in names}
    stages = {name: stage for name, stage in experiment.stages.items() if name in names}
    updates = {"stages": stages, "strategies": strategies, "contrasts": ()}
    return experiment.model_copy(update=updates)


def at_level(experiment: Experiment, level: str | None) -> Experiment:
    """The experiment at one level: the one asked for, or the first of its levels.

    Raises ConfigError for a level it does not have.
    """
    known = experiment.level_names
    wanted = level or known[0]
    if wanted not in known and known != ("as-is",):
        raise ConfigError(
            f"{experiment.name}: level {wanted!r} is not one of its levels: {', '.join(known)}"
        )
    if isinstance(experiment.levels, tuple):
        return experiment.model_copy(update={"levels": (wanted,), "contrasts": ()})
    made = experiment.levels.model_copy(update={"only": (wanted,)})
    return experiment.model_copy(update={"levels": made, "contrasts": ()})


def override(
    experiment: Experiment,
    *,
    strategies: Sequence[str] | None = None,
    quants: Sequence[str] | None = None,
    seed: int | None = None,
    epochs: int | None = None,
    n_gpu_layers: int | str | None = None,
    parallel: int | None = None,
    max_tokens: int | None = None,
    system: str | None = None,
    templates: Sequence[Path] = (),
    checks: Sequence[Path] = (),
    code: str | None = None,
    early: str | None = None,
    controls: Sequence[str] = (),
) -> Experiment:
    """The experiment with what the command line says; ConfigError as for a wrong file."""
    data = experiment.model_dump(mode="json", by_alias=True)
    given = {"seed": seed, "epochs": epochs, "code": code, "early": early}
    data |= {key: value for key, value in given.items() if value is not None}
    if isinstance(n_gpu_layers, int) and n_gpu_layers < -1:
        raise ConfigError(f"--ngl {n_gpu_layers}: wanted a number of layers, -1 for all, or auto")
    if epochs is not None and epochs > 1 and experiment.sampling.temperature == 0:
        raise ConfigError(
            f"--epochs {epochs}: {experiment.origin} has sampling.temperature 0, which gives the "
            f"same answer {epochs} times; set a temperature above 0 there"
        )
    if n_gpu_layers is not None:
        # Layers on a GPU are for the devices llama.cpp finds, not for those the file names.
        data["engine"] |= {"n_gpu_layers": n_gpu_layers, "devices": []}
    if parallel is not None:
        if not 1 <= parallel <= 256:
            raise ConfigError(f"--parallel {parallel}: wanted 1 to 256 busy slots")
        data["engine"]["parallel"] = parallel
        # The rows of every decode hold the busy slots; a wider run is another identity.
        data["engine"]["width"] = max(parallel, experiment.engine.width)
    if max_tokens is not None:
        data["sampling"]["max_tokens"] = max_tokens
    data["templates"] += [str(folder) for folder in templates]
    data["checks"] += [str(module) for module in checks]
    data["controls"] += [name if name in CONTROL_NAMES else {"text": name} for name in controls]
    if quants is not None:
        data["levels"] = _levels(experiment, quants)
    data["strategies"] = _strategies(experiment, strategies, system)
    data["contrasts"] = _contrasts(data, experiment)
    return parse_experiment(data, experiment.origin)


def system_text(value: str | None) -> str | None:
    """``--system``: the text itself, or the content of the file it names.

    Raises ConfigError for what looks like a file's name where there is no such file.
    """
    if value is None:
        return None
    try:
        path = Path(value)
        if path.is_dir() or not path.exists():
            if path.suffix in {".txt", ".md"} and not re.search(r"\s", value):
                raise ConfigError(f"--system {value}: there is no such file")
            return value
    except (OSError, ValueError):  # too long, or not a name at all: it is the text
        return value
    return read_text(path, limit=_SYSTEM_BYTES).rstrip("\n")


def _levels(experiment: Experiment, quants: Sequence[str]) -> Any:
    levels = experiment.levels
    if not isinstance(levels, MadeLevels):
        return list(quants)
    return {
        "from": levels.source,
        "make": [name for name in quants if name != levels.source],
        "imatrix": levels.imatrix,
        "requantize": levels.requantize,
        "only": list(quants),
    }


def _strategies(
    experiment: Experiment, wanted: Sequence[str] | None, system: str | None
) -> dict[str, list[Any]]:
    """Every stage's entries, selected; a name no stage declares joins the base stage."""
    pair = experiment.recovery_pair()
    base = pair[0] if pair else next(iter(experiment.stages), "base")
    declared = {stage: list(experiment.entries(stage)) for stage in experiment.stages}
    if wanted is not None:
        known = {entry.name for entries in declared.values() for entry in entries}
        anchors = {base: _BASE_ANCHOR, **({pair[1]: _INSTRUCT_ANCHOR} if pair else {})}
        declared = {
            stage: [e for e in entries if e.name in wanted or e.name == anchors.get(stage)]
            for stage, entries in declared.items()
        }
        declared[base] += [strategy_entry(name) for name in wanted if name not in known]

    def written(entry: StrategyEntry) -> dict[str, Any]:
        own = {} if system is None or entry.id in UNTOUCHED else {"system": system}
        return {**entry.model_dump(mode="json", by_alias=True), **own}

    return {stage: [written(entry) for entry in entries] for stage, entries in declared.items()}


def _contrasts(data: dict[str, Any], experiment: Experiment) -> list[Any]:
    """Declared contrasts whose two conditions are still part of the grid."""
    narrowed = parse_experiment({**data, "contrasts": []}, experiment.origin)

    def runs(text: str) -> bool:
        asked = Condition.named(text)
        labels = {arm.label for arm in narrowed.arms(asked.stage)}
        return asked.level in narrowed.level_names and asked.strategy in labels

    return [
        contrast.model_dump(mode="json")
        for contrast in experiment.contrasts
        if runs(contrast.a) and runs(contrast.b)
    ]
