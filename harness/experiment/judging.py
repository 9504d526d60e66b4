"""From answers to verdicts: every arm, every view, and the control responders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from harness import checks
from harness.checks import CodeSettings
from harness.config import Experiment
from harness.experiment.plan import Plan, Skipped
from harness.records import (
    CONTROL_STAGE,
    CheckResult,
    Condition,
    Generation,
    RenderedPrompt,
    Request,
    Sample,
    Sampling,
    Scored,
)

OPENING_REMOVED = " (opening removed)"
"""Suffix of the condition in which a prefilled answer is judged without its opening."""

_NO_PROMPT = RenderedPrompt(
    text="", token_ids=(), stops=(), bos_count=0, special_tokens=(), template_sha256=""
)


_OFF = CodeSettings()


@dataclass(frozen=True, slots=True)
class Answer:
    """One generation of one request to one sample, ready to be judged."""

    sample: Sample
    request: Request
    generation: Generation

    @property
    def response(self) -> str:
        """What is judged: the opening that was given, and the stop-trimmed answer."""
        return self.request.prompt.prefill + self.generation.answer


def collect(plan: Plan, generations: Mapping[str, Generation]) -> list[Answer]:
    """Every planned answer, and a visible gap for every item an arm could not run."""
    by_id = {sample.id: sample for sample in plan.samples}
    answers = [
        Answer(by_id[request.sample_id], request, generations[request.key])
        for request in plan.all_requests()
    ]
    bare = [_without_opening(answer) for answer in answers if answer.request.prompt.prefill]
    gaps = [_gap(by_id[item.sample_id], item) for item in plan.skipped]
    return answers + bare + gaps


def control_answers(experiment: Experiment, samples: Sequence[Sample]) -> list[Answer]:
    """What the responders that ask no model say to every sample."""
    return [
        _unasked(
            sample, Condition(CONTROL_STAGE, "-", control), answer=checks.respond(control, sample)
        )
        for control in experiment.controls
        for sample in samples
    ]


class _Exam(NamedTuple):
    """One answer in its views, with what text health needs; equal ones are examined once."""

    sample: Sample
    prompt: str
    generated: str
    answer: str
    finish_reason: str
    response: str
    first_turn: str
    untrimmed: str

    @property
    def key(self) -> tuple[str, ...]:
        """Equal for answers that come to the same."""
        return (self.sample.id, *self[1:])


def score(
    answers: Sequence[Answer], *, jobs: int | None = None, code: CodeSettings = _OFF
) -> list[Scored]:
    """Judge every answer in its views; a failed one has no verdicts and counts as missing.

    ``health`` of each row carries the text-health figures and, as ``strict_first_turn`` and
    ``strict_untrimmed``, whether the answer's other views pass every check (1.0 or 0.0).
    """
    judged = {
        id(answer): _exam(answer)
        for answer in answers
        if answer.generation.finish_reason != "failed"
    }
    distinct = {exam.key: exam for exam in judged.values()}
    found = dict(
        zip(
            distinct,
            checks.in_parallel(partial(_examine, code), list(distinct.values()), jobs),
            strict=True,
        )
    )
    scored = []
    for answer in answers:
        results, health = found[judged[id(answer)].key] if id(answer) in judged else ((), {})
        own = tuple(replace(result, request_key=answer.request.key) for result in results)
        scored.append(Scored(answer.sample, answer.request, answer.generation, own, dict(health)))
    return scored


def _exam(answer: Answer) -> _Exam:
    views = checks.views(answer.generation)
    opening = answer.request.prompt.prefill
    return _Exam(
        sample=answer.sample,
        prompt=answer.request.prompt.text or answer.sample.query,
        generated=answer.generation.text,
        answer=answer.generation.answer,
        finish_reason=answer.generation.finish_reason,
        response=answer.response,
        first_turn=opening + views["first_turn"],
        untrimmed=opening + views["untrimmed"],
    )


def _examine(code: CodeSettings, exam: _Exam) -> tuple[tuple[CheckResult, ...], dict[str, float]]:
    """Verdicts on the answer, and its health, which says what its other views come to."""
    texts = dict.fromkeys((exam.response, exam.first_turn, exam.untrimmed))
    verdicts = {text: checks.judge(exam.sample, text, code=code) for text in texts}
    languages = [
        str(check.kwargs.get("language"))
        for check in exam.sample.checks
        if check.id in {"language:response_language", "language"}
    ]
    health = checks.health(
        exam.prompt,
        exam.generated,
        exam.answer,
        exam.finish_reason,
        wants_language=languages[0] if languages else None,
    )
    if any(result.strict is not None for result in verdicts[exam.response]):
        health["strict_first_turn"] = _passes(verdicts[exam.first_turn])
        health["strict_untrimmed"] = _passes(verdicts[exam.untrimmed])
    return verdicts[exam.response], health


def _passes(results: Iterable[CheckResult]) -> float:
    return float(all(result.strict for result in results if result.strict is not None))


def _without_opening(answer: Answer) -> Answer:
    condition = answer.request.condition
    bare = replace(
        answer.request,
        condition=replace(condition, strategy=condition.strategy + OPENING_REMOVED),
        prompt=replace(answer.request.prompt, prefill=""),
    )
    return replace(answer, request=bare)


def _gap(sample: Sample, item: Skipped) -> Answer:
    return _unasked(sample, item.condition, error=item.reason)


def _unasked(
    sample: Sample, condition: Condition, *, answer: str = "", error: str | None = None
) -> Answer:
    """An answer that no model was asked for: a control's, or the gap of an inexpressible item."""
    key = f"{condition}:{sample.id}"
    request = Request(
        key=key,
        sample_id=sample.id,
        condition=condition,
        model_sha256="",
        prompt=_NO_PROMPT,
        sampling=Sampling(),
    )
    generation = Generation(
        request_key=key,
        text=answer,
        answer=answer,
        token_ids=(),
        finish_reason="failed" if error else "eos",
        prompt_tokens=0,
        completion_tokens=0,
        error=error,
    )
    return Answer(sample, request, generation)
