"""What was measured of a run's model files, in its folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from harness.atomic import write_text
from harness.errors import ConfigError
from harness.intake import load_json, read_text
from harness.measured import NOTHING, Measured

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
