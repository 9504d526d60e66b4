"""What a cluster costs and what it brings: ``python -m benchmarks.cluster``.

*The driver*: a backend that answers at once, on two nodes of this machine: planned, handed out,
answered, brought back and stored; what is timed is everything between the plan and the last row in
the store. *Two actors*: the bundled family's base model by one node of one processor and by two,
one thread each; actors are started and the model is opened before the clock.
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
from harness.experiment.walk import generate
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
    """Answers and the seconds they took, turn by turn."""

    answers: int
    seconds: list[float]

    @property
    def rate(self) -> float:
        """Answers a second, by the median turn."""
        return self.answers / statistics.median(self.seconds)

    def __str__(self) -> str:
        turns = ", ".join(f"{self.answers / took:,.0f}" for took in self.seconds)
        return f"{self.rate:,.0f} answers/s ({turns})"


@contextmanager
def on_nodes(count: int, experiment: Experiment) -> Iterator[Backends]:
    """The backends of a cluster of so many nodes of one processor."""
    from ray.cluster_utils import Cluster

    from harness.cluster import ClusterBackends, joined

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for _ in range(count):
            cluster.add_node(num_cpus=1)
        with joined(str(cluster.address), experiment.engine.ray) as nodes:
            yield ClusterBackends(nodes)
    finally:
        cluster.shutdown()


def timed(experiment: Experiment, backends: Backends, folder: Path, repeats: int) -> Timed:
    """Generate everything into a new store, again and again; the first turn is not counted."""
    seconds: list[float] = []
    prepared = prepare(experiment, RunOptions(base_dir=ROOT), backends=backends)
    answers = 0
    for turn in range(repeats + 1):
        store = folder / f"{time.monotonic_ns()}.sqlite"
        plan = prepared.plan
        few = {cell: requests[:64] for cell, requests in plan.requests.items()}
        asked = prepared if turn else replace(prepared, plan=replace(plan, requests=few))
        with Store(store) as opened:
            begin = time.perf_counter()
            found = generate(asked, opened, True, watcher=Watcher())
            took = time.perf_counter() - begin
        if turn:
            seconds.append(took)
            answers = found.generated
    return Timed(answers, seconds)


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
    print(f"here, no cluster: {timed(experiment, Backends(), folder, repeats)}", flush=True)
    with on_nodes(2, experiment) as backends:
        print(f"two nodes: {timed(experiment, backends, folder, repeats)}", flush=True)


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
    rates = []
    for count in (1, 2):
        with on_nodes(count, experiment) as backends:
            found = timed(experiment, backends, folder, repeats)
        rates.append(found.rate)
        print(f"{count} actor(s) of one thread: {found}", flush=True)
    print(f"two actors are {rates[1] / rates[0]:.2f} times one")


if __name__ == "__main__":
    main()
