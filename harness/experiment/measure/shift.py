"""How near each arm of the base is to the instruct model, token by token over its answers."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from harness import models
from harness.analysis import Analysis
from harness.experiment.backend import StageModel
from harness.experiment.measure.session import Session
from harness.experiment.measure.step import divergences
from harness.measured import Shift
from harness.protocols import Backend
from harness.records import Condition, Generation, Passage, Request


def shifts(
    session: Session,
    items: Sequence[StageModel],
    analysis: Analysis,
    generations: Mapping[str, Generation],
    most: int,
) -> Iterator[Shift]:
    """Every arm of the base over the instruct model's own answers, at the reference level."""
    raw, instruct = analysis.raw, analysis.instruct
    cells = {item.cell: item for item in items}
    base = cells.get(raw.cell) if raw else None
    tuned = cells.get(instruct.cell) if instruct else None
    if instruct is None or base is None or tuned is None or not most:
        return
    if different := models.first_token_difference(base.model, tuned.model):
        session.notes.append(
            f"no token distribution shift: {base.stage} and {tuned.stage} have different "
            f"tokenizers: {different}"
        )
        return
    asked = session.planned.requests
    own = [r for r in asked[tuned.cell] if r.condition == instruct and r.epoch == 0]
    arms = arms_of(asked[base.cell])
    with session.noting(str(tuned.cell)), session.walked(tuned) as left:
        tokenizer = cast(Backend, left).tokenizer
        ends = tokenizer.eog_ids if tokenizer else frozenset()
        taken = taken_up(own, generations, arms, ends, most)
        if tokenizer:
            read = (pieces(tokenizer.token_bytes(tokens)) for tokens in taken.tokens)
            session.pieces.update(zip(taken.items, read, strict=True))
        with session.noting(str(base.cell)), session.walked(base) as right:
            for arm, theirs in taken.theirs.items():
                session.say(f"token distribution shift: {arm} over {instruct}'s answers")
                try:
                    walked = divergences(left, right, taken.mine, theirs)
                    shift = walked.shift(str(arm), str(instruct))
                    yield replace(shift, items=taken.items)
                except ValueError as error:
                    session.notes.append(f"{arm}: no token distribution shift: {error}")


@dataclass(frozen=True, slots=True)
class Taken:
    """A model's answers to ``items``, behind its own prompts and behind each arm's.

    ``tokens`` are those of each answer, its end of turn left out.
    """

    items: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]
    mine: list[Passage]
    theirs: Mapping[Condition, list[Passage]]


def arms_of(requests: Sequence[Request]) -> dict[Condition, dict[str, Request]]:
    """Each arm's first request by sample.

    Without arms that ask without the instruction, or draw several answers and choose: they put no
    prompt that another model's answer could stand behind.
    """
    found: dict[Condition, dict[str, Request]] = {}
    for request in requests:
        if not request.condition.is_ablated and request.prompt.rerank is None:
            found.setdefault(request.condition, {}).setdefault(request.sample_id, request)
    return found


def taken_up(
    own: Sequence[Request],
    generations: Mapping[str, Generation],
    arms: Mapping[Condition, Mapping[str, Request]],
    ends: frozenset[int],
    most: int,
) -> Taken:
    """A model's own answers, taken up by every arm.

    Only samples that every arm asks; at most ``most`` tokens, of answers spread over the samples.
    """
    kept: list[tuple[Request, tuple[int, ...]]] = []
    for request in own:
        answer = generations[request.key]
        tokens = answer.token_ids
        if tokens and tokens[-1] in ends:
            tokens = tokens[:-1]
        asked = all(request.sample_id in by_sample for by_sample in arms.values())
        if tokens and asked and answer.finish_reason != "failed" and request.prompt.token_ids:
            kept.append((request, tokens))
    every = max(1, -(-sum(len(tokens) for _, tokens in kept) // max(1, most)))
    kept = kept[::every]
    return Taken(
        tuple(request.sample_id for request, _ in kept),
        tuple(tokens for _, tokens in kept),
        [_behind(request, tokens) for request, tokens in kept],
        {
            arm: [_behind(by_sample[request.sample_id], tokens) for request, tokens in kept]
            for arm, by_sample in arms.items()
        },
    )


def _behind(request: Request, tokens: tuple[int, ...]) -> Passage:
    prompt = request.prompt.token_ids
    return Passage(prompt + tokens, len(prompt))


def pieces(tokens: Sequence[bytes]) -> tuple[str, ...]:
    """Each token as text; of a character that several tokens make, the last one has it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return tuple(decoder.decode(token) for token in tokens)
