"""What became of an answer: a verdict for each check, and all of it as one row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.records.answers import Generation
from harness.records.conditions import Condition
from harness.records.samples import Sample

Span = tuple[int, int]
"""A place in a text: first character, and the one behind the last."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One instruction's verdict on one generation; ``None`` means the check is unsupported.

    ``spans`` are the places in the judged text (the opening that was given, then the answer) that
    decided it, where the check can say them. ``source`` begins the sha256 of the file that a user's
    own check is written in; empty for a check of the harness.
    """

    request_key: str
    index: int
    check_id: str
    version: int
    strict: bool | None
    loose: bool | None
    reason: str
    spans: tuple[Span, ...] = ()
    source: str = ""


def all_pass(results: Iterable[CheckResult]) -> bool | None:
    """Whether every supported check passes, None where none is supported."""
    verdicts = [result.strict for result in results if result.strict is not None]
    return all(verdicts) if verdicts else None


def all_loose(results: Iterable[CheckResult]) -> bool | None:
    """The loose reading of :func:`all_pass`; None also where a cut answer leaves it open."""
    judged = [result for result in results if result.strict is not None]
    if not judged or any(result.loose is None for result in judged):
        return None
    return all(result.loose for result in judged)


@dataclass(frozen=True, slots=True)
class Views:
    """Whether an answer passes every check in its other readings; None: not judged in it.

    ``first_turn`` ends before another speaker's turn, ``untrimmed`` does not end at a stop string.
    """

    first_turn: bool | None = None
    untrimmed: bool | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """One answer and what became of it: the unit every analysis reads, a row of a run's folder.

    ``prompt`` is exactly what the model saw, ``prefill`` the opening of the answer that was given
    to it. Where no model was asked (controls, items an arm cannot express, answers that somebody
    else generated) ``key``, ``prompt`` and the digests are empty. ``earlier`` holds verdicts that a
    later judging replaced, the latest first.
    """

    sample: Sample
    condition: Condition
    generation: Generation
    epoch: int = 0
    key: str = ""
    prompt: str = ""
    prefill: str = ""
    stops: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    template_sha256: str = ""
    model_sha256: str = ""
    results: tuple[CheckResult, ...] = ()
    health: Mapping[str, float] = field(default_factory=dict)
    views: Views = Views()
    earlier: tuple[CheckResult, ...] = ()

    @property
    def response(self) -> str:
        """What is judged: the opening that was given, and the stop-trimmed answer."""
        return self.prefill + self.generation.answer

    @property
    def passed(self) -> bool | None:
        """Whether every supported check passes; None for a missing or unjudged answer."""
        if self.generation.finish_reason == "failed":
            return None
        return all_pass(self.results)
