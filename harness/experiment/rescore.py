"""Judge a finished run again, or write its reports again, without loading a model."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harness import checks
from harness.analysis import Analysis
from harness.checks import CodeSettings
from harness.config import Experiment, parse_experiment
from harness.errors import ConfigError
from harness.experiment.judging import Answer, score
from harness.experiment.walk import load_samples, report
from harness.records import (
    CheckResult,
    Condition,
    Generation,
    RenderedPrompt,
    Request,
    RunManifest,
    Sample,
    Sampling,
    Scored,
)


@dataclass(frozen=True, slots=True)
class Changed:
    """A verdict that differs from the one on file."""

    sample_id: str
    condition: str
    check_id: str
    old_version: int
    new_version: int
    old_strict: bool | None
    new_strict: bool | None
    reason: str


@dataclass(frozen=True, slots=True)
class Rescored:
    """A run judged again: what changed, how much was judged, and the new analysis."""

    changed: tuple[Changed, ...]
    judged: int
    stale: int
    analysis: Analysis

    @property
    def summary(self) -> str:
        """One line for the terminal."""
        text = f"{self.judged} verdicts, {len(self.changed)} changed"
        return text + (f", {self.stale} answers to changed prompts left out" if self.stale else "")


@dataclass(frozen=True, slots=True)
class _Run:
    """A run's folder, read."""

    experiment: Experiment
    manifest: RunManifest
    answers: tuple[Answer, ...]
    verdicts: dict[tuple[str, str, int], list[CheckResult]]
    stale: int


def rescore(
    run: Path,
    *,
    jobs: int | None = None,
    plugins: Sequence[Path] = (),
    out: Path | None = None,
    command: str = "",
) -> Rescored:
    """Judge a run's stored answers with today's checks and suites, and write its reports again.

    An answer to a prompt whose text has changed since is left out and counted as stale. Raises
    ConfigError when ``run`` is not the folder of a run.
    """
    checks.load_plugins(list(plugins))
    read = _read(run)
    scored = score(read.answers, jobs=jobs, code=CodeSettings(read.experiment.code))
    changed = [change for row in scored for change in _changes(row, read)]
    analysis = report(read.experiment, scored, read.manifest, out or run, command=command)
    judged = sum(len(row.results) for row in scored)
    return Rescored(tuple(changed), judged, read.stale, analysis)


def rewrite(run: Path, *, out: Path | None = None, command: str = "") -> Analysis:
    """Write a run's reports again from the verdicts on file (``harness report``)."""
    read = _read(run)
    health = {_place(row): row["health"] for row in _rows(run / "samples.jsonl")}
    scored = [
        Scored(
            answer.sample,
            answer.request,
            answer.generation,
            tuple(read.verdicts.get(_address(answer), ())),
            health.get(_address(answer)) or {},
        )
        for answer in read.answers
    ]
    return report(read.experiment, scored, read.manifest, out or run, command=command)


def _read(run: Path) -> _Run:
    manifest = _manifest(run)
    described = dict(manifest.experiment)
    limit = described.pop("limit", None)
    experiment = parse_experiment(described, str(run / "manifest.json"))
    checks.load_plugins([Path(name).expanduser() for name in experiment.checks])
    samples = {sample.id: sample for sample in load_samples(experiment, limit)[0]}
    answers: list[Answer] = []
    stale = 0
    for row in _rows(run / "samples.jsonl"):
        sample = samples.get(row["sample_id"])
        if sample is None or not _same_question(sample, row):
            stale += 1
        else:
            answers.append(_answer(sample, row))
    return _Run(experiment, manifest, tuple(answers), _verdicts(run / "scores.csv"), stale)


def _manifest(run: Path) -> RunManifest:
    try:
        data = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
        known = {field.name for field in fields(RunManifest)}
        manifest = RunManifest(**{key: value for key, value in data.items() if key in known})
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{run}: not the folder of a run ({error}); name one that holds manifest.json, "
            "such as reports/<experiment>/<run>"
        ) from error
    return manifest


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); run the experiment again") from error


def _same_question(sample: Sample, row: dict[str, Any]) -> bool:
    asked = [[message.role, message.content] for message in sample.messages]
    return bool(row["messages"] == asked)


def _answer(sample: Sample, row: dict[str, Any]) -> Answer:
    prompt = RenderedPrompt(
        text=row["prompt"],
        token_ids=(),
        stops=(),
        bos_count=0,
        special_tokens=(),
        template_sha256=row["template_sha256"],
        prefill=row["prefill"],
    )
    condition = Condition(row["stage"], row["level"], row["strategy"])
    request = Request(
        key=row["request_key"],
        sample_id=sample.id,
        condition=condition,
        model_sha256=row["model_sha256"],
        prompt=prompt,
        sampling=Sampling(),
        epoch=row["epoch"],
    )
    generation = Generation(
        request_key=row["request_key"],
        text=row["text"],
        answer=row["answer"],
        token_ids=(),
        finish_reason=row["finish_reason"],
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        seconds=row["seconds"],
        error=row["error"],
    )
    return Answer(sample, request, generation)


def _address(answer: Answer) -> tuple[str, str, int]:
    return (answer.sample.id, str(answer.request.condition), answer.request.epoch)


def _place(row: dict[str, Any]) -> tuple[str, str, int]:
    condition = Condition(row["stage"], row["level"], row["strategy"])
    return (row["sample_id"], str(condition), int(row["epoch"]))


def _verdicts(path: Path) -> dict[tuple[str, str, int], list[CheckResult]]:
    found: dict[tuple[str, str, int], list[CheckResult]] = {}
    truth = {"True": True, "False": False}
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            result = CheckResult(
                request_key="",
                index=int(row["check_index"]),
                check_id=row["check_id"],
                version=int(row["version"]),
                strict=truth.get(row["strict"]),
                loose=truth.get(row["loose"]),
                reason=row["reason"],
            )
            found.setdefault(_place(row), []).append(result)
    return found


def _changes(row: Scored, read: _Run) -> list[Changed]:
    address = (row.sample.id, str(row.request.condition), row.request.epoch)
    before = {result.index: result for result in read.verdicts.get(address, ())}
    changes = []
    for result in row.results:
        old = before.get(result.index)
        if old and (old.check_id, old.strict, old.loose) != (
            result.check_id,
            result.strict,
            result.loose,
        ):
            changes.append(
                Changed(
                    sample_id=row.sample.id,
                    condition=str(row.request.condition),
                    check_id=result.check_id,
                    old_version=old.version,
                    new_version=result.version,
                    old_strict=old.strict,
                    new_strict=result.strict,
                    reason=result.reason,
                )
            )
    return changes
