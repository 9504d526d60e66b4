"""Requests and models for the engine's tests: tiny random GGUF files made on the fly."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from harness.engine import Engine
from harness.records import (
    Condition,
    EngineSettings,
    LogitRules,
    RenderedPrompt,
    Request,
    Rerank,
    Sampling,
)
from tests.support import tinygguf

EXACT = EngineSettings(chunk=32, threads=1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinygguf.write_llama(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="session")
def mamba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinygguf.write_mamba(tmp_path_factory.mktemp("gguf") / "mamba.gguf")


@pytest.fixture(scope="session")
def engine(tiny: Path) -> Iterator[Engine]:
    """One engine for the tests that do not need settings or a fate of their own."""
    with Engine(tiny, "tiny", EXACT) as made:
        yield made


Ask = Callable[..., list[Request]]


@pytest.fixture(scope="session")
def ask(engine: Engine) -> Ask:
    """Turn texts into requests with the tiny model's tokenizer."""
    return lambda texts, **options: make_requests(engine.tokenizer, texts, **options)


def make_requests(
    tokenizer: object,
    texts: Sequence[str],
    *,
    stops: tuple[str, ...] = (),
    prefill: str = "",
    rules: LogitRules | None = None,
    rerank: Rerank | None = None,
    seed: int = 0,
    epoch: int = 0,
    sampling: Sampling | None = None,
    **sampled: object,
) -> list[Request]:
    ids = tokenizer.tokenize(texts, add_special=True, parse_special=False)  # type: ignore[attr-defined]
    return [
        Request(
            key=hashlib.sha256(repr((text, seed, epoch, index)).encode()).hexdigest(),
            sample_id=f"sample-{index}",
            condition=Condition("base", "F16", "raw"),
            model_sha256="tiny",
            prompt=RenderedPrompt(
                text=text,
                token_ids=tokens,
                stops=stops,
                bos_count=1,
                special_tokens=(),
                template_sha256="",
                prefill=prefill,
                rules=rules,
                rerank=rerank,
            ),
            sampling=sampling or Sampling(**{"max_tokens": 24, **sampled}),  # type: ignore[arg-type]
            seed=seed,
            epoch=epoch,
        )
        for index, (text, tokens) in enumerate(zip(texts, ids, strict=True))
    ]


def mixed_texts(count: int, longest: int = 400) -> list[str]:
    """Prompts of 20 to ``longest`` characters, no two alike, half of them on one prefix."""
    prefix = "Answer every question in one line.\n" * 3
    return [
        (prefix if index % 2 else "")
        + f"Question {index}: "
        + "why? " * (index * 37 % longest // 5)
        for index in range(count)
    ]
