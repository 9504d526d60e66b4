"""How many layers, slots and tokens fit a machine's memory, estimated from the file's tensors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from harness.records import ModelFile

ALL = -1
_KV_BYTES = 2  # the cache holds F16
_UBATCH = 512
_KEPT_FREE = 0.10
"""Share of a device's free memory left to drivers, fragmentation and what else runs there."""


class Memory(Protocol):
    """What is asked of a device: ``harness.native.Device`` has it."""

    @property
    def name(self) -> str:
        """Its short name."""

    @property
    def kind(self) -> str:
        """``cpu``, ``gpu``, ``igpu`` or ``accelerator``."""

    @property
    def free_memory(self) -> int:
        """Free bytes, 0 when unknown."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Layers on the GPU (-1: all), slots that hold work, tokens per slot, and the reason."""

    n_gpu_layers: int
    parallel: int
    n_ctx: int
    why: str


def fit(
    model: ModelFile,
    *,
    n_gpu_layers: int | Literal["auto"],
    parallel: int,
    tokens_per_sequence: int,
    devices: Iterable[Memory],
) -> Fit:
    """Choose layers, slots and context for a model from free memory, and say why in one sentence.

    ``parallel`` slots of ``tokens_per_sequence`` tokens are asked for. On a GPU all layers with
    at least a quarter of the slots are preferred to fewer layers with all slots. A number given
    for ``n_gpu_layers`` is kept. The estimate counts weights, KV cache and scratch; it may be
    wrong: a run tries half the layers when a model does not load with those chosen here.
    """
    known = list(devices)
    gpus = [device for device in known if device.kind in ("gpu", "igpu") and device.free_memory]
    need = _Need(model, min(tokens_per_sequence, model.context_length))
    if n_gpu_layers != "auto":
        why = f"{_layers(n_gpu_layers)} as asked, {parallel} slots of {need.tokens} tokens"
        return Fit(n_gpu_layers, parallel, need.tokens, why)
    if not gpus:
        return _on_cpu(need, parallel, known)
    free = int(sum(gpu.free_memory for gpu in gpus) * (1 - _KEPT_FREE))
    where = " + ".join(gpu.name for gpu in gpus)
    slots = parallel
    while slots >= max(1, parallel // 4):
        if need.bytes(need.layers, slots) <= free:
            return Fit(ALL, slots, need.tokens, _why(need, need.layers, slots, free, where))
        slots //= 2
    fitting = [count for count in range(need.layers) if need.bytes(count, parallel) <= free]
    count = max(fitting, default=0)
    return Fit(count, parallel, need.tokens, _why(need, count, parallel, free, where))


def _on_cpu(need: _Need, parallel: int, devices: list[Memory]) -> Fit:
    free = max((device.free_memory for device in devices if device.kind == "cpu"), default=0)
    slots = parallel
    while free and slots > 1 and need.bytes(need.layers, slots) > free * (1 - _KEPT_FREE):
        slots //= 2
    total = need.bytes(need.layers, slots)
    short = free and total > free * (1 - _KEPT_FREE)
    why = "no GPU: 0 layers offloaded" + (
        f"; about {_gib(total)} are needed and {_gib(free)} free: use a smaller level"
        if short
        else ""
    )
    return Fit(0, slots, need.tokens, why)


class _Need:
    """Bytes a model asks of a device, as a function of layers there and slots."""

    def __init__(self, model: ModelFile, tokens: int) -> None:
        meta = model.metadata
        self.tokens = tokens
        self.blocks: list[int] = list(meta.get("inspect.layer_bytes", []))
        outside = meta.get("inspect.outside_bytes", {})
        # Tied models keep one table: the device needs a copy of it for the output.
        self.output = int(outside.get("output", 0))
        if self.output < int(outside.get("input", 0)) // 8:
            self.output += int(outside.get("input", 0))
        self.layers = len(self.blocks) + 1
        arch = model.architecture
        width = int(meta.get(f"{arch}.embedding_length", 0))
        heads = _number(meta.get(f"{arch}.attention.head_count"), 1)
        kv_heads = _number(meta.get(f"{arch}.attention.head_count_kv"), heads)
        key = int(meta.get(f"{arch}.attention.key_length", width // max(heads, 1)))
        value = int(meta.get(f"{arch}.attention.value_length", key))
        self.kv = kv_heads * (key + value) * _KV_BYTES
        self.scratch = _UBATCH * 4 * (int(meta.get("inspect.tokens", 0)) + 8 * width)

    def bytes(self, layers: int, slots: int) -> int:
        """What ``layers`` (counted from the last block) and ``slots`` take, with scratch."""
        if layers == 0:
            return 0
        blocks = min(layers, len(self.blocks))
        weights = sum(self.blocks[len(self.blocks) - blocks :])
        output = self.output if layers >= self.layers else 0
        return weights + output + self.kv * self.tokens * slots * blocks + self.scratch


def _why(need: _Need, count: int, slots: int, free: int, where: str) -> str:
    return (
        f"{count} of {need.layers} layers on {where}, estimated at "
        f"{_gib(need.bytes(count, slots))} of {_gib(free)} usable"
        + (
            f" (all would need {_gib(need.bytes(need.layers, slots))})"
            if count < need.layers
            else ""
        )
    )


def _number(value: Any, default: int) -> int:
    """A head count: a number, or one per layer, of which the largest counts."""
    if isinstance(value, list | tuple):
        return max((int(item) for item in value), default=default)
    return int(value) if value is not None else default


def _layers(count: int) -> str:
    return "all layers" if count < 0 else f"{count} layers"


def _gib(count: int) -> str:
    return f"{count / (1 << 30):.2f} GiB"
