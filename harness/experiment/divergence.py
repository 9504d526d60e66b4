"""Two models over the same texts, in step: their whole distributions are compared and forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.errors import ConfigError
from harness.measured import LogitBlock
from harness.protocols import Measurable, Tokenizer
from harness.records import Condition, EngineSettings, Generation, ModelFile, Passage, Request
from harness.stats.divergence import Divergences

_VALUES = 1 << 21
"""Logits of one block: 8 MiB for each of two models, beside what llama.cpp takes for them."""
_LEAST = 8
"""Tokens of the smallest prefill chunk: fewer would read the weights too often."""
SHORTEST = 32
"""Tokens of the shortest text that says anything."""


def walking(settings: EngineSettings, model: ModelFile) -> EngineSettings:
    """Settings whose prefill chunks are small enough that so many rows of logits are small too."""
    tokens = int(model.metadata.get("inspect.tokens", 0)) or _VALUES
    return replace(settings, chunk=max(_LEAST, min(settings.chunk, _VALUES // tokens)))


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


def divergences(
    reference: Measurable,
    other: Measurable,
    texts: Sequence[Passage],
    others: Sequence[Passage] | None = None,
) -> Divergences:
    """KL(reference ‖ other) and what goes with it, token by token over the same texts.

    ``others`` are the texts as the other model sees them, where its context differs: the same
    tokens count in both. Raises EngineError when a model cannot read a text.
    """
    found = Divergences()
    walks = reference.logit_rows(texts), other.logit_rows(texts if others is None else others)
    for left, right in in_step(*walks):
        count = len(left.rows)
        targets = texts[left.index].tokens[left.start : left.start + count]
        found.add(left.index, left.rows, right.rows, targets)
    return found


def in_step(
    left: Iterator[LogitBlock], right: Iterator[LogitBlock]
) -> Iterator[tuple[LogitBlock, LogitBlock]]:
    """Blocks of two walks cut to the same rows, whatever each one's blocks are.

    Rows are paired in the order they come: both walks must score equally many tokens of each text.
    """
    one, other = next(left, None), next(right, None)
    while one is not None and other is not None:
        count = min(len(one.rows), len(other.rows))
        assert one.index == other.index, "the walks score different numbers of tokens"
        yield _head(one, count), _head(other, count)
        one = _rest(one, count) or next(left, None)
        other = _rest(other, count) or next(right, None)
    assert one is None and other is None, "one walk is longer than the other"


def _head(block: LogitBlock, count: int) -> LogitBlock:
    return LogitBlock(block.index, block.start, block.rows[:count])


def _rest(block: LogitBlock, count: int) -> LogitBlock | None:
    """What follows the first rows; None when they are all."""
    if count == len(block.rows):
        return None
    return LogitBlock(block.index, block.start + count, block.rows[count:])
