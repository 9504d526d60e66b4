"""A gemma3 file of random weights, small enough to train in a second."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

WIDTH, HIDDEN, HEADS, HEAD, LAYERS = 32, 48, 2, 256, 6  # the sixth layer attends to everything
MARKS = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
PIECES = (*(f"<0x{i:02X}>" for i in range(256)), *map(chr, range(33, 127)), "▁", "\n", "us", "er")


def write_mini(path: Path) -> Path:
    """Write the file; the weights are drawn with a fixed seed."""
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1_000_000.0)
    writer.add_sliding_window(512)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_tokenizer(writer)
    sizes = {"attn_q": (HEADS * HEAD, WIDTH), "attn_k": (HEAD, WIDTH), "attn_v": (HEAD, WIDTH),
             "attn_output": (WIDTH, HEADS * HEAD), "ffn_gate": (HIDDEN, WIDTH),
             "ffn_up": (HIDDEN, WIDTH), "ffn_down": (WIDTH, HIDDEN), "attn_q_norm": (HEAD,),
             "attn_k_norm": (HEAD,), "attn_norm": (WIDTH,), "ffn_norm": (WIDTH,),
             "post_attention_norm": (WIDTH,), "post_ffw_norm": (WIDTH,)}  # fmt: skip
    shapes = {"token_embd": (len(MARKS) + len(PIECES), WIDTH), "output_norm": (WIDTH,)}
    shapes |= {f"blk.{i}.{name}": size for i in range(LAYERS) for name, size in sizes.items()}
    for name, size in shapes.items():
        # Gemma's norms multiply by the stored weight, near one; matrices keep a state's size.
        center, spread = (1.0, 0.1) if len(size) == 1 else (0.0, size[-1] ** -0.5)
        writer.add_tensor(f"{name}.weight", rng.normal(center, spread, size).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    kinds = gguf.TokenType
    types = [*[kinds.CONTROL] * 3, kinds.UNKNOWN, *[kinds.CONTROL] * 2, *[kinds.BYTE] * 256]
    tokens = [*MARKS, *PIECES]
    types += [kinds.NORMAL] * (len(tokens) - len(types))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(i) for i in range(len(tokens))])
    writer.add_token_types(types)
    writer.add_pad_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
