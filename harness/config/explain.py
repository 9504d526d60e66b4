"""pydantic's errors as one line: the key, what was found, what is accepted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from harness.config.aims import Contrast, Ends, Measure, Uses
from harness.config.arms import Constant, StrategyEntry
from harness.config.engine import EngineConfig, SamplingConfig
from harness.config.experiment import Experiment
from harness.config.section import Section
from harness.config.stages import MadeLevels, Stage
from harness.intake import near, plainly, shown


def explained(error: ValidationError) -> str:
    """The first problem of a ValidationError: the key, what was found, what is accepted."""
    # A union reports every branch: the one that got deepest into the file is the one meant.
    # A misspelt key comes before the required key it leaves missing.
    first = max(
        error.errors(include_url=False),
        key=lambda item: (len(item["loc"]), item["type"] == "extra_forbidden"),
    )
    parts = [str(part) for part in first["loc"] if not _is_branch(part)]
    key = ".".join(parts) or "file"
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        # A key of the file may be spelt like a branch (``str``, ``a[``): the last part is the key.
        odd = first["loc"][-1]
        key = key if parts[-1:] == [str(odd)] else ".".join([*parts, str(odd)])
        accepted = _fields_at(first["loc"][:-1])
        said = f"unknown key; {near(odd, accepted)}accepted: {', '.join(accepted)}"
    elif first["type"] == "missing":
        said = "this key is required and missing"
    elif first["type"] == "value_error" and not first["loc"]:
        key = ""  # the message names its keys itself
    elif first["type"] != "value_error":
        said = f"{plainly(said)} (found {shown(first['input'])})"
    return f"{key:.200}: {said}" if key else said


def _is_branch(part: Any) -> bool:
    """Whether a location part is pydantic's name of a union's branch, not a key of the file."""
    return isinstance(part, str) and (
        part in {"MadeLevels", "StrategyEntry", "Constant", "str", "int", "constrained-int"}
        or "[" in part
    )


def _fields_at(location: Sequence[Any]) -> list[str]:
    """The accepted keys of the mapping at a location of the experiment file."""
    nested: dict[str, type[Section]] = {
        "stages": Stage,
        "levels": MadeLevels,
        "strategies": StrategyEntry,
        "sampling": SamplingConfig,
        "engine": EngineConfig,
        "recovery": Ends,
        "contrasts": Contrast,
        "controls": Constant,
        "measure": Measure,
        "uses": Uses,
    }
    model = nested.get(str(location[0]), Experiment) if location else Experiment
    return [field.alias or name for name, field in model.model_fields.items()]
