"""A model's tokenizer, asked for in the child process that has the file open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.engine.pipe import WORKER, Child

Ask = Callable[..., Mapping[str, Any]]


class ChildTokenizer:
    """Implements :class:`harness.protocols.Tokenizer` over a loaded child; a context manager."""

    def __init__(self, ask: Ask, loaded: Mapping[str, Any], end: Callable[[], None]) -> None:
        self._ask = ask
        self._end = end
        self._bos: int | None = loaded["bos"]
        self._eos: int | None = loaded["eos"]
        self._add_bos = bool(loaded["add_bos"])
        self._control = {int(token): str(text) for token, text in loaded["control"]}
        self._eog = frozenset(loaded["eog"])
        self._fim: dict[str, int] = dict(loaded["fim"])
        self._template: str | None = loaded["chat_template"]
        self._texts = dict(self._control)
        self._pieces: dict[int, bytes] = {}

    @property
    def bos_id(self) -> int | None:
        """The beginning-of-sequence token, None when the vocabulary has none."""
        return self._bos

    @property
    def eos_id(self) -> int | None:
        """The end-of-sequence token, None when the vocabulary has none."""
        return self._eos

    @property
    def add_bos(self) -> bool:
        """Whether the file asks for a BOS in front of plain text."""
        return self._add_bos

    @property
    def control_tokens(self) -> dict[int, str]:
        """Control and user-defined special tokens: id -> text."""
        return dict(self._control)

    @property
    def eog_ids(self) -> frozenset[int]:
        """Tokens that end generation."""
        return self._eog

    @property
    def fim_tokens(self) -> dict[str, int]:
        """Fill-in-the-middle tokens by role."""
        return dict(self._fim)

    @property
    def chat_template(self) -> str | None:
        """The default chat template in the file's metadata."""
        return self._template

    def token_text(self, token_id: int) -> str:
        """A token's text, special tokens rendered as written."""
        if token_id not in self._texts:
            self._texts[token_id] = self._ask("tokenize", tokens=[token_id])["texts"][0]
        return self._texts[token_id]

    def token_bytes(self, token_ids: Sequence[int]) -> list[bytes]:
        """Each token's bytes; together those of the text, which no single one may be."""
        unknown = sorted(set(token_ids) - self._pieces.keys())
        if unknown:
            found = self._ask("tokenize", pieces=unknown)["pieces"]
            self._pieces |= zip(unknown, map(bytes.fromhex, found), strict=True)
        return [self._pieces[token] for token in token_ids]

    def tokenize(
        self, texts: Sequence[str], *, add_special: bool, parse_special: bool
    ) -> list[tuple[int, ...]]:
        """Token ids of each text."""
        if not texts:
            return []
        answer = self._ask(
            "tokenize", texts=list(texts), add_special=add_special, parse_special=parse_special
        )
        return [tuple(tokens) for tokens in answer["tokens"]]

    def close(self) -> None:
        """End the child process, if this tokenizer has one of its own."""
        self._end()

    def __enter__(self) -> ChildTokenizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_tokenizer(model: Path, *, worker: Sequence[str] = WORKER) -> ChildTokenizer:
    """A model file's tokenizer without its weights, in a child process of its own.

    Close it, or use it in a ``with`` statement. Raises ModelInvalid when llama.cpp cannot read the
    file, and EngineError when the child process dies of it.
    """
    child = Child(worker)
    try:
        loaded = child.ask("load", model=str(model), vocab_only=True, limited=True)
    except BaseException:
        child.kill()
        raise
    return ChildTokenizer(child.ask, loaded, child.close)
