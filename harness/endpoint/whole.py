"""Whether a server reads a prompt whole, found out by what it counts alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from harness.endpoint.dialect import again
from harness.records import Message, RenderedPrompt, Request

SHORTEST = 400
"""Characters below which a prompt is not suspected to be cut."""

_SLACK = 0.9
"""Halves are tokenized a little otherwise than the whole: a tenth is more than that."""


async def counts_whole(
    request: Request, counted: Callable[[Request], Awaitable[int | None]]
) -> int | None:
    """None where the prompt is read whole, else how many tokens of it the server reads.

    The two halves of a text and what stands around it have as many tokens as the whole, nearly:
    a whole that counts fewer was cut. ``counted`` asks the server for one token and its count.
    """
    text = _asked(request.prompt)
    if len(text) < SHORTEST:
        return None
    middle = len(text) // 2
    counts = []
    for part in (text, text[:middle], text[middle:], "a"):
        found = await counted(_with(again(request, 1), part))
        if found is None:
            return None
        counts.append(found)
    whole, first, second, frame = counts
    return whole if whole < _SLACK * (first + second - frame) else None


def _asked(prompt: RenderedPrompt) -> str:
    return prompt.messages[-1].content if prompt.messages else prompt.text


def _with(request: Request, text: str) -> Request:
    prompt = request.prompt
    if prompt.messages:
        turns = (*prompt.messages[:-1], Message("user", text))
        return replace(request, prompt=replace(prompt, messages=turns))
    return replace(request, prompt=replace(prompt, text=text))
