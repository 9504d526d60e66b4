"""Use: going on in the text's own style. How far a greedy continuation is from what follows."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness import numbers
from harness.choice.sides import RAW
from harness.choice.uses import absent, measured
from harness.choice.values import ArmScores, Use
from harness.errors import TemplateError
from harness.experiment.uses.seats import Seat, asked
from harness.experiment.uses.teacher import CONTINUE
from harness.experiment.uses.windows import Window
from harness.records import Sampling

NAME = "style"
NEW_TOKENS = 96
PER_UNIT = 3
"""Windows of a document that are gone on with."""
GRAM = 3
_SHORTEST = 50
_SENTENCE = re.compile(r"[.!?]+(?:\s|$)|\n+")


@dataclass(frozen=True, slots=True)
class Distance:
    """How far one text's style is from another's, each part from 0 (alike) to 1.

    ``grams``: Jensen-Shannon distance (base 2; Lin 1991) of their character trigrams, in lower
    case; ``sentence``: difference of the mean words per sentence, relative to the longer;
    ``punctuation``: Jensen-Shannon distance of their marks, 1 where only one has any.
    """

    grams: float
    sentence: float
    punctuation: float

    @property
    def mean(self) -> float:
        """The three parts, weighed alike."""
        return (self.grams + self.sentence + self.punctuation) / 3


def distance(answer: str, reference: str) -> Distance:
    """The style distance of an answer to the stretch of the reference that is as long.

    Nothing at all is as far away as can be.
    """
    answer = answer.strip()
    if not answer:
        return Distance(1.0, 1.0, 1.0)
    reference = reference.strip()[: max(len(answer), _SHORTEST)]
    answer = answer[: len(reference)]
    mine, theirs = _sentence_length(answer), _sentence_length(reference)
    return Distance(
        jensen_shannon(_grams(answer), _grams(reference)),
        abs(mine - theirs) / max(mine, theirs),
        jensen_shannon(_marks(answer), _marks(reference)),
    )


def jensen_shannon(a: Mapping[str, int], b: Mapping[str, int]) -> float:
    """The distance of two distributions given as counts: 0 where alike, 1 where disjoint."""
    if not a or not b:
        return float(bool(a) != bool(b))
    from scipy.spatial.distance import jensenshannon

    names = sorted(a.keys() | b.keys())
    columns = [np.array([counts.get(name, 0) for name in names], float) for counts in (a, b)]
    return float(jensenshannon(*columns, base=2))


def _grams(text: str) -> Counter[str]:
    text = " ".join(text.lower().split())
    return Counter(text[place : place + GRAM] for place in range(len(text) - GRAM + 1))


def _marks(text: str) -> Counter[str]:
    return Counter(letter for letter in text if unicodedata.category(letter).startswith("P"))


def _sentence_length(text: str) -> float:
    """Mean words of a sentence; at least 1."""
    counts = [len(part.split()) for part in _SENTENCE.split(text)]
    return max(1.0, float(np.mean([count for count in counts if count] or [1])))


class Style:
    """The trial: greedy continuations of some windows, set against what follows there."""

    def __init__(self, windows: Sequence[Window], units: Sequence[int], named: str) -> None:
        seen: Counter[int] = Counter()
        self.asked: list[tuple[int, Window]] = []
        for window, unit in zip(windows, units, strict=True):
            seen[unit] += 1
            if seen[unit] <= PER_UNIT and len(window.rest) >= _SHORTEST:
                self.asked.append((unit, window))
        self.named, self.count = named, max(units) + 1
        self.parts: dict[tuple[str, str], list[Distance]] = {}

    @property
    def size(self) -> str:
        """What it asks of each way of a stage, in words."""
        return f"{numbers.size(len(self.asked), 'text')} to go on with" if self.asked else ""

    def measure(self, seat: Seat) -> Iterator[ArmScores]:
        """Each way's distances, or why it has none."""
        for way in seat.ways:
            seat.say(f"{seat.stage} {way}: going on with {len(self.asked)} texts")
            try:
                yield self._arm(seat, way)
            except TemplateError as error:
                yield absent(NAME, seat.stage, way, str(error))

    def uses(self, arms: Sequence[ArmScores]) -> Iterator[Use]:
        """The use, once every stage was measured."""
        if self.asked:
            notes = [
                f"{stage} {way}: trigrams {_mean(found, 'grams')}, sentence length "
                f"{_mean(found, 'sentence')}, punctuation {_mean(found, 'punctuation')}"
                for (stage, way), found in self.parts.items()
            ]
            yield measured(NAME, arms, self.named, notes)

    def _arm(self, seat: Seat, way: str) -> ArmScores:
        if not self.asked:
            return absent(NAME, seat.stage, way, "no window is long enough to be gone on with")
        opening = "" if way == RAW else CONTINUE
        texts = [opening + window.context for _, window in self.asked]
        prompts = seat.prompts(way, asked(texts, NAME))
        answers = seat.answers(way, prompts, Sampling(max_tokens=NEW_TOKENS))
        values, sizes = np.zeros(self.count), np.zeros(self.count)
        found = self.parts[seat.stage, way] = []
        for (unit, window), prompt, answer in zip(self.asked, prompts, answers, strict=True):
            if answer.finish_reason == "failed":
                continue
            found.append(distance(prompt.prefill + answer.answer, window.rest))
            values[unit] += found[-1].mean
            sizes[unit] += 1
        values[sizes == 0] = np.nan
        cost = sum(answer.tokens for answer in answers)
        return ArmScores(NAME, seat.stage, way, values, sizes, cost / len(answers))


def _mean(found: Sequence[Distance], part: str) -> str:
    values = [getattr(item, part) for item in found]
    return f"{float(np.mean(values)):.3f}" if values else "—"
