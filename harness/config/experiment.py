"""The whole experiment file, and what follows from its keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from harness.config.aims import Contrast, Ends, Measure, Uses
from harness.config.arms import (
    BASE_STRATEGIES,
    CONTROLS,
    TUNED_STRATEGIES,
    Constant,
    Entry,
    Responder,
    StrategyEntry,
)
from harness.config.engine import EngineConfig, SamplingConfig
from harness.config.section import Section, nameable
from harness.config.stages import AS_IS, ENDPOINT, MadeLevels, StageEntry
from harness.intake import near, shown
from harness.records import Arm, Condition

NAME_LENGTH = 100
"""Characters of the longest experiment name: it becomes the name of a folder."""


class Experiment(Section):
    """A whole experiment file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=NAME_LENGTH)
    description: str = ""
    warning: str | None = None
    pair: str | None = None
    stages: Mapping[str, StageEntry] = Field(default_factory=dict)
    levels: tuple[str, ...] | MadeLevels = (AS_IS,)
    strategies: tuple[Entry, ...] | Mapping[str, tuple[Entry, ...]] | None = None
    suites: tuple[str | Mapping[str, str | None], ...] = Field(("starter",), min_length=1)
    controls: tuple[Responder, ...] = CONTROLS
    sampling: SamplingConfig = SamplingConfig()
    engine: EngineConfig = EngineConfig()
    seed: int = Field(0, ge=0, lt=2**32)
    epochs: int = Field(1, ge=1, le=1000)
    recovery: Ends | None = None
    contrasts: tuple[Contrast, ...] = ()
    margin: float | None = Field(None, gt=0, lt=100)
    measure: Measure | None = None
    uses: Uses | None = None
    templates: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    code: Annotated[
        Literal["off", "sandboxed", "unsafe"],
        BeforeValidator(lambda value: "off" if value is False else value),  # YAML's plain `off`
    ] = "off"

    early: Literal["check", "prompt"] | None = None
    """End answers where their checks' verdicts, or the item's pass, can no longer change."""

    _origin: str = PrivateAttr("")

    @property
    def origin(self) -> str:
        """The file the experiment was read from, as errors name it; else its name."""
        return self._origin or self.name

    def __eq__(self, other: object) -> bool:
        """Whether the same is asked, wherever it was read from."""
        return isinstance(other, Experiment) and self.model_dump() == other.model_dump()

    @model_validator(mode="after")
    def _coherent(self) -> Experiment:
        for stage in self.stages:
            nameable(stage, "a stage's name")
            if stage == "control":
                raise ValueError("a stage cannot be called control: reports keep that for controls")
        for level in self.level_names:
            nameable(level, "a level's name")
        for name, stage_of in self.stages.items():
            pins = stage_of.sha256 if isinstance(stage_of.sha256, Mapping) else {}
            for level in pins:
                if level not in self.level_names:
                    raise ValueError(
                        f"stages.{name}.sha256: {shown(level)} is no level of this experiment, so "
                        f"the pin would never act; {near(level, self.level_names)}levels: "
                        f"{', '.join(self.level_names)}"
                    )
        names = [item.name if isinstance(item, Constant) else item for item in self.controls]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"controls: {shown(twice)} appears twice; name one with `as:`")
        if self.epochs > 1 and self.sampling.temperature == 0:
            raise ValueError(
                f"epochs: {self.epochs} with sampling.temperature 0 asks for the same answer "
                f"{self.epochs} times; set a temperature above 0, or epochs: 1"
            )
        return self

    @property
    def level_names(self) -> tuple[str, ...]:
        """Every level of the grid, the one the others are made from first."""
        levels = self.levels
        return levels.names if isinstance(levels, MadeLevels) else tuple(dict.fromkeys(levels))

    def entries(self, stage: str) -> tuple[StrategyEntry, ...]:
        """The strategies a stage runs, as written or by default."""
        if isinstance(self.strategies, Mapping):
            return tuple(self.strategies.get(stage, ()))
        if self.strategies is not None:
            return self.strategies
        base = (self.recovery or Ends()).base
        names = BASE_STRATEGIES if stage == base else TUNED_STRATEGIES
        return tuple(StrategyEntry(id=name) for name in names)

    def arms(self, stage: str) -> tuple[Arm, ...]:
        """The strategies a stage runs, as the records that prompts are rendered with."""
        return tuple(entry.arm() for entry in self.entries(stage))

    def backend_of(self, stage: str) -> str:
        """The name of the backend that runs a stage."""
        found = self.stages[stage]
        return ENDPOINT if found.endpoint else found.backend or self.engine.backend

    def recovery_pair(self) -> tuple[str, str] | None:
        """The base and instruct stage of the recovered share, None when the stages lack one."""
        wanted = self.recovery or Ends()
        pair = (wanted.base, wanted.instruct)
        return pair if all(name in self.stages for name in pair) else None

    def ends(self) -> tuple[str, str]:
        """The two stages that are put side by side: the recovery's, else the ladder's outermost.

        The second need not be a stage of the experiment, nor another than the first.
        """
        wanted, stages = self.recovery or Ends(), list(self.stages)
        if wanted.base in self.stages:
            return wanted.base, wanted.instruct
        return stages[0], stages[-1]

    def declared_contrasts(self) -> tuple[tuple[str, Condition, Condition], ...]:
        """The contrasts as name and two conditions."""
        return tuple((item.name, *item.conditions()) for item in self.contrasts)
