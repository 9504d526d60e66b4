"""What one layer asks of another, so that siblings need not import each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, Protocol

from harness.measured import LogitBlock, Speed
from harness.records import EngineIdentity, Generation, Passage, Request, TokenScores

OnToken = Callable[[str, str], None]
"""Called with a request's key and the text that was just decoded (``harness ask`` streams it)."""


Until = Callable[[str, str], bool]
"""Asked with a request's key and its answer so far whether that answer may end there. A function of
both alone: it is asked at fixed token counts, so that a cut answer is the same on every run."""


class Tokenizer(Protocol):
    """A model's own tokenizer; loading it needs no weights (llama.cpp ``vocab_only``)."""

    @property
    def bos_id(self) -> int | None:
        """The beginning-of-sequence token, None when the vocabulary has none."""

    @property
    def eos_id(self) -> int | None:
        """The end-of-sequence token a chat template knows as ``eos_token``, None without one."""

    @property
    def add_bos(self) -> bool:
        """Whether the model's metadata asks for a BOS in front of plain text."""

    @property
    def control_tokens(self) -> dict[int, str]:
        """Control and user-defined special tokens: id -> text as written in a template."""

    @property
    def fim_tokens(self) -> dict[str, int]:
        """Fill-in-the-middle tokens by role: pre, suf, mid, and pad, rep, sep where there are."""

    @property
    def eog_ids(self) -> frozenset[int]:
        """Tokens that end generation."""

    @property
    def chat_template(self) -> str | None:
        """The default chat template in the file's metadata."""

    def token_text(self, token_id: int) -> str:
        """A token's text, special tokens rendered as written (``<|im_end|>``)."""

    def token_bytes(self, token_ids: Sequence[int]) -> list[bytes]:
        """Each token's bytes, special tokens as written; one token may be half a character."""

    def tokenize(
        self, texts: Sequence[str], *, add_special: bool, parse_special: bool
    ) -> list[tuple[int, ...]]:
        """Token ids of each text (many at once: one round trip to the child process)."""


class ServedTemplate(Protocol):
    """A chat template that somebody else applies: a server, to conversations it is sent."""

    @property
    def hidden(self) -> bool:
        """Whether the prompt it makes is not shown: the conversation itself is sent then."""

    @property
    def takes_system(self) -> bool:
        """False where a hidden template is known to refuse or drop a system message."""

    @property
    def text(self) -> str:
        """Its source, empty where it is not told."""

    @property
    def digest(self) -> str:
        """What tells it from other templates."""

    def render(
        self, conversations: Sequence[Sequence[Mapping[str, str]]], *, add_generation_prompt: bool
    ) -> list[str]:
        """The prompt of each conversation, as JSON of its turns where it is hidden.

        Raises RenderFailed with the place of the one that is refused.
        """


Ability = Literal["logprobs", "rules", "rerank", "early", "measure"]
"""What not every backend can do: score given text, apply logit rules, draw and judge answers, end
an answer early (its ``generate`` then takes ``until``), be measured (:class:`Measurable`)."""


class Backend(Protocol):
    """A model that answers requests: in-process llama.cpp, a fake one in tests, or any other."""

    @property
    def identity(self) -> EngineIdentity:
        """What enters each request's key."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The model's own tokenizer; None where nobody is told: it is then asked in plain text."""

    @property
    def abilities(self) -> frozenset[Ability]:
        """What it can do beyond generating."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the report must know of how it ran."""

    def generate(
        self, requests: Sequence[Request], *, on_token: OnToken | None = None
    ) -> Iterator[Generation]:
        """Yield each request's generation as it finishes, in any order.

        With the ability ``early`` it takes ``until``, an :data:`Until`, too.
        """

    def logprobs(self, texts: Sequence[Passage]) -> Iterator[TokenScores]:
        """Yield each text's log-probabilities, in order; EngineError where it has none to give."""

    def expect_another(self) -> None:
        """Another model follows this one: whatever may be made ready for it, may be made ready."""

    def close(self) -> None:
        """Give back what it holds: processes, memory, connections."""


class Measurable(Protocol):
    """What a backend with the ability ``measure`` can do too."""

    def speed(self, prefill: int, decode: int) -> Speed:
        """How fast it is at a prompt of so many tokens and at so many after it."""

    def logit_rows(self, texts: Sequence[Passage]) -> Iterator[LogitBlock]:
        """The logits that predict the texts' scored tokens, in order, in blocks of bounded size."""
