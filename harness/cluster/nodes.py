"""Joining a Ray cluster, and which of its machines compute alike."""

from __future__ import annotations

import hashlib
import logging
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from harness import __version__
from harness.cluster.files import Parcel, packed
from harness.cluster.worker import Probed, Worker, probe
from harness.config import RayConfig
from harness.errors import ConfigError, EngineError, HarnessError
from harness.records import EngineIdentity, EngineSettings

PROBE_SECONDS = 180.0
"""How long a machine may take to say what it is: Python and llama.cpp are loaded for it."""

_CONNECT = 10.0


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster, and how many actors the experiment puts on it."""

    id: str
    name: str
    actors: int


@dataclass(frozen=True, slots=True)
class Party:
    """Machines that compute alike: one identity, so one promise."""

    identity: EngineIdentity
    about: Mapping[str, Any]
    nodes: tuple[Node, ...]

    @property
    def actors(self) -> int:
        """How many actors its machines hold."""
        return sum(node.actors for node in self.nodes)


@dataclass(slots=True)
class Cluster:
    """A cluster that was joined: its machines, the actors on them, the files sent to them.

    ``mixed`` takes machines that compute otherwise than most, and keeps their answers apart.
    """

    config: RayConfig
    mixed: bool
    say: Callable[[str], None]
    told: Callable[[Mapping[str, int]], None]
    nodes: tuple[Node, ...] = ()
    notes: list[str] = field(default_factory=list)
    _parties: dict[tuple[str, EngineSettings], tuple[Party, ...]] = field(default_factory=dict)
    _actors: dict[tuple[str, int], Any] = field(default_factory=dict)
    _sent: dict[str, Any] = field(default_factory=dict)

    def parties(self, kind: str, settings: EngineSettings) -> tuple[Party, ...]:
        """The machines by engine identity, the largest party first; one unless ``mixed``.

        Raises EngineError when no machine can run the backend.
        """
        key = (kind, settings)
        if key not in self._parties:
            self._parties[key] = self._sorted(kind, settings)
        return self._parties[key]

    def about(self, kind: str) -> Mapping[str, Any] | None:
        """What the nodes that answer say of their build; None before they were asked."""
        found = (parties for (name, _), parties in self._parties.items() if name == kind)
        return next((parties[0].about for parties in found), None)

    def actor(self, node: Node, place: int) -> Any:
        """The actor at a place of a node, made when there is none."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        if (node.id, place) not in self._actors:
            remote = ray.remote(
                num_cpus=self.config.num_cpus,
                num_gpus=self.config.num_gpus,
                max_restarts=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
            )
            self._actors[node.id, place] = remote(Worker).remote()
        return self._actors[node.id, place]

    def forget(self, node: Node, place: int) -> None:
        """End an actor; the next one there is a new one."""
        import ray

        if actor := self._actors.pop((node.id, place), None):
            ray.kill(actor)

    def parcel(self, sha256: str, path: Path) -> Mapping[str, Any]:
        """The files of a model in the object store, put there once; by digest."""
        import ray

        if sha256 not in self._sent:
            parcel: Parcel = packed(path)
            self.say(f"sending {path.name} to nodes that lack it")
            self._sent[sha256] = ray.put(parcel)
        return {sha256: self._sent[sha256]}

    def close(self) -> None:
        """End every actor."""
        for node_id, place in list(self._actors):
            self.forget(Node(node_id, "", 0), place)

    def _sorted(self, kind: str, settings: EngineSettings) -> tuple[Party, ...]:
        found: dict[EngineIdentity, list[Node]] = {}
        about: dict[EngineIdentity, Mapping[str, Any]] = {}
        refused: list[str] = []
        for node, answer in zip(self.nodes, self._probed(kind, settings), strict=True):
            if isinstance(answer, Probed) and answer.version == __version__:
                found.setdefault(answer.identity, []).append(node)
                about[answer.identity] = answer.about
                continue
            why = (
                f"it has version {answer.version} of the harness, here is {__version__}"
                if (isinstance(answer, Probed))
                else str(answer)
            )
            refused.append(f"node {node.name} is refused: {why}")
        parties = sorted(
            (Party(identity, about[identity], tuple(nodes)) for identity, nodes in found.items()),
            key=lambda party: (-party.actors, repr(party.identity)),
        )
        if not parties:
            raise EngineError("no node of the cluster can answer: " + "; ".join(refused))
        if not self.mixed:
            for other in parties[1:]:
                refused += [_refusal(node, other.identity, parties[0]) for node in other.nodes]
            parties = parties[:1]
        for line in refused:
            self.say(line)
        self.notes += [line for line in refused if line not in self.notes]
        return tuple(parties)

    def _probed(self, kind: str, settings: EngineSettings) -> list[Probed | Exception]:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        asked = [
            ray.remote(
                num_cpus=0,
                max_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
            )(probe).remote(kind, settings)
            for node in self.nodes
        ]
        ray.wait(asked, num_returns=len(asked), timeout=PROBE_SECONDS)
        return [_answer_of(ref) for ref in asked]


def _answer_of(ref: Any) -> Probed | Exception:
    import ray

    try:
        found = ray.get(ref, timeout=0.1)
    except ray.exceptions.GetTimeoutError:
        return EngineError(f"it gave no answer in {PROBE_SECONDS:.0f} s")
    except ray.exceptions.RayError as error:
        words = str(error).strip().splitlines()
        if any("No module named 'harness" in line for line in words):
            return EngineError(
                f"it has no gguf-pair-harness; install version {__version__} there, as here"
            )
        return EngineError(words[-1][:200] if words else type(error).__name__)
    assert isinstance(found, Probed | HarnessError)
    return found


def _refusal(node: Node, identity: EngineIdentity, party: Party) -> str:
    """Why a machine cannot stand beside the others: what its engine does otherwise."""
    differ = [
        f"{entry.name} is {getattr(identity, entry.name)!r:.120}, the others' "
        f"{getattr(party.identity, entry.name)!r:.120}"
        for entry in fields(identity)
        if getattr(identity, entry.name) != getattr(party.identity, entry.name)
    ]
    return (
        f"node {node.name} is refused: its {'; its '.join(differ)}; --ray-mixed takes it, and "
        "keeps its answers apart"
    )


def party_of(parties: Sequence[Party], sample_id: str) -> int:
    """Which of the parties answers an item, by its id: in proportion to their actors.

    All arms of an item are answered by one, so that comparisons stay inside it.
    """
    if len(parties) == 1:
        return 0
    share = int(hashlib.sha256(sample_id.encode()).hexdigest()[:8], 16) / 2**32
    total, reached = sum(party.actors for party in parties), 0.0
    for number, party in enumerate(parties):
        reached += party.actors / total
        if share < reached:
            return number
    return len(parties) - 1


@contextmanager
def joined(
    address: str,
    config: RayConfig,
    *,
    mixed: bool = False,
    say: Callable[[str], None] = lambda _: None,
    told: Callable[[Mapping[str, int]], None] = lambda _: None,
) -> Iterator[Cluster]:
    """Join the cluster at an address; ``auto``: one that runs here, else one of this machine alone.

    ``told`` hears how many answers each node gave so far. Raises ConfigError without Ray,
    EngineError where there is no cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "--ray needs Ray, which is not installed: pip install 'gguf-pair-harness[ray]'"
        ) from error
    say("joining the cluster")
    _require_listener(address)
    try:
        ray.init(
            address=None if address == "auto" else address,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise EngineError(
            f"--ray {address}: the cluster cannot be joined: {str(error).splitlines()[0]:.200}"
        ) from error
    cluster = Cluster(config, mixed, say, told)
    try:
        cluster.nodes = _nodes(config)
        yield cluster
    finally:
        cluster.close()
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Raise EngineError where nobody listens: Ray itself would go on trying for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise EngineError(
            f"--ray {address}: the cluster cannot be joined: {error}; is its head node there "
            "(ray status)?"
        ) from error


def _nodes(config: RayConfig) -> tuple[Node, ...]:
    """The machines with room for an actor. Raises EngineError when there is none."""
    import ray

    found = []
    for entry in ray.nodes():
        resources = entry.get("Resources", {})
        room = [
            int(resources.get(kind, 0) // wanted)
            for kind, wanted in (("CPU", config.num_cpus), ("GPU", config.num_gpus))
            if wanted
        ]
        actors = min([config.per_node, *room])
        if entry["Alive"] and actors:
            name = f"{entry['NodeManagerHostname']} ({entry['NodeID'][:8]})"
            found.append(Node(entry["NodeID"], name, actors))
    if not found:
        raise EngineError(
            f"no node of the cluster has {config.num_cpus:g} CPUs and {config.num_gpus:g} GPUs for "
            "an actor (engine.ray)"
        )
    return tuple(sorted(found, key=lambda node: node.name))
