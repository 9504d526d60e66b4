"""Where an answer stands in the grid: model stage × quantization level × strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

CONTROL_STAGE = "control"
"""Stage name of the responders that ask no model (empty, yes, paragraph, echo, loop)."""

ABLATED = " (ablated)"
"""Ends the name of an arm that asks each item without its instruction."""

OPENING_REMOVED = " (opening removed)"
"""Ends the name of another arm's answers judged without the opening that was given to them."""


class Cell(NamedTuple):
    """A model file's place in the grid: stage × quantization level, ``stage/level`` in words."""

    stage: str
    level: str

    @classmethod
    def named(cls, text: str) -> Cell:
        """The cell that is written so; what a text does not name is empty."""
        stage, _, level = text.partition("/")
        return cls(stage, level)

    def __str__(self) -> str:
        return f"{self.stage}/{self.level}"


@dataclass(frozen=True, slots=True, order=True)
class Condition:
    """One cell of the grid: model stage × quantization level × strategy."""

    stage: str
    level: str
    strategy: str

    @property
    def is_ablated(self) -> bool:
        """Whether the arm asks without the instruction: a control, never a wrapper."""
        return self.strategy.endswith(ABLATED)

    @property
    def is_strategy(self) -> bool:
        """Whether it is a way to ask the items as they are: no ablation, no re-judged view."""
        return not self.strategy.endswith((ABLATED, OPENING_REMOVED))

    @classmethod
    def named(cls, text: str) -> Condition:
        """The condition that is written so; what a text does not name is empty."""
        stage, _, rest = text.partition("/")
        level, _, strategy = rest.partition("/")
        return cls(stage, level, strategy)

    @property
    def cell(self) -> Cell:
        """The model file it asks."""
        return Cell(self.stage, self.level)

    def __str__(self) -> str:
        return f"{self.cell}/{self.strategy}"


@dataclass(frozen=True, slots=True)
class Arm:
    """A strategy as an experiment uses it: a template plus what composes with any template.

    ``strategy`` is the template's id, ``label`` the name in reports (the id unless given).
    ``system`` replaces the template's system part, ``persona`` is put in front of it, ``prefill``
    opens the answer; ``variables`` fill what the template says it needs. ``ablated`` asks each
    item's ablated text in place of its last turn, and is judged by the item's checks all the same.
    """

    strategy: str
    label: str
    system: str | None = None
    persona: str | None = None
    prefill: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    ablated: bool = False
