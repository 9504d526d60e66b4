"""A cluster of several nodes on this machine, with a backend of the tests' own installed on it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.command import ROOT


def site(folder: Path) -> Path:
    """A folder that makes the wandering backend known to whoever has it on its path."""
    about = folder / "wandering_backend-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: wandering-backend\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[gguf_pair_harness.backends]\nwandering = tests.support.wandering_backend:Wandering\n"
    )
    return folder


class Local:
    """The cluster; ``address`` is what ``--ray`` takes."""

    def __init__(self, cache: Path) -> None:
        from ray.cluster_utils import Cluster

        self.cache = cache
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        self.address = str(self.cluster.address)
        self.nodes: list[object] = []

    def add(self, **variables: str) -> None:
        """One more node, of one processor."""
        given = {"HARNESS_CACHE": str(self.cache), **variables}
        self.nodes.append(self.cluster.add_node(num_cpus=1, env_vars=given))

    def kill(self) -> None:
        """The last node, without a word of warning."""
        self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)


@contextmanager
def cluster(folder: Path) -> Iterator[Local]:
    """A head without processors; nodes are added to it."""
    before = dict(os.environ)
    path = f"{site(folder / f'site-{time.monotonic_ns()}')}:{ROOT}"
    os.environ |= {"PYTHONPATH": path, "RAY_AUTH_MODE": "disabled"}
    try:
        local = Local(folder / "node-cache")
        yield local
    finally:
        local.cluster.shutdown()
        os.environ.clear()
        os.environ.update(before)
