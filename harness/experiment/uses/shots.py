"""Use: adapting to a task from examples. How fast each model learns the user's task in its prompt.

The cheap forecast of fine-tuning: accuracy after 0, 1, 2, 4, 8, 16 of the user's own examples,
over several seeded draws, for the base (plain pairs) and for tuned stages (as a conversation, and
plain).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness import numbers
from harness.checks import CodeSettings, judge
from harness.choice.sides import NATIVE, RAW, Sides
from harness.choice.uses import absent, measured
from harness.choice.values import ArmScores, Use
from harness.errors import ConfigError, TemplateError
from harness.experiment.uses.seats import Seat
from harness.hashing import tagged_hash
from harness.records import Message, RenderedPrompt, Sample, Sampling, all_pass
from harness.stats.bootstrap import resample_counts
from harness.stats.rates import Floats

NAME = "few-shot adaptation"
SHOTS = (0, 1, 2, 4, 8, 16)
NEW_TOKENS = 64
POOL = 64
"""Most examples that draws are made from; the other rows are what is asked."""
RESAMPLES = 2000
_INPUT, _OUTPUT = "Input: ", "\nOutput:"


@dataclass(frozen=True, slots=True)
class Task:
    """The user's task: examples to draw from, items to ask, and how many examples are given.

    ``draws`` holds each draw's examples in order: the first k of them are its k shots, so that a
    draw's prompts share their beginning.
    """

    asked: tuple[Sample, ...]
    shots: tuple[int, ...]
    draws: tuple[tuple[Sample, ...], ...]


def task_of(rows: Sequence[Sample], *, shots: Sequence[int], draws: int, seed: int) -> Task:
    """Split rows with a target into examples and items, by a hash of the seed and each row's id.

    Shots that more than half of the rows would be needed for are left out. Raises ConfigError when
    fewer than four rows have a target to learn from.
    """
    usable = [row for row in rows if row.target and len(row.messages) == 1]
    if len(usable) < 4:
        raise ConfigError(
            f"--examples: {len(usable)} of {len(rows)} rows have one prompt and a target; at least "
            "4 are needed, half to learn from and half to ask"
        )
    order = sorted(usable, key=lambda row: tagged_hash("examples", [seed, row.id]))
    size = min(POOL, len(order) // 2)
    pool, asked = order[:size], tuple(order[size:])
    drawn = [
        tuple(sorted(pool, key=lambda row: tagged_hash("draw", [seed, draw, row.id])))
        for draw in range(draws)
    ]
    return Task(asked, tuple(k for k in sorted(set(shots)) if k <= size), tuple(drawn))


class Adaptation:
    """The trial: every item after k examples, for each k and each draw."""

    def __init__(self, task: Task, sides: Sides, sampling: Sampling, seed: int) -> None:
        self.task, self.sides, self.sampling, self.seed = task, sides, sampling, seed
        self.curves: dict[tuple[str, str], Floats] = {}

    @property
    def size(self) -> str:
        """What it asks of each way of a stage, in words."""
        return f"{numbers.size(self._count(), 'prompt')} behind examples"

    def measure(self, seat: Seat) -> Iterator[ArmScores]:
        """Each way's accuracy over all numbers of examples, or why it has none."""
        for way in seat.ways:
            if way not in (RAW, NATIVE):
                why = "not asked: the examples are the wrapper (see raw)"
                yield absent(NAME, seat.stage, way, why)
                continue
            try:
                curve, cost = self._curve(seat, way)
            except TemplateError as error:
                yield absent(NAME, seat.stage, way, str(error))
                continue
            self.curves[seat.stage, way] = curve
            # Shots stand at even distances on a logarithmic axis: the mean is the curve's height.
            learned = [place for place, shots in enumerate(self.task.shots) if shots]
            height = curve[learned or [0]].mean(axis=0)
            yield ArmScores(NAME, seat.stage, way, height, np.ones(len(height)), cost)

    def uses(self, arms: Sequence[ArmScores]) -> Iterator[Use]:
        """The use, once every stage was measured."""
        yield measured(NAME, arms, "items", [*self._told(), *self._crossings()])

    def _count(self) -> int:
        """Prompts of each way: every item after each number of examples, in every draw."""
        rounds = [len(self.task.draws) if shots else 1 for shots in self.task.shots]
        return sum(rounds) * len(self.task.asked)

    def _curve(self, seat: Seat, way: str) -> tuple[Floats, float]:
        """Accuracy ``(shots, items)`` averaged over draws, and tokens an item costs at the most."""
        curve = np.zeros((len(self.task.shots), len(self.task.asked)))
        cost = 0.0
        for place, shots in enumerate(self.task.shots):
            draws = self.task.draws if shots else self.task.draws[:1]
            seat.say(
                f"{seat.stage} {way}: {numbers.size(shots, 'example')}, "
                f"{numbers.size(len(draws) * len(self.task.asked), 'prompt')}"
            )
            for examples in draws:
                prompts = self._prompts(seat, way, examples[:shots])
                answers = seat.answers(way, prompts, self.sampling)
                cost = sum(a.tokens for a in answers) / len(answers)
                for number, (item, answer) in enumerate(zip(self.task.asked, answers, strict=True)):
                    failed = answer.finish_reason == "failed"
                    right = not failed and all_pass(judge(item, answer.answer, code=_OFF))
                    curve[place, number] += bool(right) / len(draws)
        return curve, cost

    def _prompts(self, seat: Seat, way: str, examples: Sequence[Sample]) -> list[RenderedPrompt]:
        if way == NATIVE:
            before = tuple(turn for example in examples for turn in _turns(example))
            items = [Sample(item.id, (*before, *item.messages), ()) for item in self.task.asked]
            return seat.prompts(way, items)
        tokenizer = seat.tokenizer
        before_text = "".join(
            f"{_INPUT}{example.query}{_OUTPUT} {example.target[0]}\n\n" for example in examples
        )
        texts = [f"{before_text}{_INPUT}{item.query.rstrip()}{_OUTPUT}" for item in self.task.asked]
        if tokenizer is None:
            raise TemplateError("its backend tells no tokens")
        ids = tokenizer.tokenize(texts, add_special=True, parse_special=False)
        lines = any("\n" in target for item in self.task.asked for target in item.target)
        stops = (f"\n{_INPUT.strip()}",) if lines else ("\n",)
        return [
            RenderedPrompt(text, tokens, stops, int(tokenizer.add_bos), (), "")
            for text, tokens in zip(texts, ids, strict=True)
        ]

    def _told(self) -> Iterator[str]:
        for (stage, way), curve in self.curves.items():
            points = ", ".join(
                f"{shots}: {numbers.percent(float(curve[place].mean()), 0)}"
                for place, shots in enumerate(self.task.shots)
            )
            yield f"{stage} {way}, accuracy by number of examples: {points}"

    def _crossings(self) -> Iterator[str]:
        base = self.curves.get((self.sides.base, RAW))
        for (stage, way), curve in self.curves.items():
            if base is None or stage != self.sides.instruct:
                continue
            value, low, high = crossing(base, curve, self.task.shots, seed=self.seed)
            most = self.task.shots[-1]
            told = f"[{_shots(low, most)}, {_shots(high, most)}]"
            yield (
                f"the base is level with {stage} {way} from {_shots(value, most)} examples on "
                f"{told} (95 %, bootstrap over items){fallen(curve, self.task.shots)}"
            )


_OFF = CodeSettings()


def _turns(example: Sample) -> tuple[Message, ...]:
    return (*example.messages, Message("assistant", example.target[0]))


def _shots(value: float, most: int) -> str:
    return f"more than {most}" if math.isinf(value) else f"{value:.1f}"


def fallen(curve: Floats, shots: Sequence[int]) -> str:
    """Says that a curve ``(shots, items)`` ends under half of its best: level with it is no skill.

    So many examples may not fit what a model was trained at.
    """
    means = curve.mean(axis=1)
    best, last = float(means.max()), float(means[-1])
    if last >= best / 2:
        return ""
    return (
        f"; after {shots[-1]} examples it has fallen from {numbers.percent(best, 0)} to "
        f"{numbers.percent(last, 0)} itself"
    )


def crossing_point(base: Floats, other: Floats, shots: Sequence[int]) -> float:
    """From how many examples on the base's curve ``(shots,)`` stays at or above the other's.

    Between two measured numbers the lead is interpolated over log2(1 + k); infinite where the base
    is behind at the last one.
    """
    lead, axis = base - other, np.log2(1 + np.asarray(shots, float))
    if lead[-1] < 0:
        return math.inf
    behind = np.flatnonzero(lead < 0)
    if not len(behind):
        return float(shots[0])
    last = int(behind[-1])
    share = -lead[last] / (lead[last + 1] - lead[last])
    return float(2 ** (axis[last] + share * (axis[last + 1] - axis[last])) - 1)


def crossing(
    base: Floats, other: Floats, shots: Sequence[int], *, seed: int, level: float = 0.95
) -> tuple[float, float, float]:
    """The crossing of two curves ``(shots, items)`` and its percentile bootstrap over items."""
    value = crossing_point(base.mean(axis=1), other.mean(axis=1), shots)
    n = base.shape[1]
    draws = [
        crossing_point(base @ counts / n, other @ counts / n, shots)
        for block in resample_counts(n, resamples=RESAMPLES, seed=seed)
        for counts in block
    ]
    ends = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return value, float(ends[0]), float(ends[1])


def parse_shots(text: str) -> tuple[int, ...]:
    """``0,1,2,4`` as numbers; ConfigError for anything else, or more than 64 examples."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() and int(part) <= POOL for part in parts):
        raise ConfigError(f"--shots {text!r:.40}: wanted numbers from 0 to {POOL}, such as 0,1,4")
    return tuple(sorted({int(part) for part in parts}))
