"""From answers to verdicts: every arm, every view, and the control responders."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from harness import checks
from harness.checks import CodeSettings
from harness.config import CONTROLS, Constant, Experiment
from harness.experiment.plan import Plan
from harness.records import (
    CONTROL_STAGE,
    OPENING_REMOVED,
    CheckResult,
    Condition,
    Generation,
    Request,
    Sample,
    Scored,
    Views,
)

_OFF = CodeSettings()

Elsewhere = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any] | None]
"""Takes a function and its work to other machines, or says None."""


def collect(plan: Plan, generations: Mapping[str, Generation]) -> list[Scored]:
    """Every planned answer, unjudged, and a visible gap for every item an arm could not run."""
    by_id = {sample.id: sample for sample in plan.samples}
    answers = [
        _answered(by_id[request.sample_id], request, generations[request.key])
        for request in plan.all_requests()
    ]
    bare = [_without_opening(answer) for answer in answers if answer.prefill]
    gaps = [
        unasked(by_id[item.sample_id], item.condition, error=item.reason) for item in plan.skipped
    ]
    return answers + bare + gaps


def control_answers(experiment: Experiment, samples: Sequence[Sample]) -> list[Scored]:
    """What the responders that ask no model say to every sample, unjudged.

    The majority answer joins the usual ones by itself where it is right often.
    """
    return [
        unasked(sample, Condition(CONTROL_STAGE, "-", name), answer=say(sample))
        for name, say in _responders(experiment, samples).items()
        for sample in samples
    ]


def _responders(
    experiment: Experiment, samples: Sequence[Sample]
) -> dict[str, Callable[[Sample], str]]:
    """Each control by its name in reports, as the function that answers."""
    common = checks.majority_answers(samples)
    found: dict[str, Callable[[Sample], str]] = {}
    for control in experiment.controls:
        if isinstance(control, Constant):
            found[control.name] = partial(_say, control.text)
        elif control != checks.MAJORITY:
            found[control] = partial(checks.respond, control)
    usual = set(CONTROLS) <= {*experiment.controls}
    if checks.MAJORITY in experiment.controls or (
        usual and any(checks.is_common(count, of) for _, count, of in common.values())
    ):
        found[checks.MAJORITY] = lambda sample: common.get(sample.suite, ("", 0, 0))[0]
    return found


def _say(text: str, sample: Sample) -> str:
    return text


def unasked(
    sample: Sample, condition: Condition, *, answer: str = "", error: str | None = None
) -> Scored:
    """An answer that no model was asked for: a control's, or the gap of an inexpressible item."""
    generation = Generation(
        request_key="",
        text=answer,
        answer=answer,
        token_ids=(),
        finish_reason="failed" if error else "eos",
        prompt_tokens=0,
        completion_tokens=0,
        error=error,
    )
    return Scored(sample, condition, generation)


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
    stops: tuple[str, ...]
    tokens: int | None

    @property
    def key(self) -> tuple[Hashable, ...]:
        """Equal for answers that come to the same."""
        return (self.sample.id, *self[1:])


def score(
    answers: Sequence[Scored],
    *,
    jobs: int | None = None,
    code: CodeSettings = _OFF,
    elsewhere: Elsewhere = lambda *_: None,
) -> list[Scored]:
    """Judge every answer in its views; a failed one has no verdicts and counts as missing.

    ``elsewhere`` may take the work; it answers None where it does not.
    """
    judged = {
        number: _exam(answer)
        for number, answer in enumerate(answers)
        if answer.generation.finish_reason != "failed"
    }
    distinct = {exam.key: exam for exam in judged.values()}
    examine, work = partial(_examine, code), list(distinct.values())
    verdicts = elsewhere(examine, work) or checks.in_parallel(examine, work, jobs)
    found = dict(zip(distinct, verdicts, strict=True))
    scored = list(answers)
    for number, exam in judged.items():
        results, health, views = found[exam.key]
        key = answers[number].key
        own = tuple(replace(result, request_key=key) for result in results)
        scored[number] = replace(answers[number], results=own, health=dict(health), views=views)
    return scored


def _exam(answer: Scored) -> _Exam:
    views = checks.views(answer.generation)
    return _Exam(
        sample=answer.sample,
        prompt=answer.prompt or answer.sample.query,
        generated=answer.generation.text,
        answer=answer.generation.answer,
        finish_reason=answer.generation.finish_reason,
        response=answer.response,
        first_turn=answer.prefill + views["first_turn"],
        untrimmed=answer.prefill + views["untrimmed"],
        stops=answer.stops,
        tokens=answer.generation.completion_tokens if answer.key else None,
    )


def _examine(
    code: CodeSettings, exam: _Exam
) -> tuple[tuple[CheckResult, ...], dict[str, float], Views]:
    """Verdicts on the answer, its health, and what its other views come to."""
    if exam.finish_reason == "decided":  # health and the other views need the whole answer
        return checks.judge_cut(exam.sample, exam.response, code=code), {}, Views()
    texts = dict.fromkeys((exam.response, exam.first_turn, exam.untrimmed))
    verdicts = {
        text: checks.judge(
            exam.sample, text, code=code, tokens=exam.tokens if text == exam.response else None
        )
        for text in texts
    }
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
        stops=exam.stops,
    )
    supported = any(result.strict is not None for result in verdicts[exam.response])
    views = (
        Views(_passes(verdicts[exam.first_turn]), _passes(verdicts[exam.untrimmed]))
        if supported
        else Views()
    )
    return verdicts[exam.response], health, views


def _passes(results: Iterable[CheckResult]) -> bool:
    return all(result.strict for result in results if result.strict is not None)


def _answered(sample: Sample, request: Request, generation: Generation) -> Scored:
    prompt = request.prompt
    return Scored(
        sample=sample,
        condition=request.condition,
        generation=generation,
        epoch=request.epoch,
        key=request.key,
        prompt=prompt.text,
        prefill=prompt.prefill,
        stops=prompt.stops,
        notes=prompt.notes,
        template_sha256=prompt.template_sha256,
        model_sha256=request.model_sha256,
    )


def _without_opening(answer: Scored) -> Scored:
    condition = answer.condition
    return replace(
        answer,
        condition=replace(condition, strategy=condition.strategy + OPENING_REMOVED),
        prefill="",
    )
