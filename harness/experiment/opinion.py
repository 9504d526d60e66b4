"""A model's opinion of a run's answers: yes or no, or which of two, by log-probability.

Weaker evidence than a check, and kept apart from every figure of a run: the judge has tastes of its
own, likes long answers and its own family's, and may be wrong without a reason. What it says is
therefore printed beside its agreement with the run's verifiable checks, and with labels where the
user gives some.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import strategies
from harness.config import parse_experiment
from harness.datasets import text_lines
from harness.errors import ConfigError, EngineError, PromptContractError, SuiteError
from harness.experiment.backend import Backends, Finding
from harness.experiment.opening import opened
from harness.experiment.override import placed
from harness.experiment.resolve import fitted_settings, resolve_models
from harness.intake import load_json, shown
from harness.protocols import Backend, ServedTemplate, Tokenizer
from harness.records import (
    CONTROL_STAGE,
    Arm,
    Condition,
    Message,
    Passage,
    RenderedPrompt,
    Sample,
    Scored,
)
from harness.reporting import Run
from harness.stats.rates import wilson
from harness.strategies import Template, load_templates

ANSWER_CHARACTERS = 8_000
"""Characters of an answer that the judge is shown."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the judge thinks of one answer: ``odds`` is log p(yes) − log p(no)."""

    sample_id: str
    condition: Condition
    epoch: int
    odds: float
    passed: bool | None

    @property
    def yes(self) -> bool:
        """Whether it holds yes for likelier."""
        return self.odds > 0


@dataclass(frozen=True, slots=True)
class Preference:
    """Which of two answers the judge prefers, asked in both orders.

    ``first`` and ``swapped`` are log p(A) − log p(B) with the left arm's answer as A, then as B.
    """

    sample_id: str
    epoch: int
    first: float
    swapped: float

    @property
    def choice(self) -> str:
        """``left`` or ``right``, or ``neither`` where the order decided."""
        if self.first > 0 > self.swapped:
            return "left"
        return "right" if self.first < 0 < self.swapped else "neither"


@dataclass(frozen=True, slots=True)
class Accord:
    """How often the judge agrees with something: a share of ``n``, with Wilson's 95 % interval.

    ``chance`` is the share that would agree if the two knew nothing of each other.
    """

    agrees: int
    n: int
    chance: float

    @property
    def share(self) -> float:
        """Of ``n`` the part that agrees."""
        return self.agrees / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of the share."""
        return wilson(self.agrees, self.n)


class Judge:
    """A loaded model that is asked for one word."""

    def __init__(
        self,
        backend: Backend,
        tokenizer: Tokenizer,
        chat_template: str | ServedTemplate | None,
        context: int,
    ) -> None:
        self._backend, self._tokenizer, self._context = backend, tokenizer, context
        self._native = chat_template or None
        templates = load_templates()
        self._template: Template = templates["native" if self._native else "qa"]

    def odds(self, questions: Sequence[str], words: tuple[str, str]) -> list[float | None]:
        """log p(first word) − log p(second) after each question, in order.

        None where the model cannot be asked: a question that spells one of its control tokens, or
        is longer than its context.
        """
        # Behind a chat template's marks a word begins the answer; behind "Answer:" a space does.
        said = [word if self._native else f" {word}" for word in words]
        ends = self._tokenizer.tokenize(said, add_special=False, parse_special=False)
        room = self._context - max(map(len, ends)) if self._context else math.inf
        prompts = [
            prompt if prompt is not None and len(prompt.token_ids) <= room else None
            for prompt in self._prompts(questions)
        ]
        passages = [
            Passage((*prompt.token_ids, *end), len(prompt.token_ids))
            for prompt in prompts
            if prompt is not None
            for end in ends
        ]
        scores = (sum(found.logprobs) for found in self._backend.logprobs(passages))
        return [None if prompt is None else next(scores) - next(scores) for prompt in prompts]

    def _prompts(self, questions: Sequence[str]) -> list[RenderedPrompt | None]:
        samples = [
            Sample(str(number), (Message("user", text),), ())
            for number, text in enumerate(questions)
        ]
        try:
            return [*self._rendered(samples)]
        except PromptContractError:
            return [self._alone(sample) for sample in samples]

    def _alone(self, sample: Sample) -> RenderedPrompt | None:
        try:
            return self._rendered([sample])[0]
        except PromptContractError:
            return None

    def _rendered(self, samples: Sequence[Sample]) -> Sequence[RenderedPrompt]:
        arm = Arm(self._template.id, self._template.id)
        return strategies.render_many(samples, arm, self._template, self._tokenizer, self._native)


@contextmanager
def opened_judge(model: str, n_gpu_layers: int | str = 0) -> Iterator[Judge]:
    """The model as a judge; ConfigError where its backend has no log-probabilities."""
    experiment = parse_experiment(
        {
            "name": "opinion",
            "stages": {"judge": {"model": placed(model)}},
            "engine": {"n_gpu_layers": n_gpu_layers},
        },
        "--model",
    )
    backends = Backends()
    (item,) = resolve_models(experiment, Finding(Path.cwd()), backends)
    settings, _ = fitted_settings(experiment, [item], backends, {})
    with opened(experiment, item, settings[item.cell], backends, 1) as backend:
        tokenizer = backend.tokenizer
        if tokenizer is None or "logprobs" not in backend.abilities:
            raise EngineError(f"--model {model}: its backend tells no log-probabilities")
        yield Judge(backend, tokenizer, item.chat_template, item.model.context_length)


def opinions(judge: Judge, rows: Sequence[Scored], question: str) -> list[Opinion]:
    """The judge's yes or no on each answer to one question about it; none where it is not asked."""
    asked = [
        f"{_shown(row)}\n\n{question.strip()} Answer with one word: Yes or No." for row in rows
    ]
    return [
        Opinion(row.sample.id, row.condition, row.epoch, odds, row.passed)
        for row, odds in zip(rows, judge.odds(asked, ("Yes", "No")), strict=True)
        if odds is not None
    ]


def preferences(
    judge: Judge, pairs: Sequence[tuple[Scored, Scored]], question: str
) -> list[Preference]:
    """Which answer of each pair the judge prefers, each pair asked in both orders."""
    asked = [
        f"Request:\n{_request(left)}\n\nAnswer A:\n{_cut(a)}\n\nAnswer B:\n{_cut(b)}\n\n"
        f"{question.strip()} Answer with one letter: A or B."
        for left, right in pairs
        for a, b in ((left.response, right.response), (right.response, left.response))
    ]
    found = judge.odds(asked, ("A", "B"))
    return [
        Preference(left.sample.id, left.epoch, first, swapped)
        for (left, _), first, swapped in zip(pairs, found[::2], found[1::2], strict=True)
        if first is not None and swapped is not None
    ]


def answered(run: Run, arms: Sequence[Condition]) -> list[Scored]:
    """A run's answers of some arms (of all when none are named), controls and gaps left out."""
    return [
        row
        for row in run.scored
        if row.condition.stage != CONTROL_STAGE
        and row.generation.finish_reason != "failed"
        and (not arms or row.condition in arms)
    ]


def paired(run: Run, left: Condition, right: Condition) -> list[tuple[Scored, Scored]]:
    """The answers that both arms gave to the same item."""
    sides = [
        {(row.sample.suite, row.sample.id, row.epoch): row for row in answered(run, [arm])}
        for arm in (left, right)
    ]
    return [(row, sides[1][place]) for place, row in sides[0].items() if place in sides[1]]


def read_labels(path: Path) -> Mapping[tuple[str, str], bool]:
    """The user's own verdicts: JSONL rows ``{"id", "arm", "label"}``, ``arm`` as the run has it.

    Raises SuiteError naming the line.
    """
    found: dict[tuple[str, str], bool] = {}
    for number, line in text_lines(path):
        where = f"{path}:{number}"
        row = load_json(line, where, SuiteError)
        if not isinstance(row, dict) or not isinstance(row.get("label"), bool):
            raise SuiteError(
                f'{where}: wanted {{"id": ..., "arm": ..., "label": true or false}}, '
                f"found {shown(row)}"
            )
        place = (str(row.get("id")), str(row.get("arm")))
        if place in found:
            raise SuiteError(f"{where}: {place[0]!r} in {place[1]!r} has a label already")
        found[place] = row["label"]
    return found


def with_labels(
    said: Sequence[Opinion], labels: Mapping[tuple[str, str], bool]
) -> list[tuple[float, bool]]:
    """Odds and label of each answer that has one; ConfigError for a label of no answer."""
    known = {(item.sample_id, str(item.condition)): item.odds for item in said if not item.epoch}
    for place in labels:
        if place not in known:
            raise ConfigError(f"--labels: no answer of {place[0]!r} in {place[1]!r} was judged")
    return [(known[place], label) for place, label in labels.items()]


def accord(pairs: Sequence[tuple[bool, bool]]) -> Accord | None:
    """How often two verdicts are the same; None of nothing."""
    if not pairs:
        return None
    n = len(pairs)
    one, other = (sum(pair[side] for pair in pairs) / n for side in (0, 1))
    same = sum(a == b for a, b in pairs)
    return Accord(same, n, one * other + (1 - one) * (1 - other))


def threshold(labelled: Sequence[tuple[float, bool]]) -> float:
    """The odds from which yes agrees best with labels; 0 where nothing is better than that.

    Candidates lie in the middle between neighbouring odds; of several as good the one nearest 0.
    """
    odds = sorted({value for value, _ in labelled})
    middles = [(a + b) / 2 for a, b in itertools.pairwise(odds)]
    outer = [odds[0] - 1, odds[-1] + 1] if odds else []
    return min([0.0, *middles, *outer], key=lambda cut: (-_agreeing(labelled, cut), abs(cut)))


def calibrated(labelled: Sequence[tuple[float, bool]]) -> Accord | None:
    """Agreement with each label by the threshold that the other labels choose (leave one out)."""
    pairs = []
    for number, (odds, label) in enumerate(labelled):
        others = [*labelled[:number], *labelled[number + 1 :]]
        pairs.append((odds > threshold(others), label))
    return accord(pairs)


def _agreeing(labelled: Sequence[tuple[float, bool]], cut: float) -> int:
    return sum((odds > cut) == label for odds, label in labelled)


def probability(odds: float) -> float:
    """p(yes) where only yes and no are possible."""
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, odds))))


def _shown(row: Scored) -> str:
    return f"Request:\n{_request(row)}\n\nAnswer:\n{_cut(row.response)}"


def _request(row: Scored) -> str:
    turns = row.sample.messages
    if len(turns) == 1:
        return turns[0].content
    return "\n".join(f"{turn.role}: {turn.content}" for turn in turns)


def _cut(text: str) -> str:
    text = text.strip()
    return text if len(text) <= ANSWER_CHARACTERS else text[:ANSWER_CHARACTERS] + "…"
