"""The adapter as a GGUF that llama.cpp applies to the base file."""

from __future__ import annotations

import re
from pathlib import Path

import gguf
import numpy as np
import torch

# transformers' names of a layer's matrices, and GGUF's.
MATRICES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip
NAME = re.compile(r"layers\.(\d+)\.([a-z_.]+)\.lora_([AB])\.default\.weight$")


def tensor_name(name: str) -> str:
    """GGUF's name of an adapter tensor.

    >>> tensor_name("base_model.model.model.layers.3.mlp.up_proj.lora_A.default.weight")
    'blk.3.ffn_up.weight.lora_a'

    Raises ValueError on a name that is none.
    """
    found = NAME.search(name)
    if not found or found[2] not in MATRICES:
        raise ValueError(f"{name!r} is no adapter tensor of a gemma3 layer")
    return f"blk.{found[1]}.{MATRICES[found[2]]}.weight.lora_{found[3].lower()}"


def write_adapter(weights: Path, alpha: float, out: Path) -> None:
    """Write the trained tensors as F32; llama.cpp scales them by alpha over their rank.

    Rotary pairs are halves in both programs, so q and k are written as they are.
    """
    writer = gguf.GGUFWriter(out, "gemma3")
    writer.add_type("adapter")
    writer.add_name("Gemma 3 270M instructions adapter")
    writer.add_license("gemma")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, tensor in torch.load(weights, weights_only=True).items():
        writer.add_tensor(tensor_name(name), tensor.numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
