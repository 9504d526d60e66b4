"""Use: filling a gap. By the vocabulary's own fill-in-the-middle tokens, or by asking for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from harness import numbers
from harness.checks import CodeSettings, judge
from harness.checks.own.code import python_of
from harness.choice.sides import RAW
from harness.choice.uses import absent, measured
from harness.choice.values import ArmScores, Use
from harness.datasets.infill import Infill
from harness.errors import TemplateError
from harness.experiment.uses.seats import Seat, asked
from harness.protocols import Tokenizer
from harness.records import CheckSpec, Generation, Message, RenderedPrompt, Sample, Sampling
from harness.stats.rates import Floats

EXACT, EDIT, TESTS = "fill in the middle", "fill in the middle, edits", "fill in the middle, tests"
NEW_TOKENS = 128
ROOM = 16
"""Tokens that a filling may have beyond twice the reference's."""
ORDERS = ("psm", "spm")
GAP = "[GAP]"
ASK = (
    "Fill in the gap. The text below has a gap, marked {gap}. Write only what stands in the gap, "
    "nothing else.\n\n{text}"
)
MISSING = "its vocabulary has no fill-in-the-middle tokens"


def fim_prompt(tokenizer: Tokenizer, item: Infill, order: str) -> RenderedPrompt | None:
    """The prompt in the vocabulary's tokens, None where it has none.

    As llama.cpp's server builds it: ``<pre>prefix<suf>suffix<mid>`` (``psm``), or the suffix first
    (``spm``: ``<suf>suffix<pre>prefix<mid>``), behind BOS where the model asks for one. Other files
    come before, each behind the file separator and its path, behind the repository's name; without
    a file separator they are left out.
    """
    tokens = tokenizer.fim_tokens
    if not {"pre", "suf", "mid"} <= tokens.keys():
        return None
    parts = {
        "psm": [("pre", item.prefix), ("suf", item.suffix), ("mid", "")],
        "spm": [("suf", item.suffix), ("pre", item.prefix), ("mid", "")],
    }[order]
    if "sep" in tokens and (item.files or item.path):
        beside = [("sep", f"{path}\n{text}") for path, text in item.files]
        own = [("sep", f"{item.path}\n")] if item.path else []
        repo = [("rep", f"{item.repo}\n")] if item.repo and "rep" in tokens else []
        parts = [*repo, *beside, *own, *parts]
    texts = tokenizer.tokenize([text for _, text in parts], add_special=False, parse_special=False)
    bos = (tokenizer.bos_id,) if tokenizer.add_bos and tokenizer.bos_id is not None else ()
    ids = [*bos]
    for (role, _), body in zip(parts, texts, strict=True):
        ids += [tokens[role], *body]
    names = tuple(tokenizer.token_text(tokens[role]) for role, _ in parts)
    text = "".join(name + body for name, (_, body) in zip(names, parts, strict=True))
    return RenderedPrompt(text, tuple(ids), (), len(bos), names, "")


def filled(item: Infill, answer: str) -> str:
    """What an answer puts into the gap: its code block, if it is one, up to the suffix again.

    A model that was asked in words may repeat what follows the gap: the answer ends there.
    """
    text = python_of(answer) if "```" in answer else answer
    follows = next((line for line in item.suffix.splitlines() if len(line.strip()) > 2), "")
    place = text.find(f"\n{follows}") if follows else -1
    return text[:place] if place >= 0 else text


def edit_similarity(answer: str, reference: str) -> float:
    """1 − Levenshtein distance / length of the longer, white space around both left out."""
    from rapidfuzz.distance import Levenshtein

    return float(Levenshtein.normalized_similarity(answer.strip(), reference.strip()))


class FillIn:
    """The trial: every gap filled by every way of every stage."""

    def __init__(self, items: Sequence[Infill], code: CodeSettings, order: str = "psm") -> None:
        self.items, self.code, self.order = items, code, order
        self.notes: list[str] = []

    @property
    def size(self) -> str:
        """What it asks of each way of a stage, in words."""
        return f"{numbers.size(len(self.items), 'gap')} to fill"

    def measure(self, seat: Seat) -> Iterator[ArmScores]:
        """Each way's exact matches, edit similarities and passed tests, or why it has none."""
        for way in seat.ways:
            seat.say(f"{seat.stage} {way}: filling {numbers.size(len(self.items), 'gap')}")
            try:
                prompts = self._prompts(seat, way, self.order)
            except TemplateError as error:
                yield from self._absent(seat, way, str(error))
                continue
            if prompts is None:
                yield from self._absent(seat, way, MISSING)
                continue
            answers = seat.answers(
                way, prompts, Sampling(max_tokens=NEW_TOKENS), budgets=self._budgets(seat, way)
            )
            yield from self._scores(seat, way, answers)
            if way == RAW:
                self._other_order(seat)

    def uses(self, arms: Sequence[ArmScores]) -> Iterator[Use]:
        """The uses, once every stage was measured."""
        yield measured(EXACT, arms, "items", self.notes)
        blind = self._blind()
        told = [f"another gap's reference, filled in blindly, gets {blind:.3f}"]
        yield replace(measured(EDIT, arms, "items", told if blind else ()), floor=blind)
        if self._tested():
            yield measured(TESTS, arms, "items")

    def _blind(self) -> float:
        """The floor of edit similarity: every gap filled with the one before's reference."""
        if len(self.items) < 2:
            return 0.0
        before = [self.items[-1], *self.items[:-1]]
        found = [
            edit_similarity(other.reference, item.reference)
            for other, item in zip(before, self.items, strict=True)
        ]
        return float(np.mean(found))

    def _prompts(self, seat: Seat, way: str, order: str) -> list[RenderedPrompt] | None:
        if way != RAW:
            return seat.prompts(way, asked([_question(item) for item in self.items], "gap"))
        tokenizer = seat.tokenizer
        made = [fim_prompt(tokenizer, item, order) for item in self.items] if tokenizer else [None]
        kept = [prompt for prompt in made if prompt is not None]
        return kept if len(kept) == len(self.items) else None

    def _budgets(self, seat: Seat, way: str) -> list[int]:
        """Most tokens of each answer; of a filling itself twice the reference's and a few more.

        An answer in words may say more around what stands in the gap.
        """
        tokenizer = seat.tokenizer
        if way != RAW or tokenizer is None:
            return [NEW_TOKENS] * len(self.items)
        texts = [item.reference for item in self.items]
        sizes = map(len, tokenizer.tokenize(texts, add_special=False, parse_special=False))
        return [min(NEW_TOKENS, 2 * size + ROOM) for size in sizes]

    def _other_order(self, seat: Seat) -> None:
        """The other order is told beside: a model may know one of the two only."""
        order = next(name for name in ORDERS if name != self.order)
        prompts = self._prompts(seat, RAW, order)
        assert prompts is not None
        answers = seat.answers(
            RAW, prompts, Sampling(max_tokens=NEW_TOKENS), budgets=self._budgets(seat, RAW)
        )
        exact = [_exact(item, answer) for item, answer in zip(self.items, answers, strict=True)]
        share = numbers.percent(float(np.nanmean(exact)) if exact else None)
        self.notes.append(
            f"{seat.stage}, asked in the other order ({order}): {share} exact "
            f"(the table's is {self.order})"
        )

    def _scores(self, seat: Seat, way: str, answers: Sequence[Generation]) -> Iterator[ArmScores]:
        pairs = list(zip(self.items, answers, strict=True))
        cost = sum(a.tokens for a in answers) / len(answers)
        columns = {
            EXACT: [_exact(item, answer) for item, answer in pairs],
            EDIT: [_edits(item, answer) for item, answer in pairs],
        }
        if self._tested():
            columns[TESTS] = [self._passes(item, answer) for item, answer in pairs]
        for name, values in columns.items():
            column: Floats = np.array(values, float)
            yield ArmScores(name, seat.stage, way, column, np.ones(len(column)), cost)

    def _absent(self, seat: Seat, way: str, why: str) -> Iterator[ArmScores]:
        for name in (EXACT, EDIT, TESTS):
            yield absent(name, seat.stage, way, why)

    def _tested(self) -> bool:
        return self.code.mode != "off" and any(item.tests for item in self.items)

    def _passes(self, item: Infill, answer: Generation) -> float:
        """Whether the filled text passes the item's tests; NaN where it has none."""
        if not item.tests:
            return np.nan
        if answer.finish_reason == "failed":
            return 0.0
        check = CheckSpec("code_passes", {"tests": item.tests})
        sample = Sample(item.id, (Message("user", ""),), (check,))
        text = item.prefix + filled(item, answer.answer) + item.suffix
        verdict = judge(sample, text, code=self.code)[0].strict
        return np.nan if verdict is None else float(verdict)


def _question(item: Infill) -> str:
    return ASK.format(gap=GAP, text=f"{item.prefix}{GAP}{item.suffix}")


def _exact(item: Infill, answer: Generation) -> float:
    """Whether the gap holds the reference, white space around both left out; a failure does not."""
    return float(filled(item, answer.answer).strip() == item.reference.strip())


def _edits(item: Infill, answer: Generation) -> float:
    return edit_similarity(filled(item, answer.answer), item.reference)
