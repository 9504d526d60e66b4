"""The tokenizer of a model that tells nobody its tokens: prompts stay text."""

from __future__ import annotations

from collections.abc import Sequence


class Untold:
    """Implements :class:`harness.protocols.Tokenizer` without a vocabulary: every text is ().

    What a prompt's contract says of tokens (one BOS, no control token in a question) cannot be
    checked then; what it says of text is.
    """

    bos_id: int | None = None
    eos_id: int | None = None
    add_bos = False
    eog_ids: frozenset[int] = frozenset()
    chat_template: str | None = None

    @property
    def control_tokens(self) -> dict[int, str]:
        """None that anybody knows of."""
        return {}

    @property
    def fim_tokens(self) -> dict[str, int]:
        """None that anybody knows of."""
        return {}

    def token_text(self, token_id: int) -> str:
        """No token has a text."""
        return ""

    def token_bytes(self, token_ids: Sequence[int]) -> list[bytes]:
        """No token has any."""
        return [b"" for _ in token_ids]

    def tokenize(
        self, texts: Sequence[str], *, add_special: bool, parse_special: bool
    ) -> list[tuple[int, ...]]:
        """No tokens for any text."""
        return [() for _ in texts]
