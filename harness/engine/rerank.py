"""Answer by drawing several candidates and letting the model itself judge them (after RAIN,
Li et al. 2023, "RAIN: Your Language Models Can Align Themselves without Finetuning")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.engine.sampling import derive_seed
from harness.engine.scheduler import common
from harness.engine.sequence import Job
from harness.protocols import Tokenizer
from harness.records import Passage, Request, Rerank, TokenScores


def candidates(request: Request, job: Job, rerank: Rerank) -> list[Job]:
    """One job per candidate: the same prompt, the rerank's temperature, a seed of its own."""
    return [
        replace(
            job,
            key=f"{job.key}#{draw}",
            sampling=replace(job.sampling, temperature=rerank.temperature),
            seed=derive_seed(request.seed, request.epoch, job.tokens, draw),
            stream=False,
        )
        for draw in range(rerank.n)
    ]


def verdict_texts(rerank: Rerank, answer: str, tokenizer: Tokenizer) -> list[Passage]:
    """The judge's prompt with the answer in it, once going on with yes and once with no.

    Both are tokenized whole, and only what follows their common tokens is scored: a word's
    tokens depend on what stands before it.
    """
    question = rerank.judge.replace("{answer}", answer)
    yes, no = tokenizer.tokenize(
        [question + rerank.yes, question + rerank.no], add_special=True, parse_special=False
    )
    start = max(1, common(yes, no))
    return [Passage(yes, start), Passage(no, start)]


def judge_sizes(reranks: Sequence[Rerank], tokenizer: Tokenizer) -> list[int]:
    """Tokens of each judge's prompt and its verdict, without the answer that is judged."""
    texts = [
        rerank.judge.replace("{answer}", "") + max(rerank.yes, rerank.no, key=len)
        for rerank in reranks
    ]
    if not texts:
        return []
    return [len(ids) for ids in tokenizer.tokenize(texts, add_special=True, parse_special=False)]


def best(events: Sequence[Mapping[str, Any]], verdicts: Sequence[float]) -> int:
    """The candidate with the highest log p(yes) - log p(no); the first of equals.

    A candidate that failed cannot win against one that did not.
    """
    order = [
        (event["finish"] != "failed", verdict)
        for event, verdict in zip(events, verdicts, strict=True)
    ]
    return order.index(max(order))


def merged(
    key: str, events: Sequence[Mapping[str, Any]], winner: int, judge_tokens: int
) -> Mapping[str, Any]:
    """The winner's text under the request's key, with the tokens that all candidates cost."""
    return {
        **events[winner],
        "key": key,
        "prompt_tokens": sum(event["prompt_tokens"] for event in events) + judge_tokens,
        "completion_tokens": sum(len(event["tokens"]) for event in events),
        "seconds": sum(event["seconds"] for event in events),
    }


def differences(scores: Sequence[TokenScores]) -> Iterator[float]:
    """log p(yes) - log p(no) of each pair of scored texts."""
    for yes, no in zip(scores[::2], scores[1::2], strict=True):
        yield sum(yes.logprobs) - sum(no.logprobs)
