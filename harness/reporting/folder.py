"""A run's folder: the one place that knows its format, writing and reading.

``manifest.json`` says what was run, ``samples.jsonl`` holds a row per answer with everything that
is known of it: the question and its checks, the exact prompt, the answer, verdicts and reasons;
``measured.json`` what was measured of the model files, where that was asked for, ``choice.json``
which of the two models to use for what.
Those are the run; tables, plots and reports are made from them. A folder is data from
somewhere: reading it runs nothing that it names, follows no link out of it and writes nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis import Analysis, FileFacts, analyse, decide
from harness.atomic import write_text, writing
from harness.choice import Choice
from harness.config import Experiment, parse_experiment
from harness.errors import ConfigError
from harness.hashing import file_sha256
from harness.measured import NOTHING, Measured
from harness.records import Cell, Decision, RunManifest, Scored
from harness.reporting.cells import write_csv
from harness.reporting.choice import keep_choice, read_choice
from harness.reporting.html import pages
from harness.reporting.measures import read_measured, write_measured
from harness.reporting.plots import write_plots
from harness.reporting.report import report_text
from harness.reporting.rows import ANSWERS, FORMAT, read_manifest, read_rows, sample_rows
from harness.reporting.runs import find_run, run_folders, writable
from harness.reporting.scrub import scrub
from harness.reporting.tables import TABLES
from harness.sanitize import no_surrogates

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """A finished run: its rows, its manifest, and what follows from them.

    The frames are tidy pandas tables (columns in ``docs/reports.md``): ``samples`` has a row per
    answer, ``scores`` a row per answer and check, ``summary`` a row per condition, ``recovery`` a
    row per recovered share, ``comparisons`` a row per paired comparison.
    """

    folder: Path
    manifest: RunManifest
    scored: tuple[Scored, ...]
    format: int = FORMAT
    samples_sha256: str = ""
    """What samples.jsonl had to be when the folder was written; empty before that."""
    measured: Measured = field(default_factory=Measured)
    """What was measured of its model files beside the answers."""
    choice: Choice | None = None
    """Which of its two models to use for what, where the experiment names uses."""

    @cached_property
    def experiment(self) -> Experiment:
        """What was asked, as the manifest says it; nothing that it names is loaded."""
        described = dict(self.manifest.experiment)
        described.pop("limit", None)
        return parse_experiment(described, str(self.folder / "manifest.json"))

    @cached_property
    def analysis(self) -> Analysis:
        """The figures: computed when first asked for."""
        return analysed(self.experiment, self.manifest, self.scored, self.measured)

    def with_measured(self, measured: Measured) -> Run:
        """The run with what was measured of its files; its figures are not computed again."""
        found = replace(self, measured=measured)
        found.__dict__["analysis"] = replace(self.analysis, measured=measured)
        return found

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """What may be acted on: which wrapper, which level, which model, each in one sentence."""
        return decide(self.analysis)

    @cached_property
    def samples(self) -> pd.DataFrame:
        """A row per answer, without its verdicts' details."""
        return _frame("samples", self)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row per answer and check: ``strict`` and ``loose`` are true, false or missing."""
        return _frame("scores", self)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """A row per condition and control."""
        return _frame("summary", self)

    @cached_property
    def recovery(self) -> pd.DataFrame:
        """A row per recovered share, the best wrapper's among them."""
        return _frame("recovery", self)

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """A row per paired comparison, declared and explored."""
        return _frame("comparisons", self)


def _frame(name: str, run: Run) -> pd.DataFrame:
    import pandas as pd

    table = TABLES[name]
    rows = (
        # A data frame's text is UTF-8, which half a surrogate pair is not.
        [no_surrogates(v) if isinstance(v, str) and not v.isascii() else v for v in values]
        for values in map(itemgetter(*table.columns), table.rows(run.analysis, run.scored))
    )
    frame = pd.DataFrame(list(rows), columns=list(table.columns))
    return frame.astype({column: table.dtype(column) for column in table.columns})


def analysed(
    experiment: Experiment,
    manifest: RunManifest,
    scored: Sequence[Scored],
    measured: Measured = NOTHING,
) -> Analysis:
    """The figures of judged answers, as the experiment asks for them."""
    levels = experiment.level_names
    files = _file_facts(manifest)
    return analyse(
        scored,
        recovery=experiment.recovery_pair(),
        contrasts=experiment.declared_contrasts(),
        reference_level=levels[0],
        seed=experiment.seed,
        bits_per_weight={
            cell: facts.bits_per_weight
            for cell, facts in files.items()
            if facts.bits_per_weight is not None
        },
        levels=levels,
        margin=None if experiment.margin is None else experiment.margin / 100,
        files=files,
        measured=measured,
    )


def _file_facts(manifest: RunManifest) -> dict[Cell, FileFacts]:
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


def write_run(run: Run, *, stale: Sequence[str] = ()) -> None:
    """Write the run into its folder; the same run gives the same bytes, whatever its rows' order.

    ``samples.jsonl``, the CSV tables, ``manifest.json``, ``plots/*.png``, ``report.html`` and
    ``report.md``, which comes last: a folder without it is unfinished. ``stale`` says what has
    changed since the run, for the top of the reports. Every file appears whole. Home folders and
    secrets are scrubbed from the manifest, errors and the command.
    """
    folder = run.folder
    writable(folder)
    write_measured(folder, run.measured)
    keep_choice(folder, run.choice)
    with writing(folder / ANSWERS) as stream:
        stream.writelines(_sample_lines(run))
    for table in TABLES.values():
        if table.file:
            write_csv(folder / table.file, table.columns, table.rows(run.analysis, run.scored))
    digest = file_sha256(folder / ANSWERS)
    described = {"format": run.format, "samples_sha256": digest, **scrub(run.manifest)}
    text = json.dumps(described, indent=2, sort_keys=True, ensure_ascii=True)
    write_text(folder / "manifest.json", text + "\n")
    plots = write_plots(run.analysis, folder / "plots", run.choice)
    report = report_text(
        run.analysis,
        run.scored,
        run.manifest,
        description=run.experiment.description,
        warnings=[*run.manifest.warnings, *stale],
        command=run.manifest.command,
        plots=plots,
        choice=run.choice,
    )
    _write_pages(run, stale, plots)
    write_text(folder / "report.md", report)


def _sample_lines(run: Run) -> Iterator[str]:
    for row in sample_rows(run.scored, complete=run.format > 1):
        yield json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n"


def written_before(run: Run) -> Run | None:
    """The very same run in a folder beside this one's, with the command that made it; else None.

    The same: every row and all of the manifest but the command that made it.
    """
    ours = _without_command(run.manifest)
    digest = ""
    for folder in reversed(run_folders(run.folder.parent)):
        try:
            manifest, format, theirs = read_manifest(folder)
        except ConfigError:
            continue  # somebody's folder, or a run that is being written
        if format == run.format and _without_command(manifest) == ours:
            digest = digest or _digest(_sample_lines(run))
            if theirs == digest:
                return replace(run, folder=folder, manifest=manifest)
    return None


def _digest(lines: Iterable[str]) -> str:
    found = hashlib.sha256()
    for line in lines:
        found.update(line.encode("utf-8"))
    return found.hexdigest()


def _without_command(manifest: RunManifest) -> str:
    return json.dumps(scrub(replace(manifest, command="")), sort_keys=True)


def _write_pages(run: Run, stale: Sequence[str], plots: Mapping[str, str]) -> None:
    """report.html, and as many further pages as its answers take; pages of before are removed."""
    written = set()
    for name, text in pages(
        run.analysis,
        run.scored,
        run.manifest,
        description=run.experiment.description,
        warnings=[*run.manifest.warnings, *stale],
        command=run.manifest.command,
        plots=plots,
        images={name: (run.folder / "plots" / name).read_bytes() for name in plots},
        choice=run.choice,
    ):
        write_text(run.folder / name, text)
        written.add(name)
    for old in run.folder.glob("report-*.html"):
        if old.name not in written:
            old.unlink()


def read_run(run: str | Path) -> Run:
    """The run in a folder, or one by name (:func:`find_run`); nothing is written or executed.

    Raises ConfigError naming the file and the row when it is not a run's folder.
    """
    folder = find_run(run)
    manifest, format, digest = read_manifest(folder)
    scored = read_rows(folder / ANSWERS, format)
    measured, choice = read_measured(folder), read_choice(folder)
    return Run(folder, manifest, scored, format, digest, measured, choice)
