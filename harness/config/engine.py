"""How answers are decoded, and how the engine runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.config.section import Section
from harness.config.stages import LLAMA_CPP
from harness.records import EngineSettings, Sampling


class SamplingConfig(Section):
    """Decoding, neutral and greedy unless said (see :class:`harness.records.Sampling`)."""

    temperature: float = Field(0.0, ge=0, le=10)
    top_k: int = Field(0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    min_p: float = Field(0.0, ge=0, le=1)
    repeat_penalty: float = Field(1.0, gt=0)
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalty_last_n: int = Field(64, ge=-1)
    logit_bias: Mapping[int, float] = Field(default_factory=dict)
    max_tokens: int = Field(256, ge=1)
    overrun: int = Field(0, ge=0)

    def record(self) -> Sampling:
        """The frozen record that travels with each request."""
        values = self.model_dump()
        values["logit_bias"] = tuple(sorted(self.logit_bias.items()))
        return Sampling(**values)


_ENGINE = EngineSettings()


class RayConfig(Section):
    """What each actor of a cluster takes (``harness run --ray``), and how many a node has.

    ``send_below``: MiB up to which a model's file is sent to nodes that lack it.
    """

    num_cpus: float = Field(1.0, ge=0, le=4096)
    num_gpus: float = Field(0.0, ge=0, le=256)
    per_node: int = Field(1, ge=1, le=256)
    send_below: int = Field(2048, ge=0)


class EngineConfig(Section):
    """How the engine runs (see :class:`harness.records.EngineSettings`)."""

    backend: str = LLAMA_CPP
    mode: Literal["exact", "fast"] = "exact"
    width: int = Field(_ENGINE.width, ge=2, le=256)
    parallel: int = Field(_ENGINE.parallel, ge=1, le=256)
    chunk: int = Field(_ENGINE.chunk, ge=16, le=4096)
    n_ctx: int = Field(0, ge=0)
    threads: int = Field(0, ge=0)
    n_gpu_layers: Annotated[int, Field(ge=-1, le=10_000)] | Literal["auto"] = 0
    devices: tuple[str, ...] = ()
    ray: RayConfig = RayConfig()

    @model_validator(mode="after")
    def _fits(self) -> EngineConfig:
        if self.parallel > self.width:
            raise ValueError(
                f"parallel: {self.parallel} busy slots do not fit width {self.width}; "
                "raise engine.width or lower parallel"
            )
        return self

    def settings(self, n_gpu_layers: int) -> EngineSettings:
        """The engine's settings once ``auto`` layers are a number."""
        values = self.model_dump(exclude={"devices", "backend", "ray"})
        return EngineSettings(**{**values, "n_gpu_layers": n_gpu_layers})
