"""Measuring the engine on a user's own model: made-up work, a clock, and a count of flips."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.engine.engine import Engine
from harness.engine.fleet import Fleet
from harness.hashing import text_sha256
from harness.protocols import Tokenizer
from harness.records import Condition, Generation, RenderedPrompt, Request, Sampling

_VERBS = ("Describe", "Explain", "List three facts about", "Write a short story about", "Define")
_TOPICS = (
    "rivers", "bread", "the moon", "old maps", "bicycles", "rain", "a lighthouse", "chess",
    "copper", "honey bees", "snow", "train stations", "the number seven", "paper", "a garden",
    "volcanoes",
)  # fmt: skip
_FILLER = (
    "The following notes were written down by a careful observer who wanted to leave nothing out. "
)


@dataclass(frozen=True, slots=True)
class Timing:
    """One timed run: wall seconds, prompt and generated tokens, and the share outside llama.cpp.

    ``overhead`` is 1 − time inside ``llama_decode`` and ``llama_synchronize`` / wall time of the
    child's loop; ``generations`` are keyed by request.
    """

    seconds: float
    prompt_tokens: int
    tokens: int
    overhead: float
    generations: Mapping[str, Generation]

    @property
    def rate(self) -> float:
        """Generated tokens per second of wall time, prefill included."""
        return self.tokens / self.seconds


@dataclass(frozen=True, slots=True)
class Flips:
    """How many of ``n`` greedy texts differ between two runs, and after how many tokens."""

    n: int
    flipped: int
    first_tokens: tuple[int, ...]

    @property
    def rate(self) -> float:
        """Share of texts that differ."""
        return self.flipped / self.n if self.n else 0.0


def workload(
    tokenizer: Tokenizer,
    items: int,
    *,
    prefix_tokens: int = 0,
    max_tokens: int = 64,
    turn: int = 0,
) -> list[Request]:
    """``items`` greedy requests of about 15 to 140 prompt tokens, after a shared prefix if asked.

    The prefix is about ``prefix_tokens`` long, as a few-shot prompt is. Another ``turn`` has other
    prompts from the first word on: what a contestant cached in an earlier turn is of no use.
    """
    count = len(_tokens(tokenizer, [_FILLER])[0])
    prefix = (f"Page {turn}. " if turn else "") + _FILLER * round(prefix_tokens / count)
    texts = [
        f"{prefix}{index + 1}. {_FILLER * (index % 7)}"
        f"{_VERBS[index % len(_VERBS)]} {_TOPICS[index % len(_TOPICS)]}.\n"
        for index in range(items)
    ]
    return [
        Request(
            key=text_sha256(f"{max_tokens} {text}"),
            sample_id=f"bench-{index}",
            condition=Condition("bench", "", ""),
            model_sha256="",
            prompt=RenderedPrompt(
                text=text,
                token_ids=tokens,
                stops=(),
                bos_count=0,
                special_tokens=(),
                template_sha256="",
            ),
            sampling=Sampling(max_tokens=max_tokens),
        )
        for index, (text, tokens) in enumerate(zip(texts, _tokens(tokenizer, texts), strict=True))
    ]


def timed(engine: Engine | Fleet, requests: Sequence[Request]) -> Timing:
    """Answer the requests once, on the clock."""
    before = dict(engine.tally)
    begin = time.perf_counter()
    found = {answer.request_key: answer for answer in engine.generate(requests)}
    seconds = time.perf_counter() - begin
    spent = {name: value - before.get(name, 0) for name, value in engine.tally.items()}
    return Timing(
        seconds=seconds,
        prompt_tokens=sum(answer.prompt_tokens for answer in found.values()),
        tokens=sum(answer.completion_tokens for answer in found.values()),
        overhead=1 - spent["native_seconds"] / spent["seconds"],
        generations=found,
    )


def flips(left: Mapping[str, Generation], right: Mapping[str, Generation]) -> Flips:
    """Compare two runs over the same requests, token by token."""
    first = []
    for key, one in left.items():
        pair = (one.token_ids, right[key].token_ids)
        if pair[0] != pair[1]:
            same = [a == b for a, b in zip(*pair, strict=False)]
            first.append(same.index(False) if False in same else len(same))
    return Flips(n=len(left), flipped=len(first), first_tokens=tuple(sorted(first)))


def _tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[tuple[int, ...]]:
    return tokenizer.tokenize(texts, add_special=True, parse_special=False)
