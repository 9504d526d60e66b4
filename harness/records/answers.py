"""What came back: a text, or a number for each token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["eos", "stop", "length", "loop", "decided", "failed"]
"""Why an answer ended; ``decided``: it was cut where its verdicts could no longer change."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What one request produced.

    ``text`` is everything that was generated (with the overrun, if any), ``answer`` the view cut
    at the first stop string. ``finish_reason`` is why the *answer* ended. ``prompt_tokens`` and
    ``completion_tokens`` count tokens (for a reranked answer: of all candidates); ``seconds`` is
    wall time from admission to the last token. ``error`` holds the child's last words when
    ``finish_reason`` is ``failed``.
    """

    request_key: str
    text: str
    answer: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    seconds: float = 0.0
    error: str | None = None

    @property
    def tokens(self) -> int:
        """What it cost: prompt and answer."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class TokenScores:
    """One number per scored token, in order: ``tokens[start:]`` of text number ``index``.

    ``logprobs`` are natural logarithms; ``ranks`` count the tokens the model liked better (0: its
    own first choice); ``entropies`` are of the whole distribution, in nats; ``tops`` are the
    model's first choices and ``margins`` how far, in logits, the second lies behind.
    """

    index: int
    logprobs: tuple[float, ...]
    ranks: tuple[int, ...]
    entropies: tuple[float, ...]
    tops: tuple[int, ...]
    margins: tuple[float, ...]
