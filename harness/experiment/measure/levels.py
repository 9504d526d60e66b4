"""How far a stage's levels are from one another: over its own answers, and over a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from harness.config import Measure
from harness.errors import ConfigError, EngineError
from harness.experiment.backend import StageModel
from harness.experiment.measure.session import Session
from harness.experiment.measure.step import divergences
from harness.experiment.measure.text import ComparedText
from harness.measured import Divergence
from harness.protocols import Backend, Measurable, Tokenizer
from harness.records import Condition, Generation, Passage, Request

OWN = "own answers"
"""What a divergence over the reference's own answers is named after."""

SHORTEST = 32
"""Tokens of the shortest text that says anything."""


def level_divergences(
    session: Session,
    items: Sequence[StageModel],
    arm: Condition,
    generations: Mapping[str, Generation],
    asked: Measure,
    text: ComparedText | None,
) -> Iterator[Divergence]:
    """Each level of a stage against the arm's own, over its answers and over the text."""
    reference = next((item for item in items if item.level == arm.level), None)
    if reference is None or not (asked.tokens or (text and text.content)):
        return
    requests = [r for r in session.planned.requests[reference.cell] if r.condition == arm]
    own = answers(requests, generations, asked.tokens) if asked.tokens else []
    with session.noting(str(arm.cell)), session.walked(reference) as left:
        texts = {OWN: own} if own else {}
        if text is not None:
            tokenizer = cast(Backend, left).tokenizer
            if tokenizer is None:
                raise EngineError(f"backend {reference.backend} tells nobody its tokens")
            tokens = tokenizer.tokenize([text.content], add_special=True, parse_special=False)[0]
            texts[text.over] = windows(tokens, asked.window, tokenizer)
        for item in items:
            if item.level != arm.level:
                with session.noting(str(item.cell)):
                    yield from _apart(session, left, reference, item, texts)


def _apart(
    session: Session,
    left: Measurable,
    reference: StageModel,
    item: StageModel,
    texts: Mapping[str, Sequence[Passage]],
) -> Iterator[Divergence]:
    cell, against = (str(one.cell) for one in (item, reference))
    with session.walked(item) as right:
        for over, passages in texts.items():
            count = sum(len(text.tokens) - text.start for text in passages)
            session.say(f"comparing {cell} with {against}: {count} tokens, {over}")
            try:
                yield divergences(left, right, passages).summary(cell, against, over)
            except ValueError as error:
                session.notes.append(f"{cell}: not compared over {over}: {error}")


def answers(
    requests: Sequence[Request], generations: Mapping[str, Generation], most: int
) -> list[Passage]:
    """What a model itself answered, each behind its prompt: only the answer's tokens count.

    At most ``most`` tokens count, of answers spread evenly over the requests.
    """
    found = []
    for request in requests:
        answer = generations[request.key]
        prompt = request.prompt.token_ids
        if answer.finish_reason != "failed" and prompt and answer.token_ids:
            found.append(Passage(prompt + answer.token_ids, len(prompt)))
    total = sum(len(text.tokens) - text.start for text in found)
    every = max(1, -(-total // max(1, most)))
    return found[::every]


def windows(tokens: Sequence[int], size: int, tokenizer: Tokenizer) -> list[Passage]:
    """A text cut as llama.cpp's perplexity tool cuts it: its second halves count.

    ``tokens`` are the whole text's, BOS included. Windows of ``size`` tokens, what is left over
    dropped; the first token of each is replaced by BOS where the model adds one; the rows from
    ``size // 2`` on count, so that every token has at least half a window before it. A text
    shorter than a window is one window of its own length. Raises ConfigError under 32 tokens.
    """
    size = min(size, len(tokens))
    if size < SHORTEST:
        raise ConfigError(
            f"the text has {len(tokens)} tokens; {SHORTEST} are the fewest that are compared"
        )
    opening = (tokenizer.bos_id,) if tokenizer.add_bos and tokenizer.bos_id is not None else None
    found = []
    for begin in range(0, len(tokens) - size + 1, size):
        cut = tuple(tokens[begin : begin + size])
        found.append(Passage((opening or cut[:1]) + cut[1:], size // 2 + 1))
    return found
