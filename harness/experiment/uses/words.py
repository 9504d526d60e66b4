"""Uses: the last word of each sentence, guessed freely and among four (cloze).

Tokenization-safe: a word is right when every token that has a byte of it is the model's first
choice *and* the model's next choice does not go on with the word, so that "in" is no hit where it
wanted "inside"; how a vocabulary splits the word does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness import numbers
from harness.choice.uses import absent, measured
from harness.choice.values import ArmScores, Use
from harness.errors import TemplateError
from harness.experiment.uses.seats import Seat
from harness.experiment.uses.teacher import Forced, Unfaithful, forced, scored
from harness.experiment.uses.windows import Window
from harness.hashing import tagged_hash
from harness.records import TokenScores

NAME = "last word"
CLOZE = "cloze"
CHOICES = 4
SHORTEST = 3
"""Words given before a last word, and characters of one, that make it worth a guess."""

_LAST = re.compile(r"(?<=\s)([^\W\d_][\w'’-]*)(?=[.!?;:]+[\"”’')\]]*(?:\s|$))")
"""A word of letters after white space and right before the end of a sentence or clause."""


def last_words(text: str) -> list[tuple[int, int]]:
    """Where the last words of the text's sentences begin and end, in characters."""
    return [
        found.span(1)
        for found in _LAST.finditer(text)
        if len(found[1]) >= SHORTEST and len(text[: found.start(1)].split()) >= SHORTEST
    ]


def hits(pieces: Sequence[bytes], ranks: Sequence[int], tops: Sequence[bytes]) -> list[bool]:
    """Whether each last word of the scored text is the model's own choice.

    ``pieces`` are the scored tokens' bytes, ``ranks`` their ranks, ``tops`` the bytes of the tokens
    that the model liked best in their places.
    """
    text = b"".join(pieces).decode("utf-8", "replace")
    begins = np.cumsum([0, *map(len, pieces)])
    found = []
    for first, last in last_words(text):
        start, end = len(text[:first].encode()), len(text[:last].encode())
        inside = np.flatnonzero((begins[1:] > start) & (begins[:-1] < end)).tolist()
        right = all(ranks[place] == 0 for place in inside)
        after = inside[-1] + 1
        if right and begins[after] == end and after < len(tops):
            right = not tops[after][:1].isalnum()
        found.append(bool(right))
    return found


def arm_scores(
    seat: Seat, way: str, found: Sequence[tuple[Forced, TokenScores]], units: Sequence[int]
) -> ArmScores:
    """Last words that were right, and how many there are, in each unit."""
    tokenizer = seat.tokenizer
    assert tokenizer is not None
    values, sizes = np.zeros(max(units) + 1), np.zeros(max(units) + 1)
    for unit, (item, scores) in zip(units, found, strict=True):
        right = hits(item.pieces, scores.ranks, tokenizer.token_bytes(scores.tops))
        values[unit] += sum(right)
        sizes[unit] += len(right)
    values[sizes == 0] = np.nan
    tokens = sum(len(item.passage.tokens) for item, _ in found) / len(values)
    if not sizes.any():
        return absent(NAME, seat.stage, way, "no sentence of these texts ends in a word")
    return ArmScores(NAME, seat.stage, way, values, sizes, tokens)


@dataclass(frozen=True, slots=True)
class Gap:
    """A sentence without its last word: what stands before, the words to choose from, what ends it.

    The right one is ``words[0]``.
    """

    unit: int
    context: str
    before: str
    words: tuple[str, ...]
    after: str


def gaps_of(windows: Sequence[Window], units: Sequence[int], seed: int) -> tuple[Gap, ...]:
    """One gap per window, the other words drawn from the texts' other last words.

    Drawn by a hash of the seed and the gap's own text: another document changes no other gap's
    order. Empty where the texts have fewer than four different last words.
    """
    places = [last_words(window.rest) for window in windows]
    known = sorted(
        {
            window.rest[first:last]
            for window, spans in zip(windows, places, strict=True)
            for first, last in spans
        }
    )
    found = []
    for window, unit, spans in zip(windows, units, places, strict=True):
        if not spans or len(known) < CHOICES:
            continue
        first, last = spans[len(spans) // 2]
        right, before = window.rest[first:last], window.rest[:first]
        others = sorted(
            (word for word in known if word.lower() != right.lower()),
            key=lambda word: tagged_hash("cloze", [seed, before, right, word]),
        )[: CHOICES - 1]
        end = re.match(r"[.!?;:]+", window.rest[last:])
        after = end[0] if end else ""
        found.append(Gap(unit, window.context, before, (right, *others), after))
    return tuple(found)


class Cloze:
    """The trial: which of four words ends the sentence, by the likelihood of word and full stop."""

    def __init__(
        self, windows: Sequence[Window], units: Sequence[int], named: str, seed: int
    ) -> None:
        self.gaps, self.named = gaps_of(windows, units, seed), named
        self.count = max(units) + 1

    @property
    def size(self) -> str:
        """What it asks of each way of a stage, in words."""
        return (
            f"{numbers.size(len(self.gaps), 'sentence')} with four ends each" if self.gaps else ""
        )

    def measure(self, seat: Seat) -> Iterator[ArmScores]:
        """Each way's right choices, or why it has none."""
        for way in seat.ways:
            try:
                yield self._arm(seat, way)
            except (TemplateError, Unfaithful) as error:
                yield absent(CLOZE, seat.stage, way, str(error))

    def uses(self, arms: Sequence[ArmScores]) -> Iterator[Use]:
        """The use, once every stage was measured; nothing where the texts have too few words."""
        if self.gaps:
            yield measured(CLOZE, arms, self.named)

    def _arm(self, seat: Seat, way: str) -> ArmScores:
        asked = [
            Window(gap.unit, gap.context, f"{gap.before}{word}{gap.after}")
            for gap in self.gaps
            for word in gap.words
        ]
        if not asked:
            return absent(CLOZE, seat.stage, way, "too few last words to choose from")
        seat.say(f"{seat.stage} {way}: {len(self.gaps)} sentences with four ends each")
        passages = forced(seat, way, asked)
        logs = [sum(scores.logprobs) for _, scores in scored(seat, passages)]
        values, sizes = np.zeros(self.count), np.zeros(self.count)
        for number, gap in enumerate(self.gaps):
            mine = logs[CHOICES * number : CHOICES * (number + 1)]
            values[gap.unit] += mine[0] > max(mine[1:])
            sizes[gap.unit] += 1
        values[sizes == 0] = np.nan
        tokens = sum(len(item.passage.tokens) for item in passages) / len(self.gaps)
        return ArmScores(CLOZE, seat.stage, way, values, sizes, tokens)
