"""Early decisions in a run: when they end an answer, and what they save."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness import checks
from harness.experiment.plan import Plan
from harness.numbers import percent, size
from harness.protocols import Until
from harness.records import Generation, Request, Sample


def until(plan: Plan, form: str) -> Until:
    """When an answer may end: its verdicts are settled, with the opening it was given and without.

    Requests that were planned whole (see :func:`harness.experiment.plan.plan`) never end early.
    """
    samples = {sample.id: sample for sample in plan.samples}
    readings: dict[str, tuple[Sample, Sequence[str]]] = {}
    for request in plan.all_requests():
        if request.early:
            openings = dict.fromkeys((request.prompt.prefill, ""))
            readings[request.key] = samples[request.sample_id], tuple(openings)

    def ask(key: str, answer: str) -> bool:
        if key not in readings:
            return False
        sample, openings = readings[key]
        return all(checks.is_settled(sample, opening + answer, form) for opening in openings)

    return ask


def saved(form: str, requests: Iterable[Request], generations: Iterable[Generation]) -> str:
    """One sentence on what early decisions saved of these answers, at most; empty without any."""
    limits = {request.key: request.sampling.max_tokens for request in requests}
    found = [item for item in generations if item.request_key in limits]
    cut = [item for item in found if item.finish_reason == "decided"]
    if not cut:
        return ""
    spared = sum(limits[item.request_key] - item.completion_tokens for item in cut)
    made = sum(item.completion_tokens for item in found)
    rest = (
        "instruction-level and loose figures need the whole answer and are left out"
        if form == "prompt"
        else "their verdicts are all those of the whole answer"
    )
    return (
        f"early decisions ({form}): {len(cut)} of {size(len(found), 'answer')} were cut where "
        f"nothing that follows could change their verdicts; {made:,} tokens were generated and at "
        f"most {spared:,} ({percent(spared / (made + spared), 0)}) saved, had every one gone on to "
        f"its limit; text health is of the uncut answers; {rest}"
    )
