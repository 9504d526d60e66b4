"""The driver's side of a cluster's actors: one backend, whoever answers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.cluster.files import Lacking
from harness.cluster.nodes import Cluster, Node, Party, party_of
from harness.crew import Crew, Shares
from harness.errors import EngineCrashed, EngineError, HarnessError, ModelNotFound
from harness.protocols import Ability, OnToken
from harness.records import EngineSettings, Generation, ModelFile, Passage, Request, TokenScores

MOST = 512
"""Requests of the largest share: what is lost with a machine is asked again."""

LIVES = 3
"""Actors that may die at one place, and with one request, before it is given up."""

_TELL_SECONDS = 0.5


class Gone(Exception):
    """A place of the cluster that answers no more; the others do its share."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A place for an actor: the party whose answers it gives, the machine, its number there."""

    party: int
    node: Node
    place: int


class Spread:
    """A model held by actors on many machines; implements :class:`harness.protocols.Backend`."""

    tokenizer = None

    def __init__(
        self,
        cluster: Cluster,
        kind: str,
        model: ModelFile,
        settings: EngineSettings,
        abilities: frozenset[Ability],
    ) -> None:
        self._cluster, self._kind = cluster, kind
        self._model, self._settings = model, settings
        self.abilities = abilities
        self._parties: Sequence[Party] = cluster.parties(kind, settings)
        self.identity = self._parties[0].identity
        self._seats = [
            Seat(number, node, place)
            for number, party in enumerate(self._parties)
            for node in party.nodes
            for place in range(node.actors)
        ]
        self._by_node: Counter[str] = Counter()
        self._said: dict[str, None] = {}
        self._told = 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """Who was refused and who was lost, and how many parties answered."""
        apart = (
            f"the cluster's nodes compute in {len(self._parties)} ways (--ray-mixed): each item is "
            "answered by nodes of one of them, and exact mode promises nothing across them"
        )
        return (
            *self._cluster.notes,
            *([apart] if len(self._parties) > 1 else ()),
            *self._said,
        )

    def generate(
        self, requests: Sequence[Request], *, on_token: OnToken | None = None
    ) -> Iterator[Generation]:
        """Yield each request's generation as it arrives, from any node, in any order.

        What a dead actor or node left undone the others do; EngineCrashed when none is left.
        """
        parts = self._shared(requests)
        while any(parts):
            crew = Crew(self._seats, self._work(parts), expected=Gone, abandon=self._leave)
            for generation in crew.run():
                if on_token is not None and generation.answer:
                    on_token(generation.request_key, generation.answer)
                yield generation
            self._seats = [seat for seat in self._seats if seat not in crew.lost]
            able = {seat.party for seat in self._seats}
            if any(part and number not in able for number, part in enumerate(parts)):
                why = str(next(iter(crew.lost.values()), "no node is left"))
                raise EngineCrashed(
                    f"no node is left to answer: {why}; what was answered is stored, the same "
                    "command goes on from there"
                )
        self._cluster.told(dict(self._by_node))

    def logprobs(self, texts: Sequence[Passage]) -> Iterator[TokenScores]:
        """Texts are scored by one machine."""
        raise EngineError("log-probabilities are computed on one machine: leave --ray out")

    def expect_another(self) -> None:
        """Actors stay for the next model."""

    def close(self) -> None:
        """Actors stay for the next model."""

    def _shared(self, requests: Sequence[Request]) -> list[Shares]:
        """The requests by the party that answers them."""
        mine: list[list[Request]] = [[] for _ in self._parties]
        for request in requests:
            mine[party_of(self._parties, request.sample_id)].append(request)
        least = 4 * self._settings.parallel
        return [
            Shares(part, party.actors, least=least, most=max(MOST, least))
            for part, party in zip(mine, self._parties, strict=True)
        ]

    def _work(
        self, parts: Sequence[Shares]
    ) -> Callable[[Seat, Callable[[Generation], None], Callable[[], bool]], None]:
        """What one seat's thread does: share after share, with a new actor for one that died."""
        import ray

        def work(
            seat: Seat, put: Callable[[Generation], None], stopped: Callable[[], bool]
        ) -> None:
            waiting, died = parts[seat.party], 0
            while not stopped() and waiting:
                share: dict[str, Request] = {}
                try:
                    actor = self._started(seat)
                    share = waiting.take()
                    self._ask(actor, seat, share, put)
                except ray.exceptions.RayError as error:
                    if stopped():
                        return
                    died += 1
                    self._cluster.forget(seat.node, seat.place)
                    self._give_back(waiting, share, put)
                    why = f"node {seat.node.name}: {_words(error)}"
                    self._said[f"an actor was lost, others did its work: {why}"] = None
                    if died >= LIVES or not _alive(seat.node):
                        raise Gone(why) from error
                except BaseException:
                    waiting.give_back(list(share.values()))
                    raise

        return work

    def _ask(
        self,
        actor: Any,
        seat: Seat,
        share: dict[str, Request],
        put: Callable[[Generation], None],
    ) -> None:
        """One share's answers; each is taken out of it as it arrives."""
        import ray

        asked = actor.answer.options(num_returns="streaming").remote(list(share.values()))
        for ref in asked:
            part = ray.get(ref)
            if isinstance(part, HarnessError):
                raise part
            for generation in part:
                del share[generation.request_key]
                put(generation)
            self._count(seat.node.name, len(part))

    def _started(self, seat: Seat) -> Any:
        """The seat's actor with the model open; a file that its node lacks is sent."""
        import ray

        actor = self._cluster.actor(seat.node, seat.place)
        threads = max(1, int(self._cluster.config.num_cpus))
        parcels: dict[str, Any] = {}
        while True:
            found = ray.get(
                actor.start.remote(self._kind, self._model, self._settings, threads, parcels)
            )
            if isinstance(found, HarnessError):
                raise found
            if not isinstance(found, Lacking):
                self._said |= dict.fromkeys(found)
                return actor
            parcels |= self._parcel(seat, found)

    def _parcel(self, seat: Seat, lacking: Lacking) -> dict[str, Any]:
        """A file for a node that has none, through the object store. Raises ModelNotFound."""
        adapter = self._settings.adapter
        is_adapter = adapter is not None and lacking.sha256 == adapter.sha256
        size = adapter.path.stat().st_size if is_adapter and adapter else self._model.size
        limit = self._cluster.config.send_below
        if size > limit << 20:
            raise ModelNotFound(
                f"node {seat.node.name} lacks {lacking.path} ({lacking.why}), and "
                f"{size / (1 << 20):.0f} MiB are more than engine.ray.send_below ({limit}): copy "
                "the file there, or name its place on the hub"
            )
        return dict(self._cluster.parcel(lacking.sha256, lacking.path))

    def _give_back(
        self, waiting: Shares, share: dict[str, Request], put: Callable[[Generation], None]
    ) -> None:
        """What an actor left undone; a request that was alone with several of them has failed."""
        left = list(share.values())
        if len(left) == 1 and waiting.losses(left[0].key) >= LIVES - 1:
            told = f"{LIVES} actors died while they answered it, the last time it was alone"
            put(Generation(left[0].key, "", "", (), "failed", 0, 0, error=told))
            return
        waiting.give_back(left, lost=True)

    def _leave(self, seat: Seat) -> None:
        self._cluster.forget(seat.node, seat.place)

    def _count(self, name: str, answers: int) -> None:
        self._by_node[name] += answers
        if time.monotonic() - self._told >= _TELL_SECONDS:
            self._told = time.monotonic()
            self._cluster.told(dict(self._by_node))


def _words(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]


def _alive(node: Node) -> bool:
    import ray

    return any(entry["NodeID"] == node.id and entry["Alive"] for entry in ray.nodes())
