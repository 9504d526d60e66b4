"""A server's tokenizer and its chat template, asked over the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from harness.endpoint.discover import Server
from harness.endpoint.wire import Fault, Wire
from harness.hashing import text_sha256
from harness.intake import shown
from harness.jinja import ChatMessages, RenderFailed


class ServerTokenizer:
    """Implements :class:`harness.protocols.Tokenizer` with llama-server's routes.

    A server does not list its control tokens: one is known as soon as a text that was tokenized
    held it, recognised where special tokens are and split where they are not.
    """

    def __init__(self, server: Server, wire: Wire | None = None) -> None:
        self._server = server
        self._wire = wire or Wire(server.address)
        self._owns = wire is None
        self._control: dict[int, str] = {}
        self._texts: dict[int, str] = {}
        with_bos, without = (
            self.tokenize(["a"], add_special=add, parse_special=False)[0] for add in (True, False)
        )
        extra = len(with_bos) - len(without)
        self._bos = with_bos[0] if extra > 0 else self._one(server.bos)
        self._add_bos = extra > 0
        self._eos = self._one(server.eos)

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
        """Whether the server puts a BOS in front of plain text."""
        return self._add_bos

    @property
    def control_tokens(self) -> dict[int, str]:
        """The control tokens met so far: id -> text."""
        return dict(self._control)

    @property
    def eog_ids(self) -> frozenset[int]:
        """The end-of-sequence token; the server knows the others itself."""
        return frozenset() if self._eos is None else frozenset({self._eos})

    @property
    def chat_template(self) -> str | None:
        """The template the server says to use."""
        return self._server.template or None

    def token_text(self, token_id: int) -> str:
        """A token's text, special tokens rendered as written."""
        if token_id not in self._texts:
            value = self._wire.wait(self._wire.ask("/detokenize", {"tokens": [token_id]}))
            found = value.get("content") if isinstance(value, dict) else None
            self._texts[token_id] = found if isinstance(found, str) else ""
        return self._texts[token_id]

    def tokenize(
        self, texts: Sequence[str], *, add_special: bool, parse_special: bool
    ) -> list[tuple[int, ...]]:
        """Token ids of each text, asked for many at once."""
        found = self._wire.wait(self._all(texts, add_special, parse_special))
        if parse_special:
            plain = self._wire.wait(self._all(texts, add_special, False))
            self._learn(texts, found, plain)
        return found

    def close(self) -> None:
        """Close the connection where it was opened here."""
        if self._owns:
            self._wire.close()

    def __enter__(self) -> ServerTokenizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _one(self, text: str) -> int | None:
        """The token of a special text, None when it is no single one."""
        if not text:
            return None
        ids = self._wire.wait(self._all([text], False, True))[0]
        if len(ids) != 1:
            return None
        self._texts[ids[0]] = text
        self._control[ids[0]] = text
        return ids[0]

    def _learn(
        self,
        texts: Sequence[str],
        special: Sequence[tuple[int, ...]],
        plain: Sequence[tuple[int, ...]],
    ) -> None:
        """Note the control tokens in these texts; each is proved by its own text."""
        new = {
            token
            for ids, others in zip(special, plain, strict=True)
            if ids != others
            for token in set(ids) - set(others)
            if token not in self._texts
        }
        for token in sorted(new):
            text = self.token_text(token)
            if not text or not any(text in given for given in texts):
                continue
            read, split = (
                self._wire.wait(self._all([text], False, parse))[0] for parse in (True, False)
            )
            if read == (token,) and split != read:
                self._control[token] = text

    async def _all(
        self, texts: Sequence[str], add_special: bool, parse_special: bool
    ) -> list[tuple[int, ...]]:
        asked = (
            self._wire.ask(
                "/tokenize",
                {"content": text, "add_special": add_special, "parse_special": parse_special},
            )
            for text in texts
        )
        return [_ids(value) for value in await asyncio.gather(*asked)]


class ServedTemplate:
    """The chat template that a server applies; implements ``protocols.ServedTemplate``.

    ``hidden``: the server writes the prompt of a conversation and does not show it.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.hidden = server.api != "llama-server"
        self.takes_system = server.takes_system
        self.text = server.template
        self.digest = text_sha256(server.template or server.identity)

    def render(
        self, conversations: Sequence[ChatMessages], *, add_generation_prompt: bool = True
    ) -> list[str]:
        """The prompt the server makes of each; RenderFailed with its words where it refuses one."""
        if self.hidden:
            return [
                json.dumps([dict(turn) for turn in turns], ensure_ascii=False)
                for turns in conversations
            ]
        with Wire(self._server.address) as wire:
            return wire.wait(self._all(wire, conversations, add_generation_prompt))

    async def _all(
        self, wire: Wire, conversations: Sequence[ChatMessages], prompt: bool
    ) -> list[str]:
        async def one(place: int, turns: ChatMessages) -> str:
            body = {"messages": [dict(turn) for turn in turns], "add_generation_prompt": prompt}
            try:
                # A template that refuses a conversation answers 500: asked twice is enough.
                value: Any = await wire.ask("/apply-template", body, retries=1)
            except Fault as fault:
                if fault.kind in {"refused", "busy"}:
                    raise RenderFailed(str(fault), place) from fault
                raise
            found = value.get("prompt") if isinstance(value, dict) else None
            if not isinstance(found, str):
                raise RenderFailed(f"/apply-template gave no prompt: {shown(value, 120)}", place)
            return found

        return list(await asyncio.gather(*(one(n, turns) for n, turns in enumerate(conversations))))


def _ids(value: Any) -> tuple[int, ...]:
    tokens = value.get("tokens") if isinstance(value, dict) else None
    if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
        raise Fault("garbled", f"/tokenize gave no token ids: {shown(value, 120)}")
    return tuple(tokens)
