"""The two models that are chosen between, and the ways each can be asked."""

from __future__ import annotations

from dataclasses import dataclass

RAW = "raw"
NATIVE = "native"


@dataclass(frozen=True, slots=True)
class Sides:
    """The stages in the ladder's order, the two that are chosen between, the base's wrappers."""

    stages: tuple[str, ...]
    base: str
    instruct: str
    wrappers: tuple[str, ...]

    def ways(self, stage: str) -> tuple[str, ...]:
        """How a stage is asked: the base raw and wrapped, a tuned one by its template and raw."""
        return (RAW, *self.wrappers) if stage == self.base else (NATIVE, RAW)

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Every arm, base first."""
        return tuple((stage, way) for stage in self.stages for way in self.ways(stage))
