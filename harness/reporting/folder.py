"""A run's folder: the one place that knows its format, writing and reading.

``manifest.json`` says what was run, ``samples.jsonl`` holds a row per answer with everything that
is known of it: the question and its checks, the exact prompt, the answer, verdicts and reasons.
Those two are the run; tables, plots and reports are made from them. A folder is data from
somewhere: reading it runs nothing that it names, follows no link out of it and writes nothing.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from harness.analysis import Analysis, analyse, decide
from harness.atomic import translated, write_text, writing
from harness.config import Experiment, parse_experiment
from harness.errors import ConfigError, OutputError
from harness.hashing import file_sha256
from harness.intake import load_json, near, plainly, read_text, shown
from harness.records import (
    CheckResult,
    CheckSpec,
    Condition,
    Decision,
    Generation,
    Message,
    Role,
    RunManifest,
    Sample,
    Scored,
    Views,
)
from harness.reporting.html import pages
from harness.reporting.plots import write_plots
from harness.reporting.report import report_text
from harness.reporting.scrub import scrub, scrub_text
from harness.reporting.tables import TABLES, ordered, write_csv
from harness.resources import reports_dir
from harness.sanitize import no_surrogates

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 2
"""Version of the layout. 1 (before it was written down) lacks each check's arguments."""

LINE = 64 << 20
"""Characters of the longest row read."""


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

    @cached_property
    def experiment(self) -> Experiment:
        """What was asked, as the manifest says it; nothing that it names is loaded."""
        described = dict(self.manifest.experiment)
        described.pop("limit", None)
        return parse_experiment(described, str(self.folder / "manifest.json"))

    @cached_property
    def analysis(self) -> Analysis:
        """The figures: computed when first asked for."""
        return analysed(self.experiment, self.manifest, self.scored)

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


def analysed(experiment: Experiment, manifest: RunManifest, scored: Sequence[Scored]) -> Analysis:
    """The figures of judged answers, as the experiment asks for them."""
    levels = experiment.level_names
    return analyse(
        scored,
        recovery=experiment.recovery_pair(),
        contrasts=experiment.declared_contrasts(),
        reference_level=levels[0],
        seed=experiment.seed,
        bits_per_weight={
            (cell.partition("/")[0], cell.partition("/")[2]): float(model["bits_per_weight"])
            for cell, model in manifest.models.items()
            if isinstance(model, Mapping) and model.get("bits_per_weight") is not None
        },
        levels=levels,
        margin=None if experiment.margin is None else experiment.margin / 100,
    )


def writable(folder: Path) -> None:
    """Refuse the folder of a run to come before anything is generated; nothing is left behind.

    Raises OutputError when it is a file, a link, or where nothing can be written.
    """
    for place in (folder, folder / "plots"):
        if place.is_symlink():
            raise OutputError(f"{place} is a link: a run's folder is a folder; name where it leads")
        if place.exists() and not place.is_dir():
            raise OutputError(f"{place} is a file, a folder is wanted: choose another -o")
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    with translated(folder):
        Path(tempfile.mkdtemp(prefix=".harness-", dir=existing)).rmdir()


def write_run(run: Run, *, stale: Sequence[str] = ()) -> None:
    """Write the run into its folder; the same run gives the same bytes, whatever its rows' order.

    ``samples.jsonl``, the CSV tables, ``manifest.json``, ``plots/*.png``, ``report.html`` and
    ``report.md``, which comes last: a folder without it is unfinished. ``stale`` says what has
    changed since the run, for the top of the reports. Every file appears whole. Home folders and
    secrets are scrubbed from the manifest, errors and the command.
    """
    folder = run.folder
    writable(folder)
    with writing(folder / "samples.jsonl") as stream:
        for row in sample_rows(run.scored, complete=run.format > 1):
            stream.write(json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n")
    for table in TABLES.values():
        if table.file:
            write_csv(folder / table.file, table.columns, table.rows(run.analysis, run.scored))
    digest = file_sha256(folder / "samples.jsonl")
    described = {"format": run.format, "samples_sha256": digest, **scrub(run.manifest)}
    text = json.dumps(described, indent=2, sort_keys=True, ensure_ascii=True)
    write_text(folder / "manifest.json", text + "\n")
    plots = write_plots(run.analysis, folder / "plots")
    report = report_text(
        run.analysis,
        run.scored,
        run.manifest,
        description=run.experiment.description,
        warnings=[*run.manifest.warnings, *stale],
        command=run.manifest.command,
        plots=plots,
    )
    _write_pages(run, stale, plots)
    write_text(folder / "report.md", report)


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
    ):
        write_text(run.folder / name, text)
        written.add(name)
    for old in run.folder.glob("report-*.html"):
        if old.name not in written:
            old.unlink()


def sample_rows(scored: Sequence[Scored], *, complete: bool = True) -> Iterator[dict[str, Any]]:
    """One row per answer, with its question, its prompt and its verdicts.

    Without ``complete`` the checks' arguments are unknown, and not made up.
    """
    for row in ordered(scored):
        sample, generation = row.sample, row.generation
        failed = generation.finish_reason == "failed"
        judged = [] if failed else [r for r in row.results if r.strict is not None]
        yield {
            "sample_id": sample.id,
            "suite": sample.suite,
            "kind": sample.kind,
            "category": sample.category,
            "tags": list(sample.tags),
            "group": sample.group,
            "stage": row.condition.stage,
            "level": row.condition.level,
            "strategy": row.condition.strategy,
            "epoch": row.epoch,
            "messages": [[turn.role, turn.content] for turn in sample.messages],
            "asked": [{"id": spec.id, "kwargs": dict(spec.kwargs)} for spec in sample.checks]
            if complete
            else None,
            "target": list(sample.target),
            "prompt": row.prompt,
            "prefill": row.prefill,
            "text": generation.text,
            "answer": generation.answer,
            "finish_reason": generation.finish_reason,
            "prompt_tokens": generation.prompt_tokens,
            "completion_tokens": generation.completion_tokens,
            "seconds": generation.seconds,  # unrounded: rates are computed from it again
            "prompt_level_strict": all(r.strict for r in judged) if judged else None,
            "prompt_level_loose": all(r.loose for r in judged) if judged else None,
            "checks": [_verdict(result) for result in row.results],
            "earlier": [_verdict(result) for result in row.earlier],
            "views": {"first_turn": row.views.first_turn, "untrimmed": row.views.untrimmed},
            "health": {
                key: round(value, 6)
                for key, value in sorted(row.health.items())
                if math.isfinite(value)  # JSON has no NaN
            },
            "stops": list(row.stops),
            "notes": list(row.notes),
            "template_sha256": row.template_sha256,
            "model_sha256": row.model_sha256,
            "request_key": row.key,
            "error": None if generation.error is None else scrub_text(generation.error),
        }


def _verdict(result: CheckResult) -> dict[str, Any]:
    return {
        "index": result.index,
        "id": result.check_id,
        "version": result.version,
        "strict": result.strict,
        "loose": result.loose,
        "reason": result.reason,
    }


def read_run(run: str | Path) -> Run:
    """The run in a folder, or one by name (:func:`find_run`); nothing is written or executed.

    Raises ConfigError naming the file and the row when it is not a run's folder.
    """
    folder = find_run(run)
    manifest, format, digest = _read_manifest(folder)
    path = folder / "samples.jsonl"
    samples: dict[tuple[str, str], Sample] = {}
    scored: list[Scored] = []
    for number, line in _lines(path):
        row = _Row.read(line, f"{path}:{number}")
        known = samples.get(row.question)
        # A failed answer of an old folder does not say what it was asked.
        if known is None or len(row.specs) > len(known.checks):
            known = samples[row.question] = row.sample()
        scored.append(row.scored(known))
    if format < FORMAT:
        scored = [replace(row, sample=samples[row.sample.suite, row.sample.id]) for row in scored]
    return Run(folder, manifest, tuple(scored), format, digest)


def find_run(name: str | Path, reports: Path | None = None) -> Path:
    """The folder of a run by path, ``latest``, an experiment's name, or ``experiment/run``.

    Raises ConfigError when there is none.
    """
    reports = reports or reports_dir()
    given = Path(name)
    if given.is_dir():
        if (given / "manifest.json").is_file():
            return given
        inside = run_folders(given)
        if inside:
            return inside[-1]
    text = str(name)
    found = run_folders(reports) if text == "latest" else run_folders(reports / text)
    if text and not found and (reports / text / "manifest.json").is_file():
        found = [reports / text]
    if not found and given.is_dir():
        raise ConfigError(
            f"{given}: not the folder of a run (no manifest.json); name one that holds it, such "
            "as reports/<experiment>/<run>, or: latest"
        )
    if not found:
        known = sorted({folder.parent.name for folder in run_folders(reports)})
        raise ConfigError(
            f"no run {shown(text)}: no such folder, and {reports}/ has runs of: "
            f"{', '.join(known) or 'nothing yet'}"
        )
    return found[-1]


@dataclass(frozen=True, slots=True)
class Listed:
    """A run in a list: where it lies, when it was written, what it asked, whether it is whole."""

    folder: Path
    experiment: str
    written: datetime
    models: tuple[str, ...]
    limit: int | None
    finished: bool

    @property
    def line(self) -> str:
        """One line for a terminal."""
        told = "" if self.finished else "  unfinished: no report.md"
        some = f"  {self.limit} items a suite" if self.limit else ""
        return (
            f"{self.folder}  {self.written:%Y-%m-%d %H:%M} UTC  {self.experiment}  "
            f"{len(self.models)} models{some}{told}"
        )

    def as_json(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "folder": str(self.folder),
            "experiment": self.experiment,
            "written": self.written.isoformat(timespec="seconds"),
            "models": list(self.models),
            "limit": self.limit,
            "finished": self.finished,
        }


def list_runs(experiment: str | None = None, reports: Path | None = None) -> list[Listed]:
    """Every readable run below ``reports``, the latest last; ConfigError where none is of that."""
    reports = reports or reports_dir()
    found: list[Listed] = []
    for folder in run_folders(reports):
        try:
            manifest = _read_manifest(folder)[0]
        except ConfigError:
            continue  # somebody's folder, or a run that is being written
        limit = manifest.experiment.get("limit")
        found.append(
            Listed(
                folder=folder,
                experiment=str(manifest.experiment.get("name", "")),
                written=made_at(folder),
                models=tuple(sorted(manifest.models)),
                limit=limit if isinstance(limit, int) else None,
                finished=(folder / "report.md").is_file(),
            )
        )
    names = {entry.experiment for entry in found}
    if experiment is not None and experiment not in names:
        raise ConfigError(
            f"no run of {experiment!r:.80} below {reports}/; {near(experiment, names)}"
            f"there are runs of: {', '.join(sorted(names)) or 'nothing yet'}"
        )
    return [entry for entry in found if experiment in (None, entry.experiment)]


def run_folders(parent: Path) -> list[Path]:
    """Every run's folder below a folder, the latest last."""
    if not parent.is_dir():
        return []
    manifests = [*parent.glob("*/manifest.json"), *parent.glob("*/*/manifest.json")]
    return sorted(
        (path.parent for path in manifests), key=lambda folder: (made_at(folder), str(folder))
    )


_STAMP = re.compile(r"(\d{8}-\d{6})-[0-9a-f]{4}")


def made_at(folder: Path) -> datetime:
    """When a run was made: what its folder's own name says, else when its manifest was written.

    Judging a run again writes its manifest again and makes it no later run.
    """
    if stamp := _STAMP.fullmatch(folder.name):
        try:
            return datetime.strptime(f"{stamp[1]}+0000", "%Y%m%d-%H%M%S%z")
        except ValueError:  # digits that are no time
            pass
    return datetime.fromtimestamp((folder / "manifest.json").stat().st_mtime, tz=timezone.utc)


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="ignore")

    format: int = Field(1, ge=1)
    experiment: dict[str, Any]
    models: dict[str, Any] = {}
    templates: dict[str, str] = {}
    suites: dict[str, str] = {}
    versions: dict[str, str] = {}
    engine: dict[str, Any] = {}
    system: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    command: str = ""
    sources: dict[str, str] = {}
    checks: dict[str, int] = {}
    plugins: dict[str, str] = {}
    samples_sha256: str = ""


def _read_manifest(folder: Path) -> tuple[RunManifest, int, str]:
    path = folder / "manifest.json"
    data = load_json(read_text(path), str(path))
    try:
        found = _Manifest.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{path}: not a run's manifest: {_why(error)}") from error
    if found.format > FORMAT:
        raise ConfigError(
            f"{path}: written by a newer harness (format {found.format}, this one reads up to "
            f"{FORMAT}); upgrade"
        )
    names = {entry.name for entry in fields(RunManifest)}
    manifest = RunManifest(**{name: getattr(found, name) for name in names})
    return manifest, found.format, found.samples_sha256


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The numbered rows of a file that may be larger than memory is for text."""
    if not path.is_file():  # a pipe or a device is none
        raise ConfigError(f"{path}: there is no such file; run the experiment again")
    try:
        with path.open(encoding="utf-8") as stream:
            number = 0
            while line := stream.readline(LINE + 1):
                number += 1
                if len(line) > LINE:
                    raise ConfigError(f"{path}:{number}: a row of more than {LINE} characters")
                if line.strip():
                    yield number, line
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


class _Strict(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Spec(_Strict):
    model_config = ConfigDict(extra="forbid")

    id: str
    kwargs: dict[str, Any] = Field(default_factory=dict)


class _Verdict(_Strict):
    index: int | None = None
    id: str
    version: int
    strict: bool | None
    loose: bool | None
    reason: str = ""

    def result(self, place: int, key: str) -> CheckResult:
        index = place if self.index is None else self.index
        return CheckResult(key, index, self.id, self.version, self.strict, self.loose, self.reason)


class _Views(_Strict):
    first_turn: bool | None = None
    untrimmed: bool | None = None


def _turn(turn: list[str]) -> list[str]:
    if len(turn) != 2 or turn[0] not in get_args(Role):
        raise ValueError(f"a turn is a role ({', '.join(get_args(Role))}) and a text")
    return turn


class _Row(_Strict):
    """A row of samples.jsonl as it is read, of either format."""

    sample_id: str
    suite: str = ""
    kind: Literal["instruction", "continuation", "fim"] = "instruction"
    category: str = "uncategorised"
    tags: list[str] = []
    group: str | None = None
    stage: str
    level: str
    strategy: str
    epoch: int = Field(0, ge=0)
    messages: list[Annotated[list[str], AfterValidator(_turn)]] = Field(min_length=1)
    asked: list[_Spec] | None = None
    target: list[str] = []
    prompt: str = ""
    prefill: str = ""
    text: str
    answer: str
    finish_reason: Literal["eos", "stop", "length", "loop", "failed"]
    prompt_tokens: int = Field(0, ge=0)
    completion_tokens: int = Field(0, ge=0)
    seconds: float = Field(0.0, ge=0, allow_inf_nan=False)
    checks: list[_Verdict] = []
    earlier: list[_Verdict] = []
    views: _Views | None = None
    health: dict[str, float] = {}
    stops: list[str] = []
    notes: list[str] = []
    template_sha256: str = ""
    model_sha256: str = ""
    request_key: str = ""
    error: str | None = None

    @classmethod
    def read(cls, line: str, where: str) -> _Row:
        try:
            return cls.model_validate(load_json(line, where, surrogates=True))
        except ValidationError as error:
            raise ConfigError(f"{where}: not a row of a run: {_why(error)}") from error

    @property
    def question(self) -> tuple[str, str]:
        return (self.suite, self.sample_id)

    @property
    def specs(self) -> list[_Spec]:
        return [_Spec(id=v.id) for v in self.checks] if self.asked is None else self.asked

    def sample(self) -> Sample:
        return Sample(
            id=self.sample_id,
            messages=tuple(Message(cast(Role, role), text) for role, text in self.messages),
            checks=tuple(CheckSpec(spec.id, spec.kwargs) for spec in self.specs),
            target=tuple(self.target),
            kind=self.kind,
            category=self.category,
            tags=tuple(self.tags),
            group=self.group,
            suite=self.suite,
        )

    def scored(self, sample: Sample) -> Scored:
        key = self.request_key
        health = dict(self.health)
        first, untrimmed = (health.pop(f"strict_{name}", None) for name in _VIEW_NAMES)
        old = Views(
            None if first is None else bool(first), None if untrimmed is None else bool(untrimmed)
        )
        views = old if self.views is None else Views(self.views.first_turn, self.views.untrimmed)
        return Scored(
            sample=sample,
            condition=Condition(self.stage, self.level, self.strategy),
            generation=Generation(
                request_key=key,
                text=self.text,
                answer=self.answer,
                token_ids=(),
                finish_reason=self.finish_reason,
                prompt_tokens=self.prompt_tokens,
                completion_tokens=self.completion_tokens,
                seconds=self.seconds,
                error=self.error,
            ),
            epoch=self.epoch,
            key=key,
            prompt=self.prompt,
            prefill=self.prefill,
            stops=tuple(self.stops),
            notes=tuple(self.notes),
            template_sha256=self.template_sha256,
            model_sha256=self.model_sha256,
            results=tuple(v.result(place, key) for place, v in enumerate(self.checks)),
            health=health,
            views=views,
            earlier=tuple(v.result(place, key) for place, v in enumerate(self.earlier)),
        )


_VIEW_NAMES = ("first_turn", "untrimmed")


def _why(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the whole"
    return f"{place}: {plainly(first['msg'])}, found {shown(first['input'])}"
