"""Teacher forcing: how likely a stage finds a given text after a given prompt.

Texts are tokenized whole, prompt and continuation together, and a token counts where it begins
after the prompt's last byte: no model is charged for a split that it would not make itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from harness.choice.sides import NATIVE, RAW
from harness.experiment.uses.seats import Seat, asked
from harness.experiment.uses.windows import Window
from harness.protocols import Tokenizer
from harness.records import Passage, RenderedPrompt, TokenScores

CONTINUE = "Continue this text in the same style. Write only what comes next.\n\n"
"""How a stage is asked to go on where it is not simply given the text."""


@dataclass(frozen=True, slots=True)
class Forced:
    """A passage to score and what its scored tokens are: the bytes of each."""

    passage: Passage
    pieces: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Bytes that are scored."""
        return sum(map(len, self.pieces))


class Unfaithful(Exception):
    """A tokenizer does not keep the text: its tokens are not the text's bytes."""


def forced(seat: Seat, way: str, windows: Sequence[Window]) -> list[Forced]:
    """Every window as this way asks it. Raises TemplateError, and Unfaithful."""
    tokenizer = seat.tokenizer
    if tokenizer is None or "logprobs" not in seat.model.abilities:
        raise Unfaithful("its backend gives no log-probabilities of a given text")
    if way == RAW:
        return after_text(tokenizer, [(window.context, window.rest) for window in windows])
    prompts = seat.prompts(way, asked([CONTINUE + window.context for window in windows], "window"))
    if way == NATIVE:
        return after_prompt(tokenizer, prompts, [window.rest for window in windows])
    pairs = [
        (prompt.text, window.rest.lstrip() if prompt.text[-1:].isspace() else window.rest)
        for prompt, window in zip(prompts, windows, strict=True)
    ]
    return after_text(tokenizer, pairs)


def scored(seat: Seat, found: Sequence[Forced]) -> list[tuple[Forced, TokenScores]]:
    """Passages with their scores, in order."""
    scores = seat.scores([item.passage for item in found])
    return list(zip(found, scores, strict=True))


def after_text(tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]) -> list[Forced]:
    """Passages of plain text: each pair's second text, scored after the first.

    A BOS is put first where the model asks for one, as for every raw prompt. Raises Unfaithful
    where the tokenizer changes the text (lower-cases it, say), so that its bytes cannot be counted.
    """
    texts = [before + rest for before, rest in pairs]
    every = tokenizer.tokenize(texts, add_special=True, parse_special=False)
    return [
        _split(tokenizer, ids, before, text)
        for ids, (before, _), text in zip(every, pairs, texts, strict=True)
    ]


def _split(tokenizer: Tokenizer, ids: tuple[int, ...], before: str, text: str) -> Forced:
    if len(ids) > 1 and ids[-1] in tokenizer.eog_ids:
        ids = ids[:-1]
    special = int(tokenizer.add_bos and ids[:1] == (tokenizer.bos_id,))
    pieces = tokenizer.token_bytes(ids)
    total = sum(map(len, pieces[special:])) - len(text.encode())
    # SentencePiece puts a space of its own before a text.
    if total not in (0, 1) or (total == 1 and not pieces[special].startswith(b" ")):
        raise Unfaithful(
            "its tokenizer changes the text, so that bits cannot be counted against bytes"
        )
    # A token across the boundary is the prompt's; the last one counts whatever happens.
    begins = accumulate(map(len, pieces[special:-1]), initial=0)
    boundary, last = len(before.encode()) + total, len(ids) - 1
    first = (place for place, begin in enumerate(begins, special) if begin >= boundary)
    start = max(1, next(first, last))
    return Forced(Passage(ids, start), tuple(pieces[start:]))


def after_prompt(
    tokenizer: Tokenizer, prompts: Sequence[RenderedPrompt], texts: Sequence[str]
) -> list[Forced]:
    """Passages of answers: each text, tokenized by itself, right behind a chat prompt's tokens.

    The prompt ends in the template's own marks, and what is generated begins there with whole
    tokens too. White space before the text is dropped: an answer does not begin with it.
    """
    every = tokenizer.tokenize(
        [text.lstrip() for text in texts], add_special=False, parse_special=False
    )
    found = []
    for prompt, ids in zip(prompts, every, strict=True):
        pieces = tuple(tokenizer.token_bytes(ids))
        found.append(Forced(Passage(prompt.token_ids + ids, len(prompt.token_ids)), pieces))
    return found


def bits(scores: TokenScores) -> float:
    """The negative log2 likelihood of a passage's scored tokens."""
    return -sum(scores.logprobs) / math.log(2)


def perplexity_chunks(tokenizer: Tokenizer, text: str, n_ctx: int) -> list[Passage]:
    """The passages that ``llama-perplexity -c N`` scores in a text of its own.

    Its convention (llama.cpp, tools/perplexity): the text is tokenized whole, with BOS where the
    model asks for one, and cut into chunks of ``n_ctx`` tokens without overlap; what is left over
    is dropped; the first token of every chunk is replaced by BOS where the model asks for one; only
    the tokens of the second half of a chunk count, which have at least ``n_ctx`` / 2 before them.
    """
    ids = tokenizer.tokenize([text], add_special=True, parse_special=False)[0]
    found = []
    for begin in range(0, len(ids) - n_ctx + 1, n_ctx):
        chunk = ids[begin : begin + n_ctx]
        if tokenizer.add_bos and tokenizer.bos_id is not None:
            chunk = (tokenizer.bos_id, *chunk[1:])
        found.append(Passage(chunk, n_ctx // 2 + 1))
    return found
