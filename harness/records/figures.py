"""What the rows come to: numbers with their uncertainty, and what may be done with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.records.conditions import Condition


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its uncertainty; ``value`` is None when it is not estimable (see ``note``)."""

    value: float | None
    low: float | None
    high: float | None
    level: float
    method: str
    n: int
    n_missing: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired contrast: ``delta`` is b − a over the same samples."""

    contrast: str
    a: Condition
    b: Condition
    delta: Estimate
    p: float
    adjusted_p: float
    wins: int
    losses: int
    ties: int


Verdict = Literal[
    "shown", "shown not", "cannot tell", "equivalent", "worse", "pass", "regress", "inconclusive"
]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a user may act on: a verdict in one plain sentence, its evidence, what would settle it.

    ``topic`` is what it decides (``recovery``, ``wrapper``, ``level``, ``gate``, ``use``),
    ``subject`` what about (a condition, a level, a suite; may be empty). ``sentence``,
    ``evidence`` and ``settle`` are plain text: each presentation escapes them its own way and
    says the same words. ``settle`` is empty where nothing is open.
    """

    topic: str
    subject: str
    verdict: Verdict
    sentence: str
    evidence: tuple[str, ...] = ()
    settle: str = ""
