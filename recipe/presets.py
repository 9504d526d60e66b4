"""Sizes of a run: the world, the model, and the plan of each stage. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from recipe.world import World, build_world


@dataclass(frozen=True)
class Shape:
    """Sizes of the model; feed-forward and head widths in multiples of 256 suit K-quants."""

    vocab: int = 2048
    width: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    hidden: int = 512
    context: int = 2048
    eps: float = 1e-5
    theta: float = 10000.0

    @property
    def head(self) -> int:
        """Width of one head."""
        return self.width // self.heads


@dataclass(frozen=True)
class Plan:
    """One stage's training: sizes, learning rates, where it writes.

    `rows` token rows of `length` make one step (over all processes). `matrix_lr` drives Muon on
    the matrices, `table_lr` Adam on everything else; `matrix_lr = 0` means Adam for all.
    """

    name: str
    steps: int
    rows: int
    length: int
    matrix_lr: float
    table_lr: float
    warmup: int = 20
    decay_from: float = 0.4
    seed: int = 0
    adapter_rank: int = 0
    beta: float = 0.1
    nll: float = 0.0
    save_every: int = 100
    long_from: float = 1.0
    long_length: int = 0


@dataclass(frozen=True)
class Preset:
    """Everything that sizes a run: the world, the model, the plans of the stages."""

    seed: int
    world: dict[str, int]
    shape: Shape
    base: Plan
    sft: Plan
    practice: Plan
    lora: Plan
    preferred: Plan
    dpo: Plan
    vocab_documents: int = 20000
    items: dict[str, int] = field(default_factory=dict)


FULL = Preset(
    seed=1,
    world={"town": 170, "person": 170, "beast": 110, "ship": 110},
    shape=Shape(),
    base=Plan("base", 1200, 16, 256, 0.02, 3e-3, warmup=50, decay_from=0.35, seed=1,
              long_from=0.94, long_length=2048),
    sft=Plan("sft", 320, 16, 256, 0.008, 1.5e-3, decay_from=0.3, seed=2),
    practice=Plan("practice", 400, 16, 256, 0.008, 1.5e-3, decay_from=0.3, seed=6),
    lora=Plan("lora", 600, 16, 256, 0.0, 1e-2, seed=3, adapter_rank=16),
    preferred=Plan("preferred", 300, 16, 256, 0.008, 1.5e-3, decay_from=0.0, seed=7),
    dpo=Plan("dpo", 150, 24, 128, 0.0, 7e-5, warmup=10, seed=4, nll=1.0),
)  # fmt: skip

MINI = Preset(
    seed=1,
    world={"town": 12, "person": 12, "beast": 12, "ship": 12},
    shape=Shape(),
    base=Plan("base", 40, 4, 256, 0.02, 3e-3, warmup=5, seed=1, long_from=0.9, long_length=512),
    sft=Plan("sft", 15, 4, 256, 0.005, 8e-4, warmup=3, seed=2),
    practice=Plan("practice", 10, 4, 256, 0.005, 8e-4, warmup=3, seed=6),
    lora=Plan("lora", 10, 4, 256, 0.0, 2e-3, warmup=3, seed=3, adapter_rank=16),
    preferred=Plan("preferred", 5, 4, 256, 0.005, 8e-4, warmup=2, seed=7),
    dpo=Plan("dpo", 6, 8, 128, 0.0, 5e-5, warmup=2, seed=4, nll=0.2),
    vocab_documents=2000,
    items=dict.fromkeys(("fact", "upper", "one_word", "end", "as_json", "bullets"), 1),
)  # fmt: skip

PRESETS = {"full": FULL, "mini": MINI}


def world_of(preset: Preset) -> World:
    """The preset's world."""
    return build_world(preset.seed, preset.world)
