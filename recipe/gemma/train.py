"""The adapter's training: answers only, a reduced output table, checkpoints that resume exactly.

Logits are the dearest part of a small model with 262,144 tokens, so they are computed where an
answer is predicted, and over part of the table: the ids that occur in the rows, and those that
the base itself would say there (nearly all of its probability), which have to be unlearned. Ids
that are left out could drift, so a short second stage (`SETTLE`) sees the whole table.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recipe.gemma.model import Encoded, add_adapter, padded


@dataclass(frozen=True)
class Plan:
    """What a training is: the same plan and rows give the same adapter on one machine."""

    rank: int = 16
    alpha: float = 32.0
    rows: int = 16  # a step
    rate: float = 8e-4
    warmup: int = 10  # steps
    mass: float = 0.999  # of the base's probability, over the ids of the output table to compute
    seed: int = 1
    threads: int = 2
    save_every: int = 10
    half: bool = True  # products in bfloat16


SETTLE = Plan(rate=2e-4, warmup=2, mass=1.0, seed=2)


def batches(rows: Sequence[Encoded], plan: Plan) -> list[list[Encoded]]:
    """One pass: rows of like length together, the batches in random order; the rest is left."""
    rng = random.Random(plan.seed)
    order = sorted(rows, key=lambda row: (len(row), row.prompt, row.answer))
    found = [order[i : i + plan.rows] for i in range(0, len(order), plan.rows)]
    rng.shuffle(found)
    return found


@torch.no_grad()
def kept_ids(model: Any, rows: Sequence[Encoded], sample: Sequence[Encoded], mass: float) -> Tensor:
    """The output table's ids to compute, ascending: all in the rows, and the sample's likeliest.

    The likeliest are the fewest that hold `mass` of the model's probability, averaged over the
    positions where the sample's answers are predicted; a mass of 1 is the whole table.
    """
    if mass >= 1:
        return torch.arange(model.get_base_model().config.vocab_size)
    ids, answers = padded(sample)
    base = model.get_base_model()
    states = base.model(input_ids=ids, use_cache=False).last_hidden_state
    picked = states[:, :-1][answers[:, 1:]]
    table = base.get_input_embeddings().weight
    total = sum(F.linear(part, table).softmax(-1).sum(0) for part in picked.split(64))
    likely, order = (total / len(picked)).sort(descending=True)
    wanted = int((likely.cumsum(0) < mass).sum()) + 1
    seen = {i for row in rows for i in (*row.prompt, *row.answer)}
    return torch.tensor(sorted(seen | set(order[:wanted].tolist())))


def answer_loss(model: Any, batch: Sequence[Encoded], table: Tensor, kept: Tensor) -> Tensor:
    """Mean cross-entropy of the answers' tokens over the kept ids."""
    ids, answers = padded(batch)
    body = model.get_base_model().model
    states = body(input_ids=ids, use_cache=False).last_hidden_state
    picked = states[:, :-1][answers[:, 1:]]
    target = torch.searchsorted(kept, ids[:, 1:][answers[:, 1:]])
    return F.cross_entropy(F.linear(picked, table).float(), target)


def rate(plan: Plan, step: int, steps: int) -> float:
    """Learning rate at a step: linear warm-up, then half a cosine to a tenth."""
    falling = 0.55 + 0.45 * math.cos(math.pi * step / max(1, steps))
    return plan.rate * min(1.0, (step + 1) / plan.warmup) * falling


def train(
    base: Any, rows: Sequence[Encoded], plan: Plan, out: Path, start: Path | None = None
) -> None:
    """Train an adapter into `out` (its tensors by peft's names); goes on where a kill left it.

    It begins fresh, or as the adapter `start`.
    """
    if out.exists():
        return
    torch.set_num_threads(plan.threads)
    model = add_adapter(base, plan.rank, plan.alpha, plan.seed)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if start:
        load_adapter(model, start)
    optimizer = torch.optim.AdamW(trained.values(), plan.rate, betas=(0.9, 0.98), weight_decay=0.0)
    steps, partial, first = batches(rows, plan), out.with_suffix(".partial.pt"), 0
    if partial.exists():
        saved = torch.load(partial, weights_only=True)
        first, kept = saved["step"], saved["kept"]
        _restore(trained, saved["adapter"])
        optimizer.load_state_dict(saved["optimizer"])
    else:
        kept = kept_ids(model, rows, [row for batch in steps[:2] for row in batch], plan.mass)
        tokens = sum(map(len, rows))
        print(f"{len(rows)} rows, {tokens} tokens, {len(steps)} steps, {len(kept)} ids", flush=True)
    table = base.get_input_embeddings().weight[kept].detach()
    clock = time.monotonic(), time.process_time(), 0
    for step in range(first, len(steps)):
        for group in optimizer.param_groups:
            group["lr"] = rate(plan, step, len(steps))
        with torch.autocast("cpu", torch.bfloat16, enabled=plan.half):
            loss = answer_loss(model, steps[step], table, kept)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.step()
        clock = (*clock[:2], clock[2] + sum(map(len, steps[step])))
        _log(out, step + 1, len(steps), loss.item(), clock)
        if (step + 1) % plan.save_every == 0:
            _save(partial, {"step": step + 1, "kept": kept, "adapter": trained,
                            "optimizer": optimizer.state_dict()})  # fmt: skip
    _save(out, trained)
    partial.unlink(missing_ok=True)


def load_adapter(model: Any, path: Path) -> None:
    """Give a model with a fresh adapter the trained one."""
    own = {n: p for n, p in model.named_parameters() if p.requires_grad}
    _restore(own, torch.load(path, weights_only=True))


def _restore(own: dict[str, Tensor], saved: dict[str, Tensor]) -> None:
    for name, value in saved.items():
        own[name].data.copy_(value)


def _log(out: Path, step: int, steps: int, loss: float, clock: tuple[float, float, int]) -> None:
    wall, cpu, tokens = clock
    line = {
        "step": step,
        "of": steps,
        "loss": round(loss, 4),
        "tokens_per_s": round(tokens / (time.monotonic() - wall), 1),
        "tokens_per_cpu_s": round(tokens / max(1e-9, time.process_time() - cpu), 1),
    }
    print(line, flush=True)
    with out.with_suffix(".log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _save(path: Path, value: dict[str, Any]) -> None:
    """Write beside the place, then move: a kill never leaves half a file."""
    plain = {k: v.detach() if isinstance(v, Tensor) else v for k, v in value.items()}
    if "adapter" in plain:
        plain["adapter"] = {k: v.detach() for k, v in plain["adapter"].items()}
    torch.save(plain, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)
