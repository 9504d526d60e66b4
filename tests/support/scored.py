"""Synthetic scored rows: a run without a model, for analysis and report tests."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from harness.hashing import tagged_hash, text_sha256
from harness.records import (
    CONTROL_STAGE,
    CheckResult,
    CheckSpec,
    Condition,
    FinishReason,
    Generation,
    Message,
    RunManifest,
    Sample,
    Scored,
)

CHECKS = ("punctuation:no_comma", "target")


def sample(
    name: str,
    category: str = "facts",
    kind: str = "instruction",
    group: str | None = None,
    query: str | None = None,
) -> Sample:
    return Sample(
        id=name,
        messages=(Message("user", query or f"Tell me about {name}."),),
        checks=tuple(CheckSpec(check) for check in CHECKS),
        kind=kind,  # type: ignore[arg-type]
        category=category,
        group=group,
        suite="starter",
    )


def row(
    item: Sample,
    condition: Condition,
    verdicts: Sequence[bool | None],
    *,
    epoch: int = 0,
    text: str = "Paris is the capital of France.",
    finish: FinishReason = "eos",
    reason: str = "as asked",
    health: Mapping[str, float] | None = None,
    error: str | None = None,
    prompt_tokens: int = 20,
) -> Scored:
    key = tagged_hash("test", [item.id, str(condition), epoch])
    return Scored(
        sample=item,
        condition=condition,
        epoch=epoch,
        key=key,
        prompt=f"Question: {item.query}\nAnswer:",
        stops=("\nQuestion:",),
        template_sha256=text_sha256(condition.strategy),
        model_sha256="ab" * 32,
        generation=Generation(
            key, text, text.split("\nQuestion:")[0], (1,), finish, prompt_tokens, 10, 0.5, error
        ),
        results=tuple(
            CheckResult(key, index, CHECKS[index % 2], 1, value, value, reason)
            for index, value in enumerate(verdicts)
        ),
        health={} if health is None else health,
    )


def passes(item: Sample, condition: Condition, ok: bool | None, **more: object) -> Scored:
    """A row whose two checks pass or fail; None is a failed generation."""
    if ok is None:
        return row(item, condition, (), finish="failed", error="no answer", **more)  # type: ignore
    return row(item, condition, (True, ok), **more)  # type: ignore[arg-type]


def control(item: Sample, name: str, ok: bool) -> Scored:
    return row(item, Condition(CONTROL_STAGE, "-", name), (True, ok), text=name)


RATES = {"raw": 0.08, "raw_nl": 0.1, "qa": 0.3, "sys_qa": 0.34, "native": 0.65}
COST = {"raw": 22, "raw_nl": 23, "qa": 30, "sys_qa": 84, "native": 41}


def run(
    n: int = 60,
    levels: Sequence[str] = ("F16", "Q2_K"),
    *,
    epochs: int = 1,
    continuations: int = 6,
    seed: int = 0,
) -> list[Scored]:
    """A whole run: base with four strategies, dpo native and raw, controls; worse at Q2_K."""
    rng = random.Random(seed)
    arms = [("base", name) for name in ("raw", "raw_nl", "qa", "sys_qa")]
    arms += [("dpo", "native"), ("dpo", "raw")]
    found = []
    for number in range(n):
        continued = number < continuations
        category = "continuation" if continued else ("facts", "lists", "json")[number % 3]
        kind = "continuation" if continued else "instruction"
        item = sample(f"{category}-{number:03d}", category, kind)
        hard = rng.random()
        for level in levels:
            loss = 0.12 if level == "Q2_K" else 0.0
            for stage, strategy in arms:
                rate = 0.3 if (stage, strategy) == ("dpo", "raw") else RATES[strategy]
                for epoch in range(epochs):
                    ok = 0.8 * hard + 0.2 * rng.random() < rate - loss
                    found.append(
                        passes(
                            item,
                            Condition(stage, level, strategy),
                            ok,
                            epoch=epoch,
                            finish="eos" if ok else "length",
                            health={"echo": 0.1, "run_on": float(not ok)},
                            reason="as asked" if ok else "1 comma, wanted none",
                            prompt_tokens=COST[strategy],
                        )
                    )
        for name, lucky in (("empty", 0.0), ("yes", 0.04), ("echo", 0.1)):
            found.append(control(item, name, rng.random() < lucky))
    return found


BITS = {(s, q): b for s in ("base", "dpo") for q, b in (("F16", 16.0), ("Q2_K", 3.9))}


EXPERIMENT = {
    "name": "tiny",
    "description": "Tiny against itself.",
    "limit": None,
    "stages": {"base": "tiny-base.gguf", "dpo": "tiny-dpo.gguf"},
    "levels": ["F16", "Q2_K"],
    "strategies": {"base": ["raw", "raw_nl", "qa", "sys_qa"], "dpo": ["native", "raw"]},
    "recovery": {"base": "base", "instruct": "dpo"},
    "contrasts": [{"name": "native helps", "a": "base/F16/raw", "b": "dpo/F16/native"}],
}


def manifest(**more: object) -> RunManifest:
    settings = {"mode": "exact", "width": 16, "parallel": 4, "chunk": 256, "n_gpu_layers": 0}
    values: dict[str, object] = {
        "experiment": EXPERIMENT,
        "models": {
            f"{stage}/{level}": {
                "path": "models/tiny.gguf",
                "sha256": "ab" * 32,
                "size": 6_700_000,
                "architecture": "llama",
                "bits_per_weight": bits,
            }
            for (stage, level), bits in BITS.items()
        },
        "templates": {"qa": "cd" * 32},
        "suites": {"starter": "ef" * 32},
        "versions": {"harness": "0.1.0"},
        "engine": {
            "build": {"llama_build": "b9000"},
            "settings": {f"{stage}/{level}": settings for stage, level in BITS},
        },
        "system": {"machine": "x86_64", "cores": 2},
        "notes": ("offload was asked for and is not available",),
        "warnings": ("Two families are compared.",),
        "command": "harness run tiny --limit 20",
    }
    return RunManifest(**{**values, **more})  # type: ignore[arg-type]
