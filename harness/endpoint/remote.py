"""Many requests to one server at once: each answered once, whatever the server does."""

from __future__ import annotations

import asyncio
import queue
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from harness.endpoint.dialect import (
    Ask,
    Said,
    failed,
    generation,
    llama_ask,
    llama_said,
    openai_ask,
    openai_said,
)
from harness.endpoint.discover import Server, described, require_same_model
from harness.endpoint.served import ServerTokenizer
from harness.endpoint.whole import counts_whole
from harness.endpoint.wire import Fault, Wire
from harness.errors import EngineError, UnsupportedModel
from harness.protocols import Ability, OnToken
from harness.records import EngineIdentity, Generation, Passage, Request, TokenScores

REMOTE = EngineIdentity("remote", 0, 0, "", "endpoint", "", 0)
"""What is known of any server's engine; what it says of itself is the model's digest."""

TWICE = 8
"""Prompts that are asked a second time, to learn whether the server says the same."""

IN_A_ROW = 8
"""Requests that fail one after another before the server is given up."""

_FATAL = frozenset({"key", "route", "gone"})


class Remote:
    """A server's model; implements :class:`harness.protocols.Backend`. A context manager."""

    abilities: frozenset[Ability] = frozenset()
    identity = REMOTE

    def __init__(self, server: Server, *, parallel: int = 16) -> None:
        self._server = server
        self._parallel = parallel
        self._wire = Wire(server.address, parallel=parallel)
        self._notes: list[str] = []
        self._in_a_row = 0
        self._cut_at: int | None = None
        native = server.api == "llama-server"
        self.tokenizer = ServerTokenizer(server, self._wire) if native else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the server adds to prompts, and whether it said the same twice."""
        return (*self._server.notes, *self._notes)

    def generate(
        self, requests: Sequence[Request], *, on_token: OnToken | None = None
    ) -> Iterator[Generation]:
        """Yield each request's generation as its reply comes; a refused one is ``failed``.

        Raises EngineError when the server is gone, refuses the key, became another one, or fails
        at everything: what was yielded before stands.
        """
        results: queue.SimpleQueue[Generation | BaseException | None] = queue.SimpleQueue()
        work = self._wire.start(self._answer(list(requests), results))
        try:
            while (result := results.get()) is not None:
                if isinstance(result, BaseException):
                    raise result
                if on_token is not None and result.answer:
                    on_token(result.request_key, result.answer)
                yield result
        finally:
            work.cancel()

    def logprobs(self, texts: Sequence[Passage]) -> Iterator[TokenScores]:
        """A server scores no given text in a way that all of them share."""
        raise UnsupportedModel(
            f"{self._server.address.url}: log-probabilities of a given text are asked of a model "
            "file, not of a server"
        )

    def expect_another(self) -> None:
        """Nothing to make ready."""

    def close(self) -> None:
        """End every exchange."""
        self._wire.close()

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _answer(
        self,
        requests: Sequence[Request],
        results: queue.SimpleQueue[Generation | BaseException | None],
    ) -> None:
        """All of it, in the wire's thread; what ends it early is handed over as a result."""
        try:
            await self._require_same_server()
            await self._learn_the_cut(requests)
            said = await self._crew(requests, results)
            await self._ask_twice(requests, said)
            await self._require_same_server()
            results.put(None)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # handed to the caller's thread, which raises it
            results.put(error)

    async def _crew(
        self,
        requests: Sequence[Request],
        results: queue.SimpleQueue[Generation | BaseException | None],
    ) -> dict[str, str]:
        """Every request by some worker; the texts by key. The first fatal error ends them all."""
        waiting, texts = deque(requests), dict[str, str]()

        async def work() -> None:
            while waiting:
                request = waiting.popleft()
                made = await self._one(request)
                if made.finish_reason != "failed":
                    texts[request.key] = made.text
                results.put(made)

        count = min(self._parallel, len(requests))
        tasks = [asyncio.create_task(work()) for _ in range(count)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return texts

    async def _one(self, request: Request) -> Generation:
        """One request's generation; EngineError where no other would fare better."""
        begin, restarts = time.monotonic(), self._wire.restarts
        try:
            said = await self._said(request)
            if self._wire.restarts > restarts:
                await self._require_same_server()
            made = generation(request, said, time.monotonic() - begin)
        except Fault as fault:
            self._in_a_row += 1
            if fault.kind in _FATAL or (fault.kind != "refused" and self._in_a_row >= IN_A_ROW):
                raise EngineError(
                    f"{fault}; what was answered is stored, the same command goes on from there"
                ) from fault
            return failed(request, str(fault))
        self._in_a_row = 0
        return made

    async def _said(self, request: Request) -> Said:
        ask = self._ask(request)
        value: Any = await self._wire.ask(ask.route, ask.body)
        if self._server.api == "llama-server":
            said = llama_said(value)
            wanted = len(request.prompt.token_ids)
            if said.truncated or (wanted and said.prompt_tokens not in (None, wanted)):
                raise Fault(
                    "refused", f"the server read {said.prompt_tokens} of {wanted} prompt tokens"
                )
            return said
        said = openai_said(value)
        require_same_model(self._server, said.model)
        counted = said.prompt_tokens
        if self._cut_at is not None and counted is not None and counted >= self._cut_at:
            raise Fault(
                "refused",
                f"the server reads {self._cut_at} tokens of a prompt and says nothing of the rest; "
                "start it with a longer context",
            )
        return said

    def _ask(self, request: Request) -> Ask:
        if self._server.api == "llama-server":
            return llama_ask(request)
        return openai_ask(request, self._server.model, extras=self._server.extras)

    async def _require_same_server(self) -> None:
        """Raise EngineError when it is not the server that the plan was made with."""
        now = await described(self._wire)
        before = {name: value for name, value in self._server.about.items() if name != "adds"}
        if (now.model, dict(now.about)) != (self._server.model, before):
            differ = [n for n in {**before, **now.about} if before.get(n) != now.about.get(n)]
            raise EngineError(
                f"{self._server.address.url} is another server than at the start "
                f"({', '.join(differ) or 'model'} changed): its answers would be taken for the "
                "first one's; run the command again"
            )

    async def _learn_the_cut(self, requests: Sequence[Request]) -> None:
        """Whether the longest prompt is read whole, where only the server can count tokens."""
        if self._server.api == "llama-server" or not requests:
            return
        longest = max(requests, key=lambda request: len(request.prompt.text.encode()))

        async def counted(request: Request) -> int | None:
            ask = self._ask(request)
            return openai_said(await self._wire.ask(ask.route, ask.body)).prompt_tokens

        try:
            self._cut_at = await counts_whole(longest, counted)
        except Fault as fault:
            if fault.kind not in {"refused", "garbled"}:
                raise EngineError(str(fault)) from fault
        if self._cut_at is not None:
            self._notes.append(
                f"the server reads {self._cut_at} tokens of a prompt and cuts off the rest without "
                "a word: longer prompts count as failed"
            )

    async def _ask_twice(self, requests: Sequence[Request], texts: dict[str, str]) -> None:
        """Put some prompts again, all at once: the load is another, the text should not be."""
        known = [request for request in requests if request.key in texts]
        count = min(TWICE, len(known) // 4)
        if not count:
            return
        chosen = known[:: len(known) // count][:count]
        found = await asyncio.gather(*map(self._said, chosen), return_exceptions=True)
        pairs = [
            (texts[request.key], said.text)
            for request, said in zip(chosen, found, strict=True)
            if isinstance(said, Said)
        ]
        other = sum(first != second for first, second in pairs)
        if other:
            told = f"not exact: {other} of {len(pairs)} prompts asked twice got another text"
        else:
            told = f"{len(pairs)} prompts asked twice got the same text"
        self._notes.append(told)
