"""What was measured of a run's model files, in its folder, and what their headers said."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from harness.analysis import FileFacts
from harness.atomic import write_text
from harness.errors import ConfigError
from harness.intake import load_json, read_text
from harness.measured import NOTHING, Measured
from harness.records import Cell, RunManifest

Value = TypeVar("Value")

NAME = "measured.json"
_BYTES = 64 << 20


def write_measured(folder: Path, measured: Measured) -> None:
    """Write what was measured, if anything; what stood there of another run goes."""
    path = folder / NAME
    if measured:
        write_text(path, json.dumps(asdict(measured), indent=1, allow_nan=False) + "\n")
    else:
        path.unlink(missing_ok=True)


def read_measured(folder: Path) -> Measured:
    """What the folder says was measured, if it does; ConfigError where that is damaged."""
    return read_value(folder / NAME, _adapter(), "not what a run measured") or NOTHING


def read_value(path: Path, adapter: TypeAdapter[Value], refusal: str) -> Value | None:
    """A value of a run's folder, None where there is no such file.

    Raises ConfigError, in the words of ``refusal``, where the file is damaged.
    """
    if not path.exists():
        return None
    data = load_json(read_text(path, limit=_BYTES), str(path))
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise ConfigError(f"{path}: {refusal}: {place}: {first['msg']}") from error


@cache
def _adapter() -> TypeAdapter[Measured]:
    return TypeAdapter(Measured)


def file_facts(manifest: RunManifest) -> dict[Cell, FileFacts]:
    """What the manifest tells of each model file, by cell."""
    return {
        Cell.named(str(cell)): FileFacts(
            size=int(_number(model.get("size")) or 0),
            bits_per_weight=_number(model.get("bits_per_weight")),
            types=_counts(model.get("tensor_types")),
            fallback=_number(model.get("fallback_share")),
        )
        for cell, model in manifest.models.items()
        if isinstance(model, Mapping)
    }


def _number(value: Any) -> float | None:
    plain = isinstance(value, (int, float)) and math.isfinite(value)
    return float(value) if plain else None


def _counts(value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping):
        return {}
    return {str(name): count for name, count in value.items() if isinstance(count, int)}
