"""A loaded model's vocabulary: tokenize, pieces, special tokens (runs in the child process)."""

from __future__ import annotations

import ctypes
from functools import cached_property
from typing import Any

from harness.errors import EngineError

_CONTROL_OR_USER_DEFINED = (1 << 3) | (1 << 4)  # LLAMA_TOKEN_ATTR_CONTROL, _USER_DEFINED


class Vocabulary:
    """llama.cpp's vocabulary of one model file."""

    def __init__(self, low: Any, model: Any) -> None:
        self._low = low
        self._model = model
        self._vocab = low.llama_model_get_vocab(model)
        self._buffer = ctypes.create_string_buffer(256)
        self._pieces: dict[int, bytes] = {}
        self.size = int(low.llama_vocab_n_tokens(self._vocab))
        if low.llama_vocab_type(self._vocab) == low.LLAMA_VOCAB_TYPE_NONE or self.size == 0:
            raise EngineError("the model file has no vocabulary; it cannot be prompted with text")

    @property
    def bos(self) -> int | None:
        """The beginning-of-sequence token, if there is one."""
        token = int(self._low.llama_vocab_bos(self._vocab))
        return token if 0 <= token < self.size else None

    @property
    def eos(self) -> int | None:
        """The end-of-sequence token, if there is one."""
        token = int(self._low.llama_vocab_eos(self._vocab))
        return token if 0 <= token < self.size else None

    @property
    def add_bos(self) -> bool:
        """Whether the file asks for a BOS in front of plain text."""
        return bool(self._low.llama_vocab_get_add_bos(self._vocab))

    @cached_property
    def eog(self) -> frozenset[int]:
        """Every token that ends generation."""
        is_eog = self._low.llama_vocab_is_eog
        return frozenset(token for token in range(self.size) if is_eog(self._vocab, token))

    @cached_property
    def control(self) -> dict[int, str]:
        """Control and user-defined tokens with their texts."""
        attributes = self._low.llama_vocab_get_attr
        return {
            token: self.text(token)
            for token in range(self.size)
            if attributes(self._vocab, token) & _CONTROL_OR_USER_DEFINED
        }

    @property
    def fim(self) -> dict[str, int]:
        """The fill-in-the-middle tokens there are, by role: pre, suf, mid, pad, rep, sep.

        From the metadata or, where it names none, by the texts that llama.cpp knows.
        """
        found = {
            role: int(getattr(self._low, f"llama_vocab_fim_{role}")(self._vocab))
            for role in ("pre", "suf", "mid", "pad", "rep", "sep")
        }
        return {role: token for role, token in found.items() if 0 <= token < self.size}

    @property
    def chat_template(self) -> str | None:
        """The default chat template in the file's metadata."""
        found = self._low.llama_model_chat_template(self._model, None)
        return found.decode("utf-8", "replace") if found else None

    def text(self, token: int) -> str:
        """A token's text, special tokens as written."""
        return self.piece(token).decode("utf-8", "replace")

    def piece(self, token: int) -> bytes:
        """A token's bytes, special tokens as written (``<|im_end|>``), spaces kept."""
        found = self._pieces.get(token)
        if found is None:
            found = self._pieces[token] = self._render(token)
        return found

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> tuple[int, ...]:
        """Token ids of a text; raises EngineError when llama.cpp refuses it."""
        data = text.encode("utf-8", "surrogatepass")
        room = len(data) + 8
        for _ in range(2):
            tokens = (self._low.llama_token * room)()
            count = self._low.llama_tokenize(
                self._vocab, data, len(data), tokens, room, add_special, parse_special
            )
            if count >= 0:
                return tuple(tokens[:count])
            room = -count
        raise EngineError(f"llama.cpp could not tokenize a text of {len(data)} bytes")

    def _render(self, token: int) -> bytes:
        for _ in range(2):
            size = self._low.llama_token_to_piece(
                self._vocab, token, self._buffer, len(self._buffer), 0, True
            )
            if size >= 0:
                return self._buffer.raw[:size]
            self._buffer = ctypes.create_string_buffer(-size)
        raise EngineError(f"llama.cpp could not render token {token}")
