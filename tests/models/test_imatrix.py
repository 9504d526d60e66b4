"""Importance matrices: computed over prompts, checked by hand, and heeded by the quantizer."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from harness.cli import main
from harness.errors import ModelError
from harness.models import inspect_model, quantize
from harness.models.imatrix.compute import compute_imatrix
from harness.models.imatrix.file import read_imatrix
from tests.support.tinygguf import BOS, write_llama

TEXTS = ["Hello world, this is a prompt.", "Another one!"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("imatrix") / "tiny-F32.gguf", width=256, half=False)


def tokens(text: str) -> list[int]:
    """The tiny vocabulary has one token a byte."""
    return [BOS, *text.encode("utf-8")]


def test_the_first_layers_inputs_are_those_computed_by_hand(source: Path, tmp_path: Path) -> None:
    """Into the first attention go the embeddings, normalised by their root mean square."""
    out = compute_imatrix(source, TEXTS, tmp_path / "i.gguf", dataset="two texts")
    reader = gguf.GGUFReader(source)
    table = next(t.data for t in reader.tensors if t.name == "token_embd.weight")
    adds_bos = read_imatrix(out).chunks == 2
    assert adds_bos
    expected, rows = np.zeros(256), 0
    for text in TEXTS:
        ids = tokens(text) if _adds_bos(reader) else tokens(text)[1:]
        x = table[ids].astype(np.float64)
        normed = x / np.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-5)
        expected += (normed * normed).sum(axis=0)
        rows += len(ids)
    matrix = read_imatrix(out)
    for name in ("attn_q", "attn_k", "attn_v"):
        np.testing.assert_allclose(
            matrix.values[f"blk.0.{name}.weight"], expected / rows, rtol=1e-4
        )
    assert matrix.dataset == "two texts"
    weights = {t.name for t in reader.tensors if t.name.startswith("blk.") and len(t.shape) == 2}
    assert set(matrix.values) == weights


def _adds_bos(reader: gguf.GGUFReader) -> bool:
    field = reader.get_field("tokenizer.ggml.add_bos_token")
    return bool(field and field.contents())


@pytest.mark.slow
def test_the_command_computes_it_and_the_quantizer_heeds_it(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "i.gguf"
    assert main(["imatrix", str(source), "--suite", "tiny", "-n", "8", "-o", str(out)]) == 0
    assert "8 prompts" in capsys.readouterr().out
    plain = quantize(source, "Q2_K", out=tmp_path / "plain")
    code = main(
        ["quantize", str(source), "--levels", "Q2_K", "--imatrix", str(out), "-o", str(tmp_path)]
    )
    assert code == 0
    weighed = tmp_path / "tiny-Q2_K.gguf"
    assert weighed.read_bytes() != plain.read_bytes()
    made = inspect_model(weighed)
    assert made.metadata["quantize.imatrix.file"] == "i.gguf"
    assert made.metadata["quantize.imatrix.dataset"] == "tiny"
    assert made.metadata["quantize.imatrix.entries_count"] == len(read_imatrix(out).values)


def test_the_older_format_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "old.dat"
    name, values = b"blk.0.attn_q.weight", np.arange(4, dtype="<f4")
    entry = struct.pack("<i", len(name)) + name + struct.pack("<ii", 2, 4) + values.tobytes()
    path.write_bytes(struct.pack("<i", 1) + entry + struct.pack("<ii", 7, 4) + b"text")
    matrix = read_imatrix(path)
    np.testing.assert_array_equal(matrix.values["blk.0.attn_q.weight"], values / 2)
    assert (matrix.dataset, matrix.chunks) == ("text", 7)


@pytest.mark.parametrize(
    "content", [b"", b"\x01", b"\x01\x00\x00\x00\xff", b"GGUF" + bytes(40), b"\xff" * 64]
)
def test_what_is_no_importance_matrix_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"is no (usable )?importance matrix|no usable GGUF"):
        read_imatrix(path)


def test_a_matrix_of_another_model_is_refused_in_one_line(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_llama(tmp_path / "other-F32.gguf", width=128, half=False)
    matrix = compute_imatrix(other, TEXTS[1:], tmp_path / "i.gguf", dataset="x")
    code = main(
        ["quantize", str(source), "--levels", "Q2_K", "--imatrix", str(matrix), "-o", str(tmp_path)]
    )
    assert code == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "imatrix size 128 is different from tensor size 256" in error
