"""Suites: files of prompts, with the checks their answers have to pass where they have any.

A suite is named (``starter``: a file in ``datasets/``), given by its path (a file, or a folder of
them), or published (``ifeval``, ``ifbench``: fetched from the hub into its cache, or read from
``{"ifeval": path}``). The format of a row is ``datasets/schema.json``.
A row needs no id (one is made of its text) and no checks: nothing is judged then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.datasets.defaults import KEY, speaks_for_all, with_defaults
from harness.datasets.files import parse_line, rows, text_lines
from harness.datasets.item import (
    TARGET,
    Validate,
    defaults_problems,
    parse_row,
    published_checks,
    read_row,
)
from harness.datasets.places import (
    HUB,
    PIN,
    Source,
    files_of,
    locate,
    own_place,
    piped_suite,
    refuse_another_file,
    suite_name,
    suite_sha256,
)
from harness.errors import SuiteError
from harness.records import Sample

__all__ = [
    "HUB",
    "PIN",
    "TARGET",
    "Line",
    "Source",
    "limited",
    "load_suite",
    "locate",
    "own_place",
    "parse_line",
    "parse_row",
    "piped_suite",
    "published_checks",
    "read_suite",
    "suite_name",
    "suite_sha256",
    "text_lines",
]


@dataclass(frozen=True, slots=True)
class Line:
    """What a suite says in one place: a sample, or everything that is wrong with the row.

    ``number`` is the line the row begins on (in Parquet: its number from 1).
    """

    file: Path
    number: int
    sample: Sample | None
    problems: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """``file:line`` as messages begin."""
        return f"{self.file}:{self.number}"


def load_suite(
    source: Source, *, validate: Validate, limit: int | None = None
) -> tuple[Sample, ...]:
    """The samples of a suite in file order, the first ``limit`` of them when one is given.

    Every row is checked against the schema and every check by ``validate`` before anything is
    cut, so a suite is good or refused as a whole. Raises SuiteError naming file, line and field,
    FetchError when a published suite cannot be fetched.
    """
    samples = []
    for line in read_suite(source, validate=validate):
        if line.sample is None:
            raise SuiteError(f"{line.where}: {line.problems[0]}")
        samples.append(line.sample)
    if not samples:
        raise SuiteError(f"{locate(source)[1]}: the suite has no rows")
    return tuple(samples[:limit])


def read_suite(source: Source, *, validate: Validate) -> Iterator[Line]:
    """Every row of a suite in file order, the wrong ones with all that is wrong with them.

    Rows of a folder's files are of the category that the file is named after, unless they say
    otherwise. Raises SuiteError for a file that cannot be read at all, FetchError as
    :func:`load_suite` does.
    """
    name, place = locate(source)
    refuse_another_file(source, place)
    files = files_of(place)
    seen: dict[str, tuple[Path, int]] = {}
    for file in files:
        category = None if file == place else file.stem
        defaults: Mapping[str, Any] = {}
        for count, (number, row) in enumerate(rows(file)):
            if isinstance(row, SuiteError):
                yield Line(file, number, None, (str(row),))
                continue
            if speaks_for_all(row):
                wrong = defaults_problems(row, first=count == 0, validate=validate)
                if wrong:
                    yield Line(file, number, None, wrong)
                    break  # what the rows are is not known
                defaults = row[KEY]
                continue
            row = with_defaults(row, defaults)
            sample, problems = read_row(row, suite=name, validate=validate, category=category)
            if sample is not None and sample.id in seen:
                first, line = seen[sample.id]
                there = f"line {line}" if first == file else f"line {line} of {first.name}"
                problems, sample = (f"id: {sample.id!r} is already on {there}",), None
            if sample is not None:
                seen[sample.id] = (file, number)
            yield Line(file, number, sample, problems)


def limited(samples: Sequence[Sample], limit: int | None) -> tuple[Sample, ...]:
    """The first ``limit`` items taken in turn from every category, in the suite's own order.

    A smaller limit is a subset of a larger one, and both cover the categories evenly.
    """
    if limit is None or limit >= len(samples):
        return tuple(samples)
    seen: dict[str, int] = defaultdict(int)
    ranked = []
    for position, sample in enumerate(samples):
        ranked.append((seen[sample.category], position))
        seen[sample.category] += 1
    chosen = {position for _, position in sorted(ranked)[:limit]}
    return tuple(sample for position, sample in enumerate(samples) if position in chosen)
