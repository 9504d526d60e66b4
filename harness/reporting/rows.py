"""The rows and the manifest of a run's folder: how they are written, and how they are read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from harness.errors import ConfigError
from harness.intake import load_json, plainly, read_text, shown
from harness.records import (
    CheckResult,
    CheckSpec,
    Condition,
    FinishReason,
    Generation,
    Message,
    Role,
    RunManifest,
    Sample,
    Scored,
    Views,
    all_loose,
)
from harness.reporting.scrub import scrub_text
from harness.reporting.tables import ordered

ANSWERS = "samples.jsonl"
"""What a run's folder keeps its answers in."""
FORMAT = 2
"""Version of the layout. 1 (before it was written down) lacks each check's arguments."""

LINE = 64 << 20
"""Characters of the longest row read."""


def sample_rows(scored: Sequence[Scored], *, complete: bool = True) -> Iterator[dict[str, Any]]:
    """One row per answer, with its question, its prompt and its verdicts.

    Without ``complete`` the checks' arguments are unknown, and not made up.
    """
    for row in ordered(scored):
        sample, generation = row.sample, row.generation
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
            **({} if sample.ablated is None else {"ablated": sample.ablated}),
            **({"metadata": dict(sample.metadata)} if sample.metadata else {}),
            **({} if sample.max_tokens is None else {"max_tokens": sample.max_tokens}),
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
            "prompt_level_strict": row.passed,
            "prompt_level_loose": None if row.passed is None else all_loose(row.results),
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
        "spans": [list(place) for place in result.spans],
        **({"source": result.source} if result.source else {}),
    }


def read_rows(path: Path, format: int) -> tuple[Scored, ...]:
    """The answers of a samples.jsonl; ConfigError naming the row that is none."""
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
    return tuple(scored)


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
    declared: str = ""
    uses: dict[str, str] = {}
    samples_sha256: str = ""


def read_manifest(folder: Path) -> tuple[RunManifest, int, str]:
    """A folder's manifest, its format, and the sha256 it gives for samples.jsonl."""
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
    spans: list[Annotated[list[int], Field(min_length=2, max_length=2)]] = []
    source: str = ""

    def result(self, place: int, key: str) -> CheckResult:
        index = place if self.index is None else self.index
        spans = tuple((start, end) for start, end in self.spans)
        return CheckResult(
            request_key=key,
            index=index,
            check_id=self.id,
            version=self.version,
            strict=self.strict,
            loose=self.loose,
            reason=self.reason,
            spans=spans,
            source=self.source,
        )


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
    ablated: str | None = None
    metadata: dict[str, Any] = {}
    max_tokens: int | None = Field(None, ge=1)
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
    finish_reason: FinishReason
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
            ablated=self.ablated,
            metadata=self.metadata,
            max_tokens=self.max_tokens,
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
