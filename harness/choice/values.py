"""What the choice is made of: scores of each arm in each use, and a row of the table per use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.records import Decision, Estimate
from harness.stats.rates import Floats

Unit = Literal["bits per byte", "share", "similarity", "distance"]
"""What a use's score is: less is better for bits per byte and a distance, more for the others."""

Pick = Literal[
    "base",
    "base suffices",
    "wrapped base",
    "wrapped base suffices",
    "instruct",
    "neither",
    "cannot tell",
    "not run",
]
"""A row's verdict in words."""


@dataclass(frozen=True, slots=True)
class ArmScores:
    """One arm in one use: the sum of its scores over each unit, and the unit's size.

    ``way`` is how the stage was asked: a strategy's label. ``values`` and ``sizes`` are
    ``(units,)`` in the same order for every arm of the use, NaN for a unit that was not answered;
    the score is Σvalues / Σsizes. ``tokens`` are the mean tokens (prompt and answer)
    that one unit cost.
    ``absent`` says why an arm has no scores at all; its arrays are then empty.
    """

    use: str
    stage: str
    way: str
    values: Floats
    sizes: Floats
    tokens: float | None = None
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Use:
    """One use that was measured, or why it was not.

    ``asks`` says in a sentence what the score is; ``units`` names what counts as independent
    (``documents``); a difference under ``margin`` (in the score's own unit) counts as none;
    ``floor`` is what blind answers get, and being level at or under it means nothing;
    ``taxed``: tuning is known to cost something here, and the report says how much.
    """

    name: str
    asks: str
    unit: Unit
    units: str
    margin: float
    taxed: bool = False
    floor: float = 0.0
    arms: tuple[ArmScores, ...] = ()
    notes: tuple[str, ...] = ()
    not_run: str = ""

    @property
    def sign(self) -> float:
        """1 where more is better, −1 where less is."""
        return 1.0 if self.unit in ("share", "similarity") else -1.0

    @property
    def most(self) -> float:
        """The largest score there can be."""
        return math.inf if self.unit == "bits per byte" else 1.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm's score in a row: an estimate, or why there is none."""

    stage: str
    way: str
    score: Estimate | None
    tokens: float | None
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Tax:
    """What tuning cost a stage: its score asked raw minus the base's, and relative to the base's.

    ``relative`` is of the point estimates; None where the base's score is 0.
    """

    stage: str
    difference: Estimate
    relative: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """A use in the table: its cells, the verdict, what tuning cost."""

    use: str
    asks: str
    unit: Unit
    units: str
    cells: tuple[Cell, ...]
    pick: Pick
    decision: Decision
    taxes: tuple[Tax, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Perplexity:
    """What ``llama-perplexity -c n_ctx`` prints for a stage: exp of the mean nats of a token.

    ``bits_per_byte`` is of the bytes of the very tokens that count.
    """

    stage: str
    n_ctx: int
    chunks: int
    tokens: int
    value: float
    bits_per_byte: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The whole table: which of the two models, for what.

    ``columns`` are the arms (stage, way) in the order of the ladder; ``models`` maps stages to
    what was run; ``notes`` are what a reader must know before any figure; ``files`` the sha256 of
    the texts, gaps and examples, by name.
    """

    base: str
    instruct: str
    level: str
    columns: tuple[tuple[str, str], ...]
    models: Mapping[str, Mapping[str, str]]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    perplexities: tuple[Perplexity, ...] = ()
    command: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def ran(self) -> tuple[Row, ...]:
        """The rows of the uses that were run."""
        return tuple(row for row in self.rows if row.pick != "not run")

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Every row's verdict."""
        return tuple(row.decision for row in self.rows)
