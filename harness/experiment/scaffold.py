"""An experiment, a suite, a template and a check to start from, written into a folder."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from harness import checks
from harness.atomic import write_text
from harness.config import NAME_LENGTH, load_experiment
from harness.datasets import load_suite, own_place
from harness.errors import ConfigError, OutputError
from harness.intake import read_text
from harness.resources import find_resource
from harness.strategies import load_templates

BASE, INSTRUCT = "models/tiny-base-F16.gguf", "models/tiny-dpo-F16.gguf"
"""The bundled pair: what is compared where nobody names models."""

_STARTERS = Path(__file__).parent.parent / "starters"
_BUNDLED_TOKENS, _TOKENS = 32, 256


@dataclass(frozen=True, slots=True)
class Project:
    """What was written: the experiment's file, every file with a word about it, the suite.

    ``suite`` is the example beside the experiment, or the user's own place.
    """

    experiment: Path
    written: tuple[tuple[Path, str], ...]
    suite: Path


def write_project(
    folder: Path,
    *,
    base: str | None = None,
    instruct: str | None = None,
    suite: str | None = None,
) -> Project:
    """Write the files to start from and read them again as a run would; nothing is overwritten.

    ``base`` and ``instruct`` are GGUF files or places on the hub (the bundled pair where both are
    None); ``suite`` is a file or folder of prompts in place of the example. Raises ConfigError for
    one model of two, OutputError where a file is there already, SuiteError for bad prompts.
    """
    if (base is None) != (instruct is None):
        raise ConfigError("give both --base and --instruct, or neither for the bundled pair")
    place, models = _suite(suite), (base or BASE, instruct or INSTRUCT)
    words = {
        "NAME": _name(folder),
        "DESCRIPTION": json.dumps(
            f"{Path(base or BASE).name} and {Path(instruct or INSTRUCT).name}."
        ),
        "BASE": _model(models[0], folder),
        "INSTRUCT": _model(models[1], folder),
        "SUITE": json.dumps(str(place)) if place else "prompts.jsonl",
        "MAX_TOKENS": str(_TOKENS if base else _BUNDLED_TOKENS),
    }
    about = {
        "experiment.yaml": "what is compared, and how",
        "prompts.jsonl": "prompts that show what a row may say; put yours in their place",
        "templates/my_qa.j2": "a way to put a prompt to a base model",
        "checks.py": "a check of your own",
    }
    if place:
        del about["prompts.jsonl"]
    files = {folder / name: name for name in about}
    for path in files:
        if path.exists() or path.is_symlink():
            raise OutputError(f"{path} is there already: name another folder, or move it away")
    for path, name in files.items():
        write_text(path, _filled(read_text(_STARTERS / name.replace(".py", ".txt")), words))
    experiment = load_experiment(folder / "experiment.yaml")
    checks.load_plugins([Path(name) for name in experiment.checks])
    load_templates([Path(name) for name in experiment.templates])
    return Project(
        folder / "experiment.yaml",
        tuple((path, about[name]) for path, name in files.items()),
        place or folder / "prompts.jsonl",
    )


def _filled(text: str, words: dict[str, str]) -> str:
    return re.sub(r"@([A-Z_]+)@", lambda match: words[match[1]], text)


def _suite(suite: str | None) -> Path | None:
    if suite is None:
        return None
    place = own_place(suite)
    if place is None:
        raise ConfigError(f"--suite {suite}: there is no such file or folder of prompts")
    load_suite(place, validate=lambda spec: None)  # its checks may be the user's own
    return place.resolve()


def _model(spec: str, folder: Path) -> str:
    """A model as the experiment writes it: from its own folder, else from everywhere."""
    path = Path(spec)
    if not path.is_file():
        if path.suffix.lower() == ".gguf" and not {"@", ":"} & {*spec}:
            shipped = find_resource("models", spec, "")
            if shipped is None:
                raise ConfigError(f"there is no model file {spec}; `harness fetch` gets one")
        return json.dumps(spec)
    found, home = path.resolve(), folder.resolve()
    inside = found.is_relative_to(home)
    return json.dumps(found.relative_to(home).as_posix() if inside else str(found))


def _name(folder: Path) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).lstrip("._-")
    return json.dumps(plain[:NAME_LENGTH] or "my-experiment")
