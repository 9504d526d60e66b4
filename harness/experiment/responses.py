"""Answers that somebody else generated: read, and made into the rows of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import checks
from harness.checks import CodeSettings
from harness.datasets import load_suite, parse_line, parse_row, suite_name, suite_sha256, text_lines
from harness.errors import SuiteError
from harness.experiment.judging import score, unasked
from harness.intake import near
from harness.records import Condition, RunManifest, Sample, Scored
from harness.reporting import Run

GIVEN = Condition("responses", "as-is", "given")
"""The one cell that answers from elsewhere stand in."""


@dataclass(frozen=True, slots=True)
class Response:
    """One row of the answers: what names it in the output, what was asked, what came."""

    names: Mapping[str, Any]
    sample: Sample
    text: str


@dataclass(frozen=True, slots=True)
class Responses:
    """All answers of a file or a mapping, and how many items of the suite have none."""

    answers: tuple[Response, ...]
    suite: str
    digest: str
    unanswered: int


def read_responses(
    given: Path | Mapping[str, str] | Iterable[Mapping[str, Any]], suite: str | None
) -> Responses:
    """The answers of a JSONL file, of rows, or of a mapping from key to response.

    Each row has key (or id) and response; what was asked says ``suite``, or the row's own
    instruction_id_list and kwargs. Raises SuiteError naming the row.
    """
    samples = load_suite(suite, validate=checks.validate) if suite else ()
    by_id = {sample.id: sample for sample in samples}
    seen: dict[str, str] = {}
    found: list[Response] = []
    for where, row in _rows(given):
        answer = _response(row, by_id, where)
        if answer.sample.id in seen:
            raise SuiteError(
                f"{where}: key: {answer.sample.id!r:.80} is already {seen[answer.sample.id]}; "
                "give each answer once"
            )
        line = where.rpartition(":")[2]
        seen[answer.sample.id] = f"on line {line}" if isinstance(given, Path) else f"at {where}"
        found.append(answer)
    if not found:
        source = given if isinstance(given, Path) else "responses"
        raise SuiteError(f"{source}: there are no answers in it")
    return Responses(
        answers=tuple(found),
        suite=suite_name(suite) if suite else "",
        digest=suite_sha256(suite) if suite else "",
        unanswered=sum(1 for sample in samples if sample.id not in seen),
    )


def judged(
    responses: Responses, *, jobs: int | None = None, code: CodeSettings | None = None
) -> tuple[Scored, ...]:
    """Every answer with its verdicts, in the order it was given."""
    rows = [unasked(item.sample, GIVEN, answer=item.text) for item in responses.answers]
    return tuple(score(rows, jobs=jobs, code=code or CodeSettings()))


def as_run(responses: Responses, scored: Sequence[Scored], *, folder: Path) -> Run:
    """The judged answers as a run of one condition, which no model of ours has answered."""
    manifest = RunManifest(
        experiment={"name": "responses", "suites": [responses.suite or "own"], "limit": None},
        models={},
        templates={},
        suites={responses.suite: responses.digest} if responses.suite else {},
        versions={},
        engine={},
        system={},
        notes=("answers were generated elsewhere; only their verdicts were made here",),
    )
    return Run(folder, manifest, tuple(scored))


def _rows(
    given: Path | Mapping[str, str] | Iterable[Mapping[str, Any]],
) -> Iterator[tuple[str, Any]]:
    if isinstance(given, Path):
        for number, line in text_lines(given):
            where = f"{given}:{number}"
            yield where, parse_line(line, where, surrogates=True)
    elif isinstance(given, Mapping):
        for key, response in given.items():
            yield f"responses[{key!r:.80}]", {"key": key, "response": response}
    else:
        for number, row in enumerate(given):
            yield f"responses[{number}]", row


def _response(row: Any, samples: Mapping[str, Sample], where: str) -> Response:
    if not isinstance(row, Mapping):
        raise SuiteError(f"{where}: row: wanted an object with key and response")
    if "response" not in row:
        hint = near("response", row)
        raise SuiteError(f"{where}: response: missing{'; ' + hint.strip() if hint else ''}")
    if not isinstance(row.get("response"), str):
        raise SuiteError(f"{where}: response: wanted a text, found {row.get('response')!r:.80}")
    names = {name: row[name] for name in ("id", "key") if name in row}
    if not names:
        raise SuiteError(f"{where}: key: missing; every answer needs its key (or id)")
    key = str(row.get("key", row.get("id")))
    if "instruction_id_list" in row:
        return Response(names, _asked_by_itself(row, key, where), row["response"])
    if not samples:
        raise SuiteError(
            f"{where}: instruction_id_list: missing, and no --suite says what {key!r} asked"
        )
    if key not in samples:
        raise SuiteError(f"{where}: key: {key!r:.80} is not in the suite")
    return Response(names, samples[key], row["response"])


def _asked_by_itself(row: Mapping[str, Any], key: str, where: str) -> Sample:
    prompt = row.get("prompt") or "(not given)"
    published = {"key": key, "prompt": prompt, "kwargs": row.get("kwargs")}
    return parse_row(
        published | {"instruction_id_list": row["instruction_id_list"]},
        suite="",
        where=where,
        validate=checks.validate,
    )
