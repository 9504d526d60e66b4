"""Tiny random GGUF models, made on the fly: real files for llama.cpp, no training, no download.

The vocabulary is byte-level BPE without merges: 256 bytes, then ``SPECIAL``. Weights are random
but seeded, so the greedy text is gibberish that is the same everywhere on one machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np

SPECIAL = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")
BOS, EOS, IM_START, IM_END = 256, 257, 258, 259
N_VOCAB = 256 + len(SPECIAL)

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_tokens() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, in the order of the bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(spare)) for byte in range(256)]


def write_llama(
    path: Path,
    *,
    seed: int = 0,
    width: int = 64,
    layers: int = 2,
    heads: int = 4,
    context: int = 4096,
    scale: float = 1.0,
    eos_gain: float = 0.0,
    half: bool = True,
    chat_template: str | None = None,
    nan: bool = False,
    metadata: dict[str, object] | None = None,
    architecture: str = "llama",
    says: Sequence[str] = (),
) -> Path:
    """A model of random weights in llama's layout; ``nan`` spoils its output layer.

    With ``says``, texts that become tokens of their own, it answers with nothing else.

    Several architectures share that layout, ``llada`` and ``dream`` among them. ``metadata`` is
    written as given: integers as uint32, truth values as such, anything else as text.
    """
    file = _File(path, architecture, seed, np.float16 if half else np.float32)
    file.describe(context, width, layers, chat_template, says)
    writer = file.writer
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads // 2)
    writer.add_feed_forward_length(2 * width)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    file.note(metadata)
    size = N_VOCAB + len(says)
    file.matrix("token_embd.weight", size, width, np.sqrt(width))
    file.constant("output_norm.weight", width)
    output = file.random.standard_normal((size, width)) * 2.0 * scale / np.sqrt(width)
    output[EOS] *= eos_gain
    if says:  # of two opposite rows one is above zero, where all the others are
        output[:N_VOCAB] = 0.0
        output[-1] = -output[-2]
    if nan:
        output[7] = np.nan
    writer.add_tensor("output.weight", output.astype(file.kind))
    for layer in range(layers):
        block = f"blk.{layer}"
        file.constant(f"{block}.attn_norm.weight", width)
        file.attention(f"{block}.attn", width, width // 2, "output")
        file.constant(f"{block}.ffn_norm.weight", width)
        file.matrix(f"{block}.ffn_gate.weight", 2 * width, width)
        file.feed_forward(block, width)
    return file.finish()


def write_mamba(path: Path, *, seed: int = 0, width: int = 64, layers: int = 2) -> Path:
    """A recurrent model of random weights: its state cannot be cut back to a position."""
    inner, state, kernel, rank = 2 * width, 16, 4, max(1, width // 16)
    file = _File(path, "mamba", seed)
    file.describe(1 << 20, width, layers, None)
    writer = file.writer
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    file.matrix("token_embd.weight", N_VOCAB, width, np.sqrt(width))
    file.constant("output_norm.weight", width)
    file.matrix("output.weight", N_VOCAB, width, 2.0)
    for layer in range(layers):
        block = f"blk.{layer}"
        file.constant(f"{block}.attn_norm.weight", width)
        file.matrix(f"{block}.ssm_in.weight", 2 * inner, width)
        file.matrix(f"{block}.ssm_conv1d.weight", inner, kernel)
        file.constant(f"{block}.ssm_conv1d.bias", inner, 0.0)
        file.matrix(f"{block}.ssm_x.weight", rank + 2 * state, inner)
        file.matrix(f"{block}.ssm_dt.weight", inner, rank)
        file.constant(f"{block}.ssm_dt.bias", inner, -2.0)
        decay = -np.tile(np.arange(1, state + 1, dtype=np.float32), (inner, 1))
        writer.add_tensor(f"{block}.ssm_a", decay)
        file.constant(f"{block}.ssm_d", inner)
        file.matrix(f"{block}.ssm_out.weight", width, inner)
    return file.finish()


def write_t5(path: Path, *, seed: int = 0, width: int = 64, encoder_only: bool = False) -> Path:
    """An encoder-decoder of one block each, or its encoder alone (``t5encoder``)."""
    heads, buckets = 4, 32
    file = _File(path, "t5encoder" if encoder_only else "t5", seed)
    file.describe(4096, width, 1, None)
    writer = file.writer
    writer.add_head_count(heads)
    writer.add_feed_forward_length(2 * width)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_relative_attn_buckets_count(buckets)
    if not encoder_only:
        writer.add_decoder_start_token_id(BOS)
    file.matrix("token_embd.weight", N_VOCAB, width, np.sqrt(width))
    for side in ("enc",) if encoder_only else ("enc", "dec"):
        block = f"{side}.blk.0"
        file.constant(f"{side}.output_norm.weight", width)
        file.constant(f"{block}.attn_norm.weight", width)
        file.attention(f"{block}.attn", width, width, "o")
        file.matrix(f"{block}.attn_rel_b.weight", buckets, heads)
        if side == "dec":
            file.constant(f"{block}.cross_attn_norm.weight", width)
            file.attention(f"{block}.cross_attn", width, width, "o")
        file.constant(f"{block}.ffn_norm.weight", width)
        file.feed_forward(block, width)
    return file.finish()


def write_bert(
    path: Path, *, seed: int = 0, width: int = 64, metadata: dict[str, object] | None = None
) -> Path:
    """An encoder whose output is an embedding, as its ``metadata`` may or may not say."""
    context = 512
    file = _File(path, "bert", seed)
    file.describe(context, width, 1, None)
    writer = file.writer
    writer.add_head_count(4)
    writer.add_feed_forward_length(2 * width)
    writer.add_layer_norm_eps(1e-5)
    writer.add_token_type_count(2)
    file.note(metadata)
    file.matrix("token_embd.weight", N_VOCAB, width, np.sqrt(width))
    file.matrix("token_types.weight", 2, width)
    file.matrix("position_embd.weight", context, width)
    file.attention("blk.0.attn", width, width, "output")
    file.feed_forward("blk.0", width)
    for name in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm"):
        file.constant(f"{name}.weight", width)
        file.constant(f"{name}.bias", width, 0.0)
    return file.finish()


class _File:
    """A GGUF file in the making; its weights are drawn in the order they are added."""

    def __init__(
        self, path: Path, architecture: str, seed: int, kind: type[np.floating] = np.float32
    ) -> None:
        self.path, self.kind = path, kind
        self.random = np.random.default_rng(seed)
        self.writer = gguf.GGUFWriter(str(path), architecture)

    def matrix(self, name: str, rows: int, columns: int, gain: float = 1.0) -> None:
        values = self.random.standard_normal((rows, columns)) * gain / np.sqrt(columns)
        self.writer.add_tensor(name, values.astype(self.kind))

    def constant(self, name: str, size: int, value: float = 1.0) -> None:
        self.writer.add_tensor(name, np.full(size, value, dtype=np.float32))

    def attention(self, prefix: str, width: int, kv_width: int, out: str) -> None:
        self.matrix(f"{prefix}_q.weight", width, width, 1.5)
        self.matrix(f"{prefix}_k.weight", kv_width, width, 1.5)
        self.matrix(f"{prefix}_v.weight", kv_width, width)
        self.matrix(f"{prefix}_{out}.weight", width, width)

    def feed_forward(self, block: str, width: int) -> None:
        self.matrix(f"{block}.ffn_up.weight", 2 * width, width)
        self.matrix(f"{block}.ffn_down.weight", width, 2 * width)

    def note(self, metadata: dict[str, object] | None) -> None:
        for key, value in (metadata or {}).items():
            if isinstance(value, bool):
                self.writer.add_bool(key, value)
            elif isinstance(value, int):
                self.writer.add_uint32(key, value)
            else:
                self.writer.add_string(key, str(value))

    def describe(
        self,
        context: int,
        width: int,
        layers: int,
        chat_template: str | None,
        says: Sequence[str] = (),
    ) -> None:
        writer = self.writer
        writer.add_name("tiny random model")
        writer.add_context_length(context)
        writer.add_embedding_length(width)
        writer.add_block_count(layers)
        writer.add_vocab_size(N_VOCAB + len(says))
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        letters = byte_tokens()
        own = ["".join(letters[byte] for byte in text.encode("utf-8")) for text in says]
        writer.add_token_list([*letters, *SPECIAL, *own])
        control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
        types = [normal] * 256 + [control] * len(SPECIAL) + [normal] * len(own)
        writer.add_token_types(types)
        # The list may not be empty: two control bytes that no text holds.
        writer.add_token_merges(["Ā ā"])
        writer.add_bos_token_id(BOS)
        writer.add_eos_token_id(EOS)
        writer.add_add_bos_token(True)
        if chat_template is not None:
            writer.add_chat_template(chat_template)

    def finish(self) -> Path:
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()
        return self.path
