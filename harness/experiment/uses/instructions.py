"""Uses: following instructions, answering one's own prompts, structured output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness import numbers, strategies
from harness.checks import CodeSettings, judge
from harness.choice.uses import absent, measured
from harness.choice.values import ArmScores, Use
from harness.errors import TemplateError
from harness.experiment.uses.seats import Seat
from harness.records import Arm, CheckSpec, Generation, Sample, Sampling, all_pass

INSTRUCTIONS = "chat-style instructions"
OWN = "own prompts"
STRUCTURED = "structured output"
SHAPES = ("json", "yaml", "csv", "xml", "table", "valid_python")
"""What the id of a check holds that asks for a form a program can read."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One item's answer in one way; ``passed`` is 1, 0, or NaN where no check can be judged."""

    generation: Generation | None
    response: str
    passed: float


def is_structured(sample: Sample) -> bool:
    """Whether an item asks for a form that a program reads."""
    return any(shape in name for spec in sample.checks for name in _ids(spec) for shape in SHAPES)


def _ids(spec: CheckSpec) -> list[str]:
    """The check's id, and those of the checks inside one that is composed of others."""
    inner = [spec.kwargs.get("check"), *(spec.kwargs.get("checks") or ())]
    held = [CheckSpec.written(item) for item in inner if isinstance(item, Mapping)]
    return [spec.id, *(name for item in held for name in _ids(item))]


def answered(
    seat: Seat,
    way: str,
    samples: Sequence[Sample],
    sampling: Sampling,
    code: CodeSettings,
    epoch: int = 0,
) -> list[Answered]:
    """Every item's judged answer; one that this way cannot express is wrong, and has no answer.

    Raises TemplateError where the way can ask nothing at all.
    """
    arm, template = Arm(strategy=way, label=way), strategies.find_template(seat.templates, way)
    able = [n for n, s in enumerate(samples) if strategies.inexpressible(s, arm, template) is None]
    if not able:
        raise TemplateError("it cannot ask any of these items")
    prompts = seat.prompts(way, [samples[number] for number in able])
    budgets = [samples[number].max_tokens for number in able]
    found = seat.answers(way, prompts, sampling, epoch=epoch, budgets=budgets)
    given = {
        number: (generation, prompt.prefill + generation.answer)
        for number, prompt, generation in zip(able, prompts, found, strict=True)
    }
    return [_judged(sample, given.get(number), code) for number, sample in enumerate(samples)]


def _judged(sample: Sample, found: tuple[Generation, str] | None, code: CodeSettings) -> Answered:
    if found is None or found[0].finish_reason == "failed":
        return Answered(None, "", 0.0)
    generation, response = found
    verdict = all_pass(judge(sample, response, code=code))
    return Answered(generation, response, np.nan if verdict is None else float(verdict))


class Instructions:
    """The trial: judged items of suites, the shipped ones apart from the user's own."""

    def __init__(
        self,
        shipped: Sequence[Sample],
        own: Sequence[Sample],
        sampling: Sampling,
        code: CodeSettings,
    ) -> None:
        self.every = [*shipped, *own]
        self.places = {
            INSTRUCTIONS: list(range(len(shipped))),
            OWN: list(range(len(shipped), len(self.every))),
            STRUCTURED: [n for n, sample in enumerate(self.every) if is_structured(sample)],
        }
        self.sampling, self.code = sampling, code

    @property
    def size(self) -> str:
        """What it asks of each way of a stage, in words."""
        return f"{numbers.size(len(self.every), 'prompt')} to answer"

    def measure(self, seat: Seat) -> Iterator[ArmScores]:
        """Each way's passes in each use, or why it has none."""
        for way in seat.ways:
            seat.say(f"{seat.stage} {way}: answering {numbers.size(len(self.every), 'prompt')}")
            try:
                answers = answered(seat, way, self.every, self.sampling, self.code)
            except TemplateError as error:
                yield from (absent(name, seat.stage, way, str(error)) for name in self.places)
                continue
            for name, places in self.places.items():
                if places:
                    pairs = [(self.every[place], answers[place]) for place in places]
                    yield _scores(name, seat, way, pairs)

    def uses(self, arms: Sequence[ArmScores]) -> Iterator[Use]:
        """The uses that have items, once every stage was measured."""
        for name, places in self.places.items():
            if not places:
                continue
            judged = [arm for arm in arms if arm.use == name and np.any(~np.isnan(arm.values))]
            if judged:
                yield measured(name, arms, "items")
            else:
                why = "no item of the suite has a check or a target that could be judged"
                yield replace(measured(name, (), "items"), not_run=why)


def _scores(name: str, seat: Seat, way: str, pairs: Sequence[tuple[Sample, Answered]]) -> ArmScores:
    """Passes over units: paraphrases of one item are one unit."""
    names = [(sample.suite, sample.group or sample.id) for sample, _ in pairs]
    place = {unit: number for number, unit in enumerate(dict.fromkeys(names))}
    values, sizes = np.zeros(len(place)), np.zeros(len(place))
    for unit, (_, answer) in zip(names, pairs, strict=True):
        if not np.isnan(answer.passed):
            values[place[unit]] += answer.passed
            sizes[place[unit]] += 1
    values[sizes == 0] = np.nan
    told = [answer.generation for _, answer in pairs if answer.generation is not None]
    cost = sum(item.tokens for item in told)
    return ArmScores(name, seat.stage, way, values, sizes, cost / max(len(told), 1))
