"""A run on many machines: Ray actors hold the models, this process plans, stores and reports.

nodes       joining a cluster; which of its machines compute alike
files       a model's file on a machine: by path, from the hub, or sent
worker      what runs on a machine
crew        the driver's side of the workers: the backend
backends    every backend but a server's, spread over the cluster; verdicts of large runs
"""

from __future__ import annotations

from harness.cluster.backends import ClusterBackends
from harness.cluster.nodes import joined

__all__ = ["ClusterBackends", "joined"]
