"""GGUF files written byte by byte, so that each byte can be wrong on purpose."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10
TOKENS = ("<s>", "</s>", "a", "b", "ab", "<|im_end|>", "é", "日本")

KeyValue = tuple[str, bytes]


def text(value: str | bytes) -> bytes:
    data = value if isinstance(value, bytes) else value.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def string(key: str, value: str | bytes) -> KeyValue:
    return key, struct.pack("<I", STRING) + text(value)


def u32(key: str, value: int) -> KeyValue:
    return key, struct.pack("<II", U32, value)


def strings(key: str, values: Sequence[str]) -> KeyValue:
    head = struct.pack("<IIQ", ARRAY, STRING, len(values))
    return key, head + b"".join(text(value) for value in values)


def int32s(key: str, values: Sequence[int]) -> KeyValue:
    return key, struct.pack(f"<IIQ{len(values)}i", ARRAY, I32, len(values), *values)


def metadata(**changes: KeyValue | None) -> list[KeyValue]:
    """The entries of a small llama; ``changes`` replace one (by its last word) or drop it."""
    entries = {
        "architecture": string("general.architecture", "llama"),
        "file_type": u32("general.file_type", 0),
        "context_length": u32("llama.context_length", 64),
        "embedding_length": u32("llama.embedding_length", 32),
        "block_count": u32("llama.block_count", 1),
        "model": string("tokenizer.ggml.model", "gpt2"),
        "tokens": strings("tokenizer.ggml.tokens", TOKENS),
        "token_type": int32s("tokenizer.ggml.token_type", [3, 3, 1, 1, 1, 3, 1, 1]),
        "merges": strings("tokenizer.ggml.merges", ["a b"]),
        "bos": u32("tokenizer.ggml.bos_token_id", 0),
        "eos": u32("tokenizer.ggml.eos_token_id", 1),
    }
    for name, entry in changes.items():
        if entry is None:
            del entries[name]
        else:
            entries[name] = entry
    return list(entries.values())


def tensor(
    name: str,
    shape: Sequence[int],
    offset: int,
    *,
    kind: int = 0,
    dimensions: int | None = None,
) -> bytes:
    head = text(name) + struct.pack("<I", len(shape) if dimensions is None else dimensions)
    return head + struct.pack(f"<{len(shape)}QIQ", *shape, kind, offset)


TENSORS = (tensor("token_embd.weight", (32, 8), 0), tensor("blk.0.attn_q.weight", (32, 32), 1024))
DATA = 1024 + 4096


def gguf(
    entries: Sequence[KeyValue] | None = None,
    tensors: Sequence[bytes] = TENSORS,
    *,
    data: int = DATA,
    magic: bytes = b"GGUF",
    version: int = 3,
    n_tensors: int | None = None,
    n_entries: int | None = None,
    alignment: int = 32,
) -> bytes:
    entries = metadata() if entries is None else entries
    head = magic + struct.pack(
        "<IQQ",
        version,
        len(tensors) if n_tensors is None else n_tensors,
        len(entries) if n_entries is None else n_entries,
    )
    head += b"".join(text(key) + value for key, value in entries) + b"".join(tensors)
    return head + bytes(-len(head) % alignment) + bytes(range(256)) * (data // 256)


# Level -> general.file_type, and the type its rows of 32 are stored in with the bytes of a block.
_LEVELS = {"Q8_0": (7, 8, 34), "Q4_K_M": (15, 6, 22), "F32": (0, 0, 128)}


def of_level(
    level: str, *, extra: int = 0, entries: Sequence[KeyValue] = (), holds: str | None = None
) -> bytes:
    """The small llama at a level, with the tensors of ``holds`` and ``extra`` bytes behind."""
    number = _LEVELS[level][0]
    _, kind, block = _LEVELS[holds or level]
    second = -(-8 * block // 32) * 32
    tensors = (
        tensor("token_embd.weight", (32, 8), 0, kind=kind),
        tensor("blk.0.attn_q.weight", (32, 32), second, kind=kind),
    )
    data = -(-(second + 32 * block) // 256) * 256
    own = metadata(file_type=u32("general.file_type", number))
    return gguf([*own, *entries], tensors, data=data + extra)


def write(path: Path, content: bytes | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gguf() if content is None else content)
    return path
