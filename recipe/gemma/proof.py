"""Proof that llama.cpp computes what was trained: torch and llama.cpp on the same token ids.

An exact file (F32 of the same weights) isolates the forward pass; the quantized file itself
differs by more, because llama.cpp rounds the activations that it multiplies with quantized weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recipe.gemma.model import chat
from recipe.proof import HARD, Reader, leads

TIE = 0.05  # logits: a closer call between the two best is rounding's
TEXTS = (
    *(text for text in HARD if "<|" not in text),
    "The quick brown fox jumps over the lazy dog.",
    chat([{"role": "user", "content": "Share what you know about owls. Leave out commas."}]),
    chat(
        [
            {"role": "system", "content": "You are a calm cook."},
            {"role": "user", "content": "What about soap?"},
        ]
    ),
    "Am Abend gehen wir an den Fluss.",
    "def half(n):\n    return n / 2\n",
)


@dataclass(frozen=True)
class Agreement:
    """Torch against llama.cpp over every position of every text, and every logit there."""

    file: str
    positions: int
    decided: int
    same_top: int
    largest_difference: float
    mean_difference: float

    def __str__(self) -> str:
        return (
            f"{self.file}: top-1 {self.same_top}/{self.decided} of the decided among "
            f"{self.positions} positions, logit differences at most {self.largest_difference:.4f}, "
            f"{self.mean_difference:.4f} on average"
        )


@torch.no_grad()
def agreement(
    model: Any, path: Path, adapter: Path | None = None, texts: Sequence[str] = TEXTS
) -> Agreement:
    """Compare the model's logits with llama.cpp's of the file (and the adapter on it).

    Top-1 is counted where torch's best token leads by more than `TIE`.
    """
    positions = decided = same = 0
    largest = total = 0.0
    with Reader(path) as reader:
        if adapter:
            reader.add_adapter(adapter)
        for text in texts:
            ids = reader.tokenize(text)
            theirs = reader.logits(ids)
            ours = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()
            clear = leads(ours, TIE)
            positions += len(ids)
            decided += int(clear.sum())
            same += int((ours.argmax(1) == theirs.argmax(1))[clear].sum())
            difference = np.abs(ours - theirs)
            largest = max(largest, float(difference.max()))
            total += float(difference.mean(1).sum())
    name = path.name + (f" + {adapter.name}" if adapter else "")
    return Agreement(name, positions, decided, same, largest, total / positions)
