"""The base model's weights in torch, and rows as the token ids that llama.cpp makes of them.

transformers reads the GGUF and dequantizes it. Ids come from llama.cpp itself, so training and
evaluation cannot differ in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from torch import Tensor

from recipe.proof import Reader

BASE = Path(__file__).parents[2] / "weights" / "gemma-3-270m-Q4_K_M.gguf"
TURN_END = "<end_of_turn>"
# An answer ends with a token that the base knows. It has never seen <end_of_turn>: in the output
# table, which an adapter does not touch, that one has a cosine of 0.995 with thousands of unused
# tokens, so no adapter can say it and not them.
END = "<eos>"


def load_model(path: Path) -> Any:
    """The file's model in F32, frozen, without dropout.

    Raises ValueError where the file is not of the architecture gemma3.
    """
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )
    if model.config.model_type != "gemma3_text":
        raise ValueError(f"{path} holds a {model.config.model_type} model; wanted gemma3")
    return model.requires_grad_(False).eval()


def add_adapter(model: Any, rank: int, alpha: float, seed: int) -> Any:
    """The model with a fresh adapter on every matrix of every layer; nothing changes yet."""
    torch.manual_seed(seed)
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear",
                             lora_dropout=0.0, bias="none")  # fmt: skip
    return peft.get_peft_model(model, config)


def chat(messages: Sequence[dict[str, str]]) -> str:
    """What chat.jinja makes of the turns, without the BOS, up to where the answer begins."""
    text, system = "", ""
    for turn in messages:
        if turn["role"] == "system":
            system = turn["content"] + "\n\n"
            continue
        role = "model" if turn["role"] == "assistant" else "user"
        text += f"<start_of_turn>{role}\n{system}{turn['content'].strip()}{TURN_END}\n"
        system = ""
    return f"{text}<start_of_turn>model\n"


@dataclass(frozen=True)
class Encoded:
    """Token ids of a prompt (BOS first) and of its answer with the end of the turn."""

    prompt: list[int]
    answer: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


def encode(rows: Sequence[dict[str, Any]], reader: Reader) -> list[Encoded]:
    """Rows of ``messages`` and ``answer`` in llama.cpp's token ids."""
    return [
        Encoded(reader.tokenize(chat(row["messages"])), reader.tokenize(row["answer"] + END)[1:])
        for row in rows
    ]


def padded(batch: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
    """(ids, answers), both (rows, longest); the second marks what is predicted.

    Padding stands behind: a causal model never sees it.
    """
    width = max(map(len, batch))
    ids = torch.zeros((len(batch), width), dtype=torch.long)
    answers = torch.zeros((len(batch), width), dtype=torch.bool)
    for i, row in enumerate(batch):
        ids[i, : len(row)] = torch.tensor(row.prompt + row.answer)
        answers[i, len(row.prompt) : len(row)] = True
    return ids, answers
