"""A run's tables in other forms, each with the same columns and the same printed figures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.atomic import replacing, writing
from harness.errors import ConfigError
from harness.intake import meant
from harness.numbers import cell
from harness.reporting.cells import write_csv
from harness.reporting.folder import Run
from harness.reporting.tables import TABLES


def parse_formats(text: str | None) -> tuple[str, ...]:
    """``json,parquet`` as names; ConfigError for one that does not exist or cannot be written."""
    names = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    for name in names:
        if name not in FORMATS:
            raise ConfigError(
                f"--format {name!r:.40}: accepted: {', '.join(FORMATS)}{meant(name, FORMATS)}"
            )
    if "parquet" in names:
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise ConfigError(
                "--format parquet needs pyarrow; pip install 'gguf-pair-harness[ifeval]'"
            ) from None
    return names


def write_formats(run: Run, names: Sequence[str]) -> list[Path]:
    """Write the run's tables in each form into its folder; what was written beyond the report."""
    return [path for name in names for path in FORMATS[name](run)]


def printed(value: Any) -> Any:
    """A value as the CSV prints it: at most six decimals, nothing for nothing."""
    if isinstance(value, float):
        return float(cell(value)) if math.isfinite(value) else None
    return value


def _csv(run: Run) -> list[Path]:
    """The one table that has no CSV of its own: a row per answer."""
    path = run.folder / "samples.csv"
    table = TABLES["samples"]
    write_csv(path, table.columns, table.rows(run.analysis, run.scored))
    return [path]


def _json(run: Run) -> list[Path]:
    path = run.folder / "tables.json"
    decisions = [asdict(item) for item in run.decisions]
    tables = {
        name: [
            {column: printed(row[column]) for column in table.columns}
            for row in table.rows(run.analysis, run.scored)
        ]
        for name, table in TABLES.items()
    }
    with writing(path) as stream:
        json.dump(
            {"decisions": decisions, **tables}, stream, ensure_ascii=True, indent=1, allow_nan=False
        )
        stream.write("\n")
    return [path]


def _parquet(run: Run) -> list[Path]:
    paths = []
    for name in TABLES:
        frame = getattr(run, name)
        figures = frame.select_dtypes("float").columns
        rounded = {column: frame[column].map(printed).astype("float64") for column in figures}
        path = run.folder / f"{name}.parquet"
        with replacing(path) as draft:
            frame.assign(**rounded).to_parquet(draft, index=False)
        paths.append(path)
    return paths


def _always(run: Run) -> list[Path]:
    return []


FORMATS: Mapping[str, Callable[[Run], list[Path]]] = {
    "md": _always,
    "html": _always,
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
}
"""What each form writes beyond the reports and the CSV tables that every run has."""
