"""Use: predictability. Whether instructions are followed every time, and nothing else is said."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness import numbers
from harness.checks import CodeSettings
from harness.checks.own.content import declines
from harness.choice.uses import absent, measured
from harness.choice.values import ArmScores, Use
from harness.errors import TemplateError
from harness.experiment.uses.instructions import Answered, answered
from harness.experiment.uses.seats import Seat
from harness.records import Sample, Sampling

NAME = "predictability"
DRAWS = 3
TEMPERATURE = 0.7

_CHATTERS = re.compile(
    r"^\s*(?:sure\b|certainly\b|of course\b|absolutely\b|great question|here(?:['’]s| is| are)\b|"
    r"i(?:['’]d| would) be (?:happy|glad)|thank(?:s| you) for)|"
    r"(?:let me know|feel free to|i hope (?:this|that)|is there anything else|"
    r"don['’]t hesitate)[^\n]{0,120}\s*$",
    re.IGNORECASE,
)


def chatters(text: str) -> bool:
    """Whether an answer says more than was asked: a ready opening, or an offer at its end."""
    return _CHATTERS.search(text) is not None


@dataclass(frozen=True, slots=True)
class Habits:
    """What an arm does beside passing: shares of its answers (None: it gave none).

    ``same`` are items whose verdict is the same greedily and in every draw, ``varied`` those whose
    draws differ in their words; ``ended`` are answers that ended by themselves or at their stop
    string; ``paraphrases`` are groups whose paraphrases all got the same verdict.
    """

    same: float | None
    varied: float | None
    ended: float | None
    refused: float | None
    chatted: float | None
    paraphrases: float | None

    def line(self, stage: str, way: str) -> str:
        """All of it in a line."""
        told = {
            "same verdict in every draw": self.same,
            "other words by another seed": self.varied,
            "ended by itself or at its stop": self.ended,
            "refusals": self.refused,
            "added chatter": self.chatted,
            "same verdict for every paraphrase": self.paraphrases,
        }
        parts = [
            f"{name} {numbers.percent(value, 0)}"
            for name, value in told.items()
            if value is not None
        ]
        return f"{stage} {way}: {', '.join(parts)}"


class Predictability:
    """The trial: every item greedily and in seeded draws; right is what is right each time."""

    def __init__(
        self, samples: Sequence[Sample], sampling: Sampling, code: CodeSettings, draws: int
    ) -> None:
        self.samples = samples
        self.greedy = replace(sampling, temperature=0.0)
        self.drawn = replace(sampling, temperature=TEMPERATURE)
        self.code, self.draws = code, draws
        self.notes: list[str] = []

    @property
    def size(self) -> str:
        """What it asks of each way of a stage, in words."""
        return f"{numbers.size(len(self.samples), 'prompt')} in {1 + self.draws} draws"

    def measure(self, seat: Seat) -> Iterator[ArmScores]:
        """Each way's items that pass every time, or why it has none."""
        for way in seat.ways:
            seat.say(
                f"{seat.stage} {way}: {numbers.size(len(self.samples), 'prompt')}, greedily and "
                f"in {self.draws} draws"
            )
            try:
                rounds = [answered(seat, way, self.samples, self.greedy, self.code)]
                for epoch in range(self.draws):
                    rounds.append(
                        answered(seat, way, self.samples, self.drawn, self.code, epoch=epoch)
                    )
            except TemplateError as error:
                yield absent(NAME, seat.stage, way, str(error))
                continue
            self.notes.append(habits(self.samples, rounds).line(seat.stage, way))
            passed = np.array([[item.passed for item in answers] for answers in rounds])
            told = [a.generation for answers in rounds for a in answers if a.generation is not None]
            cost = sum(item.tokens for item in told)
            yield ArmScores(
                NAME, seat.stage, way, passed.min(axis=0), np.ones(len(self.samples)),
                cost / len(self.samples),
            )  # fmt: skip

    def uses(self, arms: Sequence[ArmScores]) -> Iterator[Use]:
        """The use, once every stage was measured."""
        if self.samples:
            yield measured(NAME, arms, "items", self.notes)


def habits(samples: Sequence[Sample], rounds: Sequence[Sequence[Answered]]) -> Habits:
    """What the answers show; ``rounds[0]`` is greedy, the others are draws, items in one order."""
    every = [item for answers in rounds for item in answers if item.generation is not None]
    passed = np.array([[item.passed for item in answers] for answers in rounds])
    known = ~np.isnan(passed).any(axis=0)
    texts = [{answers[place].response for answers in rounds[1:]} for place in range(len(samples))]
    groups: dict[str, list[float]] = defaultdict(list)
    for sample, verdict in zip(samples, passed[0], strict=True):
        if sample.group and not np.isnan(verdict):
            groups[sample.group].append(verdict)
    several = [verdicts for verdicts in groups.values() if len(verdicts) > 1]
    ends = [a.generation.finish_reason in ("eos", "stop") for a in every if a.generation]
    return Habits(
        same=_share((passed == passed[0]).all(axis=0)[known].tolist()),
        varied=_share([len(found) > 1 for found in texts] if len(rounds) > 2 else []),
        ended=_share(ends),
        refused=_share([declines(item.response) is not None for item in every]),
        chatted=_share([chatters(item.response) for item in every]),
        paraphrases=_share([len(set(verdicts)) == 1 for verdicts in several]),
    )


def _share(hits: Sequence[bool]) -> float | None:
    return float(np.mean(hits)) if len(hits) else None
