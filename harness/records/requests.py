"""What a model is put to, and the key that names it: everything that could change a token."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from harness.hashing import tagged_hash
from harness.records.conditions import Condition
from harness.records.models import EngineIdentity
from harness.records.samples import Message


@dataclass(frozen=True, slots=True)
class LogitRules:
    """Fixed logit rules (Hewitt et al. 2024): EOS bias rising with length, used tokens, openers.

    ``eos_slope`` is added to every end-of-generation logit per generated token up to ``eos_cap``;
    ``used_penalty`` is subtracted from the logit of every token already generated;
    ``openers`` are ``(token id, bias)`` pairs applied to the first ``opener_tokens`` steps.
    """

    eos_slope: float = 0.0
    eos_cap: float = 0.0
    used_penalty: float = 0.0
    openers: tuple[tuple[int, float], ...] = ()
    opener_tokens: int = 1


@dataclass(frozen=True, slots=True)
class Rerank:
    """Draw ``n`` answers, let the model itself judge each, keep the best (RAIN-like).

    ``judge`` is a prompt text with ``{answer}`` in it; the score of an answer is
    log p(``yes``) - log p(``no``) after it. Cost: about ``n`` times the tokens.
    """

    n: int
    judge: str
    yes: str = " Yes"
    no: str = " No"
    temperature: float = 0.7


@dataclass(frozen=True, slots=True)
class Sampling:
    """Decoding parameters, neutral by default; temperature 0 is greedy.

    ``max_tokens`` is the generation limit; ``overrun`` is how many tokens to go on after a stop
    string so that run-on can be measured.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalty_last_n: int = 64
    logit_bias: tuple[tuple[int, float], ...] = ()
    max_tokens: int = 256
    overrun: int = 0


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """Exactly what the model sees, with its contract.

    ``text`` is the full prompt including ``prefill`` (the opening of the answer, if any);
    ``stops`` are stop strings (a leading newline anchors one at a line start);
    ``special_tokens`` lists control-token texts found in the prompt, in order;
    ``notes`` says what the renderer had to do (``system folded into the user turn``).
    ``messages`` is the conversation where a server writes the prompt and does not show it: ``text``
    is then that conversation as JSON.
    """

    text: str
    token_ids: tuple[int, ...]
    stops: tuple[str, ...]
    bos_count: int
    special_tokens: tuple[str, ...]
    template_sha256: str
    prefill: str = ""
    notes: tuple[str, ...] = ()
    rules: LogitRules | None = None
    rerank: Rerank | None = None
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to be answered once. ``key`` is :func:`request_key` of everything that matters.

    ``early`` says by which checks its answer may be cut, empty where it is generated whole.
    """

    key: str
    sample_id: str
    condition: Condition
    model_sha256: str
    prompt: RenderedPrompt
    sampling: Sampling
    seed: int = 0
    epoch: int = 0
    early: str = ""

    @classmethod
    def keyed(
        cls,
        prompt: RenderedPrompt,
        sampling: Sampling,
        *,
        sample_id: str,
        condition: Condition,
        model_sha256: str,
        engine: EngineIdentity,
        seed: int,
        epoch: int = 0,
        early: str = "",
    ) -> Request:
        """One prompt put to a model, under its key."""
        key = request_key(
            prompt=prompt,
            model_sha256=model_sha256,
            sampling=sampling,
            seed=seed,
            epoch=epoch,
            engine=engine,
            early=early,
        )
        return cls(
            key=key,
            sample_id=sample_id,
            condition=condition,
            model_sha256=model_sha256,
            prompt=prompt,
            sampling=sampling,
            seed=seed,
            epoch=epoch,
            early=early,
        )


@dataclass(frozen=True, slots=True)
class Passage:
    """A text to score: its tokens, and the position of the first one that counts (at least 1).

    Tokens before ``start`` are context; ``tokens[0]`` has nothing before it and no probability.
    """

    tokens: tuple[int, ...]
    start: int = 1


def request_key(
    *,
    prompt: RenderedPrompt,
    model_sha256: str,
    sampling: Sampling,
    seed: int,
    epoch: int,
    engine: EngineIdentity,
    early: str = "",
) -> str:
    """The tagged hash of everything that could change the answer's tokens.

    ``early`` says by which checks the answer may be cut (empty: it is generated whole).

    A greedy request's seed does not enter: it cannot change anything. The prompt enters by its
    token ids, stop strings, logit rules and reranking; by its text only where the backend has no
    tokenizer to ask.
    """
    drawn = sampling.temperature > 0 or prompt.rerank is not None
    return tagged_hash(
        "request",
        {
            "token_ids": list(prompt.token_ids),
            "stops": list(prompt.stops),
            "rules": asdict(prompt.rules) if prompt.rules else None,
            "rerank": asdict(prompt.rerank) if prompt.rerank else None,
            "model": model_sha256,
            "sampling": _values(sampling),
            "seed": seed if drawn else None,
            "epoch": epoch,
            "engine": _values(engine),
            **({"early": early} if early else {}),
            # A backend that tells nobody its tokens is asked in plain text.
            **({} if prompt.token_ids or not prompt.text else {"text": prompt.text}),
            **({"route": "chat"} if prompt.messages else {}),
        },
    )


def passage_key(passage: Passage, *, model_sha256: str, engine: EngineIdentity) -> str:
    """The tagged hash of everything that could change the scores of a given text."""
    return tagged_hash(
        "passage",
        {
            "token_ids": list(passage.tokens),
            "start": passage.start,
            "model": model_sha256,
            "engine": _values(engine),
        },
    )


def _values(record: Sampling | EngineIdentity) -> dict[str, Any]:
    """The fields of a flat record; ``asdict`` copies deep and takes ten times as long."""
    return {entry.name: getattr(record, entry.name) for entry in fields(record)}
