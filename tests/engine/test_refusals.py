"""Files that hold no generator are refused with the reason, by llama.cpp's own account of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from harness.engine import Engine
from harness.errors import UnsupportedModel
from tests.engine.conftest import EXACT, make_requests
from tests.support import tinygguf
from tests.support.command import harness, here

ENCODER = {"bert.pooling_type": 1, "bert.attention.causal": False}
EMBEDDING = "an embedding or reranking model"

Write = Callable[[Path], Path]
REFUSED: dict[str, tuple[Write, str]] = {
    "encoder-decoder": (tinygguf.write_t5, "an encoder-decoder model"),
    "encoder": (
        lambda path: tinygguf.write_t5(path, encoder_only=True),
        "an encoder without a decoder",
    ),
    "embedding": (lambda path: tinygguf.write_bert(path, metadata=ENCODER), EMBEDDING),
    "embedding-of-a-decoder": (
        lambda path: tinygguf.write_llama(path, metadata={"llama.pooling_type": 3}),
        EMBEDDING,
    ),
    "reranker": (
        lambda path: tinygguf.write_llama(path, metadata={"llama.pooling_type": 4}),
        EMBEDDING,
    ),
    "not-causal": (
        lambda path: tinygguf.write_llama(path, metadata={"llama.attention.causal": False}),
        EMBEDDING,
    ),
    "llada": (lambda path: tinygguf.write_llama(path, architecture="llada"), "a diffusion model"),
    "dream": (lambda path: tinygguf.write_llama(path, architecture="dream"), "a diffusion model"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_holds_no_generator_is_refused_when_it_is_opened(
    kind: str, tmp_path: Path
) -> None:
    write, reason = REFUSED[kind]
    with pytest.raises(UnsupportedModel) as refusal:
        Engine(write(tmp_path / f"{kind}.gguf"), kind, EXACT)
    assert str(refusal.value) == (
        f"{kind}.gguf does not generate token after token: it is {reason}; "
        "choose a causal language model"
    )


def test_an_encoder_whose_file_does_not_say_so_is_refused_before_it_generates(
    tmp_path: Path,
) -> None:
    with Engine(tinygguf.write_bert(tmp_path / "bert.gguf"), "bert", EXACT) as engine:
        requests = make_requests(engine.tokenizer, ["Hello"])
        with pytest.raises(UnsupportedModel, match=EMBEDDING):
            list(engine.generate(requests))


def test_an_unpooled_causal_file_is_not_refused(tmp_path: Path) -> None:
    said = {"llama.pooling_type": 0, "llama.attention.causal": True}
    path = tinygguf.write_llama(tmp_path / "plain.gguf", metadata=said)
    with Engine(path, "plain", EXACT) as engine:
        requests = make_requests(engine.tokenizer, ["Hello"], max_tokens=4)
        assert [len(found.token_ids) for found in engine.generate(requests)] == [4]


def test_a_recurrent_file_is_not_refused(mamba: Path) -> None:
    with Engine(mamba, "mamba", EXACT) as engine:
        requests = make_requests(engine.tokenizer, ["Hello"], max_tokens=4)
        assert [len(found.token_ids) for found in engine.generate(requests)] == [4]


@pytest.mark.parametrize(
    "kind",
    ["embedding", *(pytest.param(k, marks=pytest.mark.slow) for k in ("encoder-decoder", "llada"))],
)
def test_the_command_says_so_in_one_line_and_exits_with_2(kind: str, tmp_path: Path) -> None:
    write, reason = REFUSED[kind]
    done = here("bench", write(tmp_path / "model.gguf"), "--items", 1, cache=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if "it is" in line] == [
        f"harness: model.gguf does not generate token after token: it is {reason}; "
        "choose a causal language model"
    ]


@pytest.mark.slow
def test_a_run_whose_last_stage_is_a_diffusion_model_is_refused_before_it_asks_anything(
    tmp_path: Path,
) -> None:
    template = {"tokenizer.chat_template": tinygguf.CHATML}
    path = tinygguf.write_llama(tmp_path / "d.gguf", architecture="llada", metadata=template)
    base = tinygguf.write_llama(tmp_path / "base.gguf")
    experiment = {
        "name": "refused",
        "stages": {"base": {"model": str(base)}, "dpo": {"model": str(path)}},
        "levels": {"from": "F16", "make": ["Q8_0"]},
        "strategies": {"base": ["raw"], "dpo": ["native"]},
        "suites": ["tiny"],
        "recovery": {"base": "base", "instruct": "dpo"},
        "engine": {"threads": 1},
    }
    file = tmp_path / "refused.yaml"
    file.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    out = tmp_path / "out"
    done = harness("run", file, "--limit", 1, "-o", out, cache=tmp_path / "cache")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "harness: d.gguf does not generate token after token: it is a diffusion" in done.stderr
    assert "to answer" not in done.stderr
    assert not out.exists()
