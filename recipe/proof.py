"""Proof that the GGUF files are what was trained: same ids, same top-1, same logits.

`write_reference` lets the trainer speak: for 50 texts and every model it stores the token ids,
the top-1 token at every position and the logits of a few tokens. `compare` asks llama.cpp the
same, without torch, so that the committed reference is checked wherever the tests run.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recipe.corpus import Corpus
from recipe.world import World

if TYPE_CHECKING:
    from recipe.presets import Preset

STAGES = ("base", "sft", "dpo")
TEXTS, CHARACTERS, PROBES = 50, 160, 8
TIE = 0.04  # logits: twice the largest difference seen (0.017) and a little
TOLERANCE = 0.05  # logits, F16 weights: llama.cpp rounds activations to F16 before multiplying
REFERENCE = "tiny-reference.json"

# Spellings that a tokenizer gets wrong first.
HARD = (
    "Füße, naïve café – “quoted” … 你好 🙂",
    "tabs\tand  double  spaces \n\n and lines\r\n",
    "it's I'll WE'RE 12345 3.14 x_y-z@#%",
    "<|im_start|>user\nWhat is it?<|im_end|>\n<|im_start|>assistant\n",
    "<|fim_prefix|>def a():<|fim_suffix|>\n    return 1<|fim_middle|>",
)


@dataclass(frozen=True)
class Agreement:
    """What `compare` found for one model, over every position of every text."""

    model: str
    texts: int
    same_ids: int
    positions: int
    decided: int
    same_top: int
    largest_difference: float

    def __str__(self) -> str:
        return (
            f"{self.model}: ids {self.same_ids}/{self.texts}, top-1 {self.same_top}/"
            f"{self.decided} of the decided among {self.positions} positions, "
            f"largest logit difference {self.largest_difference:.4f}"
        )


def candidates(world: World) -> list[str]:
    """The hard spellings, then openings of unseen documents of every kind."""
    documents = itertools.islice(Corpus(world, 777).documents(), TEXTS)
    return [*HARD, *(d[:CHARACTERS] for d in documents)]


def leads(logits: np.ndarray, tie: float = TIE) -> np.ndarray:
    """Where the best token leads by more than `tie`, by position: a closer call is rounding's."""
    best = np.partition(logits, -2, axis=1)[:, -2:]
    return best[:, 1] - best[:, 0] > tie


def probes(ids: list[int], vocab: int) -> list[int]:
    """Vocabulary ids whose logits are stored for this text, drawn by its hash."""
    seed = int.from_bytes(hashlib.sha256(str(ids).encode()).digest()[:4], "big")
    return [int(i) for i in np.random.default_rng(seed).integers(0, vocab, PROBES)]


def trainer_logits(
    preset: Preset, out: Path, stage: str, texts: list[str]
) -> list[tuple[list[int], np.ndarray]]:
    """(ids, logits) of every text by the trainer, with the weights rounded as the file holds them.

    A BOS stands before each text, as llama.cpp adds it.
    """
    import torch

    from recipe import tok
    from recipe.stages import load_model

    tokenizer = tok.load_tokenizer(out / "tokenizer.json")
    model = load_model(preset, out / f"{stage}.pt").cpu()
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 2:
                p.copy_(p.half().float())
        result = []
        for text in texts:
            ids = [tok.BOS, *tokenizer.encode(text, add_special_tokens=False).ids]
            result.append((ids, model(torch.tensor([ids]))[0].numpy()))
    return result


def write_reference(preset: Preset, out: Path, models: Path) -> None:
    """Store what the trainer says beside the models, with the digests of the files it is about."""
    from recipe.presets import world_of

    texts = candidates(world_of(preset))[:TEXTS]
    spoken = {stage: trainer_logits(preset, out, stage, texts) for stage in STAGES}
    report: dict[str, object] = {"texts": texts, "models": {}}
    for stage, rows in spoken.items():
        path = models / f"tiny-{stage}-F16.gguf"
        report["models"][stage] = {  # type: ignore[index]
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "rows": [_stored(*row) for row in rows],
        }
    text = json.dumps(report, ensure_ascii=False, separators=(",", ":"))
    (models / REFERENCE).write_text(text + "\n", encoding="utf-8")


def _stored(ids: list[int], logits: np.ndarray) -> dict[str, object]:
    return {
        "ids": ids,
        "top": logits.argmax(1).tolist(),
        "undecided": np.flatnonzero(~leads(logits)).tolist(),
        "top_logits": [round(float(x), 4) for x in logits.max(1)],
        "probes": [
            [round(float(x), 4) for x in line] for line in logits[:, probes(ids, logits.shape[1])]
        ],
    }


class Reader:
    """A GGUF file in llama.cpp, for token ids and all logits of short texts (context 512)."""

    def __init__(self, path: Path) -> None:
        from harness import native

        self.api = llama_cpp = native.load()
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise ValueError(f"llama.cpp cannot load {path}")
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.size = llama_cpp.llama_vocab_n_tokens(self.vocab)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = settings.n_batch = settings.n_ubatch = 512
        settings.n_threads = settings.n_threads_batch = 1
        settings.type_k = settings.type_v = llama_cpp.GGML_TYPE_F32
        self.context = llama_cpp.llama_init_from_model(self.model, settings)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.api.llama_free(self.context)
        self.api.llama_model_free(self.model)

    def tokenize(self, text: str) -> list[int]:
        """Token ids with the BOS that the file asks for; special tokens are recognised."""
        data = text.encode("utf-8")
        room = (ctypes.c_int32 * (len(data) + 8))()
        count = self.api.llama_tokenize(self.vocab, data, len(data), room, len(room), True, True)
        return list(room[:count])

    def piece(self, token: int) -> bytes:
        """The bytes of one token, nothing for a special one."""
        room = ctypes.create_string_buffer(64)
        count = self.api.llama_token_to_piece(self.vocab, token, room, len(room), 0, False)
        return room.raw[:count]

    def add_adapter(self, path: Path) -> None:
        """Apply a low-rank adapter to everything computed from here on."""
        adapter = self.api.llama_adapter_lora_init(self.model, str(path).encode())
        if not adapter:
            raise ValueError(f"llama.cpp cannot load the adapter {path}")
        adapters = (self.api.llama_adapter_lora_p_ctypes * 1)(adapter)
        scales = (ctypes.c_float * 1)(1.0)
        self.api.llama_set_adapters_lora(self.context, adapters, 1, scales)

    def logits(self, ids: list[int]) -> np.ndarray:
        """(len(ids), vocabulary) logits."""
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), True)
        batch = self.api.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.logits[i] = token, i, 1
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
        status = self.api.llama_decode(self.context, batch)
        self.api.llama_batch_free(batch)
        if status != 0:
            raise ValueError(f"llama_decode answered {status} for {len(ids)} tokens")
        pointer = self.api.llama_get_logits(self.context)
        return np.ctypeslib.as_array(pointer, (len(ids), self.size)).copy()


def compare(models: Path) -> list[Agreement]:
    """llama.cpp against the stored reference, model by model; needs no torch."""
    report = json.loads((models / REFERENCE).read_text(encoding="utf-8"))
    found = []
    for stage, stored in report["models"].items():
        path = models / f"tiny-{stage}-F16.gguf"
        if hashlib.sha256(path.read_bytes()).hexdigest() != stored["sha256"]:
            raise ValueError(f"{path} is not the file that {REFERENCE} is about; rerun `proof`")
        with Reader(path) as reader:
            found.append(_agreement(stage, reader, report["texts"], stored["rows"]))
    return found


def _agreement(stage: str, reader: Reader, texts: list[str], rows: list[dict]) -> Agreement:
    same_ids = positions = decided = same_top = 0
    largest = 0.0
    for text, row in zip(texts, rows, strict=True):
        same_ids += reader.tokenize(text) == row["ids"]
        logits = reader.logits(row["ids"])
        positions += len(logits)
        clear = np.ones(len(logits), bool)
        clear[row["undecided"]] = False
        decided += int(clear.sum())
        same_top += int((logits.argmax(1) == row["top"])[clear].sum())
        probed = logits[:, probes(row["ids"], reader.size)]
        top = logits[np.arange(len(logits)), row["top"]]
        largest = max(largest, float(np.abs(probed - row["probes"]).max()),
                      float(np.abs(top - row["top_logits"]).max()))  # fmt: skip
    return Agreement(stage, len(texts), same_ids, positions, decided, same_top, largest)
