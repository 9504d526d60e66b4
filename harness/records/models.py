"""What answers: model files, adapters, and how an engine runs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.hashing import tagged_hash

Mode = Literal["exact", "fast", "remote"]
"""How far answers depend on the load: not at all, by rounding, or on what a server does."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A GGUF file whose header was read and whose bytes were digested.

    ``bits_per_weight`` is 8 × tensor bytes / elements over every tensor; ``tensor_types`` counts
    elements per GGML type; ``tokenizer_digest`` covers tokens, types, scores and merges;
    ``special`` maps a role (``bos eos eot fim_pre fim_suf fim_mid``) to its token's text. Of a
    model that is no file here (:meth:`named`) ``path`` is its name and what a header says unknown.
    """

    path: Path
    sha256: str
    size: int
    architecture: str
    parameters: int
    context_length: int
    tokenizer_digest: str
    chat_template: str | None
    bits_per_weight: float | None
    tensor_types: Mapping[str, int]
    special: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    level: str = ""
    source: str = ""

    @classmethod
    def named(cls, name: str, identity: str) -> ModelFile:
        """A model that a backend knows by name; ``identity`` is all that tells it from others."""
        digest = tagged_hash("model", [name, identity])
        return cls(Path(name), digest, 0, "", 0, 0, "", None, None, {})


@dataclass(frozen=True, slots=True)
class Adapter:
    """A GGUF LoRA adapter and the scale it is applied with."""

    path: Path
    sha256: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How to run the engine.

    ``width`` is the rows of every decode in exact mode, ``parallel`` how many of them may hold
    work, ``chunk`` the prefill chunk in tokens: chunks end at multiples of it, and exact mode
    shares prefixes in whole ones (64 prefills as fast as 256 on a CPU, and shares more).
    ``n_ctx`` are the tokens per sequence (0: what the requests need), ``threads`` 0: physical
    cores, ``n_gpu_layers`` -1: all. Of a server (mode ``remote``) only ``parallel``, the requests
    under way at once, and ``n_ctx`` are known.
    """

    mode: Mode = "exact"
    width: int = 16
    parallel: int = 16
    chunk: int = 64
    n_ctx: int = 0
    threads: int = 0
    n_gpu_layers: int = 0
    adapter: Adapter | None = None


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """Everything about the engine that could change a token; part of every request's key."""

    mode: Mode
    width: int
    chunk: int
    llama_build: str
    backend: str
    cpu_features: str
    n_gpu_layers: int
    adapter_sha256: str = ""
    adapter_scale: float = 1.0
