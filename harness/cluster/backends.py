"""Every backend spread over a cluster, but a server's: that one is asked from here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from typing import Any

from harness import checks
from harness.cluster.crew import Spread
from harness.cluster.nodes import Cluster, party_of
from harness.cluster.worker import examined
from harness.config import ENDPOINT, Experiment
from harness.errors import ConfigError
from harness.experiment.backend import BackendKind, Backends, Finding, StageModel
from harness.models.fit import Memory
from harness.protocols import Ability, Tokenizer
from harness.records import EngineIdentity, EngineSettings, ModelFile

_TRAVELS: frozenset[Ability] = frozenset({"rules", "rerank"})
"""What actors can do beyond generating."""

JUDGE_FROM = 20_000
"""Answers from which on verdicts are worth the way to the nodes and back."""

_PIECE = 500


class SpreadKind:
    """A backend of one machine on all of them: what is known before anything is opened."""

    def __init__(self, inner: BackendKind, cluster: Cluster) -> None:
        self._inner, self._cluster = inner, cluster
        self.name = inner.name
        self.abilities: frozenset[Ability] = frozenset(inner.abilities) & _TRAVELS

    def models(
        self, experiment: Experiment, stages: Sequence[str], finding: Finding
    ) -> Sequence[StageModel]:
        """The models, found here. Raises ConfigError for layers that are fitted to one machine."""
        if experiment.engine.n_gpu_layers == "auto":
            raise ConfigError(
                "engine.n_gpu_layers: auto is fitted to one machine; with --ray say a number of "
                "layers, or -1 for all"
            )
        return self._inner.models(experiment, stages, finding)

    def identity(self, settings: EngineSettings) -> EngineIdentity:
        """The nodes' own, whatever this machine is."""
        return self._cluster.parties(self.name, settings)[0].identity

    def tokenizer(self, model: ModelFile) -> AbstractContextManager[Tokenizer] | None:
        """The model's tokenizer, here."""
        return self._inner.tokenizer(model)

    def devices(self) -> Sequence[Memory]:
        """None that layers could be fitted to from here."""
        return ()

    def about(self) -> Mapping[str, Any]:
        """The build on the nodes."""
        return self._cluster.about(self.name) or self._inner.about()

    def open(
        self, model: ModelFile, settings: EngineSettings, devices: Sequence[str] = ()
    ) -> AbstractContextManager[Spread]:
        """Actors on every node; they open the model when they are first asked."""
        return closing(Spread(self._cluster, self.name, model, settings, self.abilities))

    def dismiss(self) -> None:
        """Actors end all at once, whatever they held."""


class ClusterBackends(Backends):
    """:class:`Backends` whose models are held by a cluster's nodes."""

    def __init__(self, cluster: Cluster, *, judge_from: int = JUDGE_FROM) -> None:
        super().__init__()
        self._cluster, self._judge_from = cluster, judge_from
        self._spread: dict[str, BackendKind] = {}

    def __getitem__(self, name: str) -> BackendKind:
        """The backend of that name, on the nodes."""
        if name not in self._spread:
            inner = super().__getitem__(name)
            self._spread[name] = inner if name == ENDPOINT else SpreadKind(inner, self._cluster)
        return self._spread[name]

    def dismiss(self) -> None:
        """No other model follows: actors give their processors back, verdicts may need them."""
        super().dismiss()
        self._cluster.close()

    def namer(self, item: StageModel, settings: EngineSettings) -> Callable[[str], EngineIdentity]:
        """The identity of the nodes that answer an item."""
        if item.backend == ENDPOINT:
            return super().namer(item, settings)
        parties = self._cluster.parties(item.backend, settings)
        return lambda sample_id: parties[party_of(parties, sample_id)].identity

    def judge(self, examine: Callable[[Any], Any], work: Sequence[Any]) -> Iterator[Any] | None:
        """Verdicts of large runs, by the nodes; checks of the user's own stay here."""
        if len(work) < self._judge_from or checks.own_digests():
            return None
        self._cluster.say("scoring on the cluster")
        return _judged(examine, work, 4 * sum(node.actors for node in self._cluster.nodes))


def _judged(examine: Callable[[Any], Any], work: Sequence[Any], under_way: int) -> Iterator[Any]:
    """What the nodes find, in order; a bounded number of pieces is under way."""
    import ray

    task = ray.remote(num_cpus=1, max_retries=3)(examined)
    waiting: deque[Any] = deque()
    for start in range(0, len(work), _PIECE):
        waiting.append(task.remote(examine, work[start : start + _PIECE]))
        if len(waiting) >= under_way:
            yield from ray.get(waiting.popleft())
    while waiting:
        yield from ray.get(waiting.popleft())
