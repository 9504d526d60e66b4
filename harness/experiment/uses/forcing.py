"""A window of text as each way of a stage puts it, ready to be scored."""

from __future__ import annotations

from collections.abc import Sequence

from harness.choice.sides import NATIVE, RAW
from harness.experiment.uses.seats import Seat, asked
from harness.experiment.uses.teacher import Forced, Unfaithful, after_prompt, after_text
from harness.experiment.uses.windows import Window
from harness.records import TokenScores

CONTINUE = "Continue this text in the same style. Write only what comes next.\n\n"
"""How a stage is asked to go on where it is not simply given the text."""


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
