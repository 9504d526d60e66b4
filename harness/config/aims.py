"""What is to be found out: the recovered share, contrasts, measurements, uses."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from harness.config.section import Section
from harness.records import Condition


class Ends(Section):
    """Which two stages the recovered share R = (W − B) / (I − B) compares."""

    base: str = "base"
    instruct: str = "instruct"


class Contrast(Section):
    """A comparison declared beforehand: ``b`` − ``a``, conditions as ``stage/level/strategy``."""

    name: str
    a: str
    b: str

    def conditions(self) -> tuple[Condition, Condition]:
        """The two conditions (``load_experiment`` has checked that each has three parts)."""
        return Condition.named(self.a), Condition.named(self.b)


class Measure(Section):
    """What is measured of the files beside their answers, where an experiment has levels.

    ``speed``: load time, prefill, decode and memory, in turns. ``tokens``: over so many tokens of
    the reference level's own answers each other level's distributions are compared with its; 0
    for none. ``text`` is a file to compare them over too, in windows of ``window`` tokens.
    ``shift``: over so many tokens of the instruct model's answers each arm of the base is compared
    with it.
    """

    speed: bool = True
    tokens: int = Field(4000, ge=0, le=10_000_000)
    text: str | None = None
    window: int = Field(512, ge=32, le=1 << 20)
    shift: bool = True


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_several)]
"""One name or several."""


class Uses(Section):
    """What the base and the instruct model are measured at beside the grid: which, for what?

    Each key is an option of ``harness choose``: ``text`` to go on with, gaps (``infill``), a task
    (``examples``), files or what ships. ``limit`` items of each use at most. The suites of the grid
    are instructions: what it has answered is not asked again.
    """

    text: Names = ()
    infill: Names = ()
    examples: str | None = None
    shots: tuple[Annotated[int, Field(ge=0, le=64)], ...] = Field((0, 1, 2, 4, 8, 16), min_length=1)
    draws: int = Field(3, ge=0, le=100)
    spm: bool = False
    wrappers: Names = ("qa", "sys_qa")
    limit: int | None = Field(None, ge=1)
    window: int = Field(1000, ge=80)
    windows: int | None = Field(None, ge=1)
