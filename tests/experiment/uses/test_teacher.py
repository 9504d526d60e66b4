"""Teacher forcing against full logits of the bundled model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax

from harness.engine import Engine
from harness.experiment.uses.teacher import Forced, after_text, bits, perplexity_chunks
from harness.records import EngineSettings, Passage

MODELS = Path(__file__).parents[3] / "models"
BEFORE, REST = (
    "The farmer of Kelness keeps",
    " a red cow – and naïve owls.\nIn the east lies Gelhaven.",
)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    settings = EngineSettings(chunk=32, threads=1)
    with Engine(MODELS / "tiny-base-F16.gguf", "base", settings) as made:
        yield made


def forced(engine: Engine, before: str, rest: str) -> Forced:
    return after_text(engine.tokenizer, [(before, rest)])[0]


def test_the_bits_are_those_of_the_full_distribution(engine: Engine) -> None:
    item = forced(engine, BEFORE, REST)
    ids, start = item.passage.tokens, item.passage.start
    nats = 0.0
    for block in engine.logit_rows([Passage(ids, 1)]):
        for place, row in enumerate(log_softmax(block.rows.astype(float), axis=1), block.start):
            if place >= start:
                nats -= row[ids[place]]
    (scores,) = engine.logprobs([item.passage])
    assert bits(scores) == pytest.approx(nats / math.log(2), rel=1e-5)


def test_the_scored_bytes_are_those_of_the_continuation(engine: Engine) -> None:
    item = forced(engine, BEFORE, REST)
    assert b"".join(item.pieces) == REST.encode()
    assert item.passage.tokens[0] == engine.tokenizer.bos_id
    inside = forced(engine, BEFORE + " a r", REST[4:])
    assert b"".join(inside.pieces) in REST.encode()
    assert inside.size >= len(REST.encode()) - 8


def test_cutting_a_text_elsewhere_adds_up_to_the_same_bits(engine: Engine) -> None:
    """p(xyz) = p(x) p(y|x) p(z|xy): a property of teacher forcing, whatever the model."""
    whole = forced(engine, BEFORE, REST)
    first = " a red cow"
    parts = [forced(engine, BEFORE, first), forced(engine, BEFORE + first, REST[len(first) :])]
    found = [bits(scores) for scores in engine.logprobs([p.passage for p in (whole, *parts)])]
    assert found[0] == pytest.approx(found[1] + found[2], rel=1e-4)


def test_llama_perplexitys_chunks(engine: Engine) -> None:
    text = "The farmer keeps a red cow. " * 60
    ids = engine.tokenizer.tokenize([text], add_special=True, parse_special=False)[0]
    chunks = perplexity_chunks(engine.tokenizer, text, 64)
    assert len(chunks) == len(ids) // 64
    assert all(chunk.tokens[0] == engine.tokenizer.bos_id for chunk in chunks)
    assert chunks[1].tokens[1:] == ids[65:128]
    assert {chunk.start for chunk in chunks} == {33}
    assert np.all([len(chunk.tokens) == 64 for chunk in chunks])
