"""What a cluster costs and what it brings: ``python -m benchmarks.cluster``.

*The driver*: a backend that answers at once, on two nodes of this machine: planned, handed out,
answered, brought back and stored; what is timed is everything between the plan and the last row in
the store. *Two actors*: the bundled family's base model by one node of one processor and by two,
one thread each, in turns, so that what else the machine does falls on both alike; actors are up
and the model is open before the clock starts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.config import Experiment, parse_experiment
from harness.experiment import Backends, Finding, RunOptions, StageModel, prepare
from harness.experiment.generate import generate
from harness.experiment.watch import Watcher
from harness.protocols import Ability
from harness.records import EngineIdentity, Generation, ModelFile, Request
from harness.store import Store

ROOT = Path(__file__).resolve().parent.parent
FAKE = EngineIdentity("exact", 1, 1, "at once", "none", "", 0)
ANSWER = "This is an answer of about as many words as a short answer of a small model has. " * 4


class AtOnceBackend:
    """Answers without a model: what is left is what the harness does with answers."""

    abilities: frozenset[Ability] = frozenset()
    identity, tokenizer, notes = FAKE, None, ()

    def generate(self, requests: Sequence[Request], *, on_token: Any = 0) -> Iterator[Generation]:
        for request in requests:
            ids = tuple(range(64))
            yield Generation(request.key, ANSWER, ANSWER, ids, "eos", 40, len(ids), 0.5)

    def logprobs(self, texts: Any) -> Iterator[Any]:
        raise NotImplementedError

    def expect_another(self) -> None: ...

    close = expect_another


class AtOnce:
    """The kind of it, known by an entry point that the benchmark makes for itself."""

    name, abilities = "at-once", AtOnceBackend.abilities

    def models(
        self, experiment: Experiment, stages: Sequence[str], finding: Finding
    ) -> list[StageModel]:
        models = {s: ModelFile.named(experiment.stages[s].model, "1") for s in stages}
        return [StageModel(s, "as-is", models[s], None, None, self.name) for s in stages]

    def identity(self, _: object) -> EngineIdentity:
        return FAKE

    def tokenizer(self, model: ModelFile) -> None:
        return None

    def devices(self) -> tuple[()]:
        return ()

    def about(self) -> Mapping[str, Any]:
        return {}

    def open(self, model: ModelFile, *_: object) -> closing[AtOnceBackend]:
        return closing(AtOnceBackend())

    def dismiss(self) -> None: ...


def main() -> None:
    """Both measurements, printed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--answers", type=int, default=20_000)
    options.add_argument("--items", type=int, default=300)
    options.add_argument("--repeats", type=int, default=3)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        site = folder / "site" / "at_once-1.dist-info"
        site.mkdir(parents=True)
        (site / "METADATA").write_text("Metadata-Version: 2.1\nName: at-once\nVersion: 1\n")
        (site / "entry_points.txt").write_text(
            "[gguf_pair_harness.backends]\nat-once = benchmarks.cluster:AtOnce\n"
        )
        import sys

        sys.path.insert(0, str(site.parent))
        os.environ["PYTHONPATH"] = f"{site.parent}:{ROOT}"
        os.environ["HARNESS_CACHE"] = str(folder / "cache")
        driver(folder, chosen.answers, chosen.repeats)
        actors(folder, chosen.items, chosen.repeats)


@dataclass(frozen=True)
class Timed:
    """Answers, the seconds they took, turn by turn, and this process's own of a processor."""

    answers: int
    seconds: list[float]
    spent: list[float]

    @property
    def rate(self) -> float:
        """Answers a second, by the median turn."""
        return self.answers / statistics.median(self.seconds)

    def __str__(self) -> str:
        turns = ", ".join(f"{self.answers / took:,.0f}" for took in self.seconds)
        own = self.answers / statistics.median(self.spent)
        return f"{self.rate:,.0f} answers/s ({turns}); {own:,.0f} a second of the driver's CPU"


@contextmanager
def two_nodes(experiment: Experiment) -> Iterator[tuple[Backends, Backends]]:
    """The backends of a cluster of two nodes of one processor: of one of them, and of both."""
    from ray.cluster_utils import Cluster

    from harness.cluster import ClusterBackends, joined

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        with joined(str(cluster.address), experiment.engine.ray) as nodes:
            first = replace(nodes, nodes=nodes.nodes[:1], notes=[], _parties={})
            yield ClusterBackends(first), ClusterBackends(nodes)
    finally:
        cluster.shutdown()


def timed(
    experiment: Experiment, several: Sequence[Backends], folder: Path, repeats: int
) -> list[Timed]:
    """Generate everything into a new store by each of them in turn; the first turn warms up."""
    seconds: list[list[float]] = [[] for _ in several]
    spent: list[list[float]] = [[] for _ in several]
    prepared = [
        prepare(experiment, RunOptions(base_dir=ROOT), backends=backends) for backends in several
    ]
    answers = 0
    for turn in range(repeats + 1):
        for number, whole in enumerate(prepared):
            few = {cell: requests[:64] for cell, requests in whole.plan.requests.items()}
            asked = whole if turn else replace(whole, plan=replace(whole.plan, requests=few))
            store = folder / f"{time.monotonic_ns()}.sqlite"
            with Store(store) as opened:
                begin, used = time.perf_counter(), time.process_time()
                found = generate(asked, opened, True, watcher=Watcher())
                took, cpu = time.perf_counter() - begin, time.process_time() - used
            if turn:
                seconds[number].append(took)
                spent[number].append(cpu)
                answers = found.generated
    kept = store.stat().st_size / answers
    print(f"{answers:,} answers take {kept:,.0f} bytes each in the store", flush=True)
    return [Timed(answers, *turns) for turns in zip(seconds, spent, strict=True)]


def driver(folder: Path, answers: int, repeats: int) -> None:
    """Stored answers a second with a backend that takes no time."""
    suite = folder / "prompts.txt"
    suite.write_text("\n".join(f"Prompt {n}: say something about it." for n in range(answers)))
    experiment = parse_experiment(
        {
            "name": "driver",
            "stages": {"base": "nobody"},
            "engine": {"backend": "at-once"},
            "strategies": ["raw"],
            "suites": [str(suite)],
        },
        "driver",
    )
    with two_nodes(experiment) as (_, both):
        here, there = timed(experiment, [Backends(), both], folder, repeats)
    print(f"here, no cluster: {here}")
    print(f"two nodes: {there}", flush=True)


def actors(folder: Path, items: int, repeats: int) -> None:
    """One actor and two, one thread each, on the bundled base model."""
    suite = folder / "items.txt"
    suite.write_text("\n".join(f"The home of number {n} is" for n in range(items)))
    experiment = parse_experiment(
        {
            "name": "actors",
            "stages": {"base": str(ROOT / "models" / "tiny-base-F16.gguf")},
            "strategies": ["raw"],
            "suites": [str(suite)],
            "sampling": {"max_tokens": 64},
        },
        "actors",
    )
    with two_nodes(experiment) as several:
        one, both = timed(experiment, several, folder, repeats)
    print(f"one actor of one thread: {one}")
    print(f"two actors of one thread: {both}")
    print(f"two actors are {both.rate / one.rate:.2f} times one")


if __name__ == "__main__":
    main()
