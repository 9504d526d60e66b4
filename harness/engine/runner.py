"""The runner computes: one model, one context, prefill a chunk, decode one row per slot.

Everything that touches llama.cpp's decoding stands here; who gets which slot is decided elsewhere.
Native asserts cannot be caught, so this runs in a child process only.
"""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness import native
from harness.engine.vocabulary import Vocabulary
from harness.errors import EngineError, ModelInvalid, OutOfMemory, UnsupportedModel

_PAD = 256  # llama.cpp rounds a sequence's cells up to this, and attention's width with it
_FLASH_AUTO = -1
_POOLING_NONE = 0
_POOLED = ("1", "2", "3", "4")  # mean, CLS, last, rank
_LOGGED_SIZE = re.compile(r"^llama_(?:kv_cache|memory_recurrent)\w*: size = +([0-9.]+) MiB")


_NO_MEMORY = re.compile(
    r"(unable|failed|could not|cannot) to allocate|alloc\w* failed|out of (device )?memory"
    r"|OutOf(Device|Host)Memory|cudaMalloc failed|bad_alloc",
    re.IGNORECASE,
)
"""What llama.cpp and its backends log when memory, of the machine or a device, is short."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a context is made for: ``slots`` sequences of ``room`` tokens each.

    ``outputs`` is the most logit rows of one decode, ``batch`` the most tokens of one. ``unified``
    puts all sequences into one KV buffer: what they share is there once, and one decode may hold
    any number of tokens of each.
    """

    slots: int
    room: int
    batch: int
    outputs: int
    threads: int
    unified: bool = False


class Model:
    """A loaded GGUF file, with its adapter if there is one.

    Raises ModelInvalid when llama.cpp cannot read it and UnsupportedModel when it does not
    generate text token after token.
    """

    def __init__(
        self,
        path: Path,
        *,
        vocab_only: bool = False,
        n_gpu_layers: int = 0,
        device: int | None = None,
        adapter: tuple[Path, float] | None = None,
        repack: bool = True,
    ) -> None:
        self.low = low = native.load()
        self.n_gpu_layers = n_gpu_layers
        parameters = low.llama_model_default_params()
        parameters.vocab_only = vocab_only
        parameters.n_gpu_layers = n_gpu_layers
        parameters.use_extra_bufts = repack
        self._devices = _device_list(device) if device is not None else None
        if self._devices is not None:
            parameters.devices = ctypes.addressof(self._devices)
        native.forget_log()
        self.handle = low.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.handle:
            short = any(_NO_MEMORY.search(line) for line in native.log_tail(20))
            refusal = OutOfMemory if short else ModelInvalid
            raise refusal(f"llama.cpp cannot load {path.name}: {_last_log()}")
        self.vocabulary = Vocabulary(low, self.handle)
        self.n_ctx_train = int(low.llama_model_n_ctx_train(self.handle))
        self.adapter = None if vocab_only or adapter is None else self._load_adapter(*adapter)
        self._require_generator(path.name)

    @property
    def trimmable(self) -> bool:
        """Whether a sequence's memory can be cut back to a position (recurrent state cannot)."""
        return not (
            self.low.llama_model_is_recurrent(self.handle)
            or self.low.llama_model_is_hybrid(self.handle)
        )

    def close(self) -> None:
        """Unload the weights."""
        if self.handle:
            self.low.llama_model_free(self.handle)
            self.handle = None

    def _load_adapter(self, path: Path, scale: float) -> tuple[Any, float]:
        adapter = self.low.llama_adapter_lora_init(self.handle, str(path).encode())
        if not adapter:
            raise ModelInvalid(f"llama.cpp cannot load the adapter {path.name}: {_last_log()}")
        return adapter, scale

    def _require_generator(self, name: str) -> None:
        low, kind = self.low, self._metadata("general.architecture")
        reason = ""
        if not low.llama_model_has_decoder(self.handle):
            reason = "an encoder without a decoder"
        elif low.llama_model_has_encoder(self.handle):
            reason = "an encoder-decoder model"
        elif low.llama_model_is_diffusion(self.handle):
            reason = "a diffusion model"
        elif self._metadata(f"{kind}.pooling_type") in _POOLED or (
            self._metadata(f"{kind}.attention.causal") == "false"
        ):
            reason = "an embedding or reranking model"
        if reason:
            raise UnsupportedModel(
                f"{name} does not generate token after token: it is {reason}; "
                "choose a causal language model"
            )

    def _metadata(self, key: str) -> str:
        """What the file says under this key, empty when nothing."""
        room = ctypes.create_string_buffer(128)
        self.low.llama_model_meta_val_str(self.handle, key.encode(), room, len(room))
        return room.value.decode("utf-8", "replace")


class Runner:
    """One llama.cpp context, and the seconds spent in it."""

    def __init__(self, model: Model, shape: Shape) -> None:
        self.model, self.shape, self._low = model, shape, model.low
        self.seconds = 0.0
        self._greedy: list[Any] = []
        native.forget_log()
        self._context = self._low.llama_init_from_model(model.handle, self._parameters())
        self._made = native.log_tail(200)
        if not self._context:
            raise OutOfMemory(
                f"llama.cpp could not make a context of {shape.slots} × {shape.room} tokens: "
                f"{_last_log()}"
            )
        self._memory = self._low.llama_get_memory(self._context)
        self._require_generator()
        self._set_adapter()
        self._rows = _Rows(self._low, max(shape.batch, shape.slots))

    @property
    def context(self) -> Any:
        """The native context, for sampler chains."""
        return self._context

    @property
    def room(self) -> int:
        """Tokens one sequence can hold."""
        cells = int(self._low.llama_n_ctx(self._context))
        return cells // self.shape.slots

    def decode(
        self, tokens: Seq[int], positions: Seq[int], slots: Seq[int], outputs: Seq[bool]
    ) -> None:
        """Run one batch; raises EngineError when llama.cpp refuses it."""
        batch = self._rows.fill(tokens, positions, slots, outputs)
        start = time.perf_counter()
        status = self._low.llama_decode(self._context, batch)
        self._low.llama_synchronize(self._context)
        self.seconds += time.perf_counter() - start
        if status:
            raise EngineError(
                f"llama.cpp refused a batch of {len(tokens)} tokens ({status}): {_last_log()}"
            )

    def logits(self, rows: int) -> npt.NDArray[np.float32]:
        """The output rows of the last decode, ``[rows, n_vocab]``; gone with the next decode."""
        pointer = self._low.llama_get_logits(self._context)
        return np.ctypeslib.as_array(pointer, shape=(rows, self.model.vocabulary.size))

    def choose_on_device(self, wanted: bool) -> bool:
        """Let every slot's argmax run where the logits are, or bring the logits here again.

        On a GPU copying ``slots × n_vocab`` logits every step costs more than the decode of a
        small model. Returns whether the device chooses now.
        """
        low = self._low
        if wanted and not self._greedy:
            self._greedy = [
                low.llama_sampler_chain_init(low.llama_sampler_chain_default_params())
                for _ in range(self.shape.slots)
            ]
            for chain in self._greedy:
                low.llama_sampler_chain_add(chain, low.llama_sampler_init_greedy())
            taken = [
                low.llama_set_sampler(self._context, slot, chain)
                for slot, chain in enumerate(self._greedy)
            ]
            wanted = all(taken)
        if not wanted and self._greedy:
            for slot, chain in enumerate(self._greedy):
                low.llama_set_sampler(self._context, slot, None)
                low.llama_sampler_free(chain)
            self._greedy = []
        return wanted

    def chosen(self, row: int) -> int:
        """The token the device chose for a row of the last decode, negative when there is none."""
        return int(self._low.llama_get_sampled_token_ith(self._context, row))

    def trim(self, slot: int, length: int) -> None:
        """Forget a slot's tokens from position ``length`` on."""
        if not self._low.llama_memory_seq_rm(self._memory, slot, length if length else -1, -1):
            raise EngineError(f"this model's memory cannot be cut back to {length} tokens")

    def copy(self, source: int, target: int) -> None:
        """Replace a slot's memory by another's."""
        self._low.llama_memory_seq_rm(self._memory, target, -1, -1)
        self._low.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def clear(self) -> None:
        """Forget every slot's tokens."""
        self._low.llama_memory_clear(self._memory, False)

    def memory_size(self) -> int:
        """Bytes of the KV cache (or recurrent state), as llama.cpp logged them when making it."""
        sizes = [_LOGGED_SIZE.search(line) for line in self._made]
        return int(sum(float(found[1]) for found in sizes if found) * (1 << 20))

    def close(self) -> None:
        """Free the context and its KV cache."""
        if self._context:
            self.choose_on_device(False)
            self._low.llama_free(self._context)
            self._context = None

    def _parameters(self) -> Any:
        shape = self.shape
        parameters = self._low.llama_context_default_params()
        room = -(-shape.room // _PAD) * _PAD
        parameters.n_ctx = room * shape.slots
        parameters.n_seq_max = shape.slots
        parameters.n_batch = parameters.n_ubatch = max(shape.batch, shape.slots)
        parameters.n_outputs_max = max(shape.outputs, shape.slots)
        parameters.n_threads = parameters.n_threads_batch = shape.threads
        parameters.flash_attn_type = _FLASH_AUTO
        # With one KV buffer per sequence what a row computes never depends on where its neighbours'
        # tokens lie.
        parameters.kv_unified = shape.unified
        # A sliding-window cache that keeps only the window could not be cut back to a prefix.
        parameters.swa_full = True
        if self.model.n_gpu_layers == 0:
            # A GPU build would still send large batches to the device.
            parameters.op_offload = parameters.offload_kqv = False
        return parameters

    def _require_generator(self) -> None:
        low = self._low
        if (
            not self._memory
            or not low.llama_get_causal_attn(self._context)
            or low.llama_pooling_type(self._context) != _POOLING_NONE
        ):
            self.close()
            raise UnsupportedModel(
                "the model does not generate token after token: it is an embedding or reranking "
                "model; choose a causal language model"
            )

    def _set_adapter(self) -> None:
        if self.model.adapter is None:
            return
        adapter, scale = self.model.adapter
        adapters = (self._low.llama_adapter_lora_p_ctypes * 1)(adapter)
        scales = (ctypes.c_float * 1)(scale)
        if self._low.llama_set_adapters_lora(self._context, adapters, 1, scales):
            raise EngineError(f"llama.cpp could not apply the adapter: {_last_log()}")


class _Rows:
    """A ``llama_batch`` over numpy arrays, filled again for every decode.

    llama.cpp takes each token's sequence ids as a pointer: they point into one int32 array. It is
    never given to ``llama_batch_free``, which would free numpy's memory.
    """

    def __init__(self, low: Any, size: int) -> None:
        self._token = np.zeros(size, dtype=np.int32)
        self._position = np.zeros(size, dtype=np.int32)
        self._slot = np.zeros(size, dtype=np.int32)
        self._count = np.ones(size, dtype=np.int32)
        self._output = np.zeros(size, dtype=np.int8)
        step = self._slot.itemsize
        self._slots = self._slot.ctypes.data + step * np.arange(size, dtype=np.uintp)
        pointer = ctypes.POINTER
        self._batch = low.llama_batch(
            0,
            self._token.ctypes.data_as(pointer(low.llama_token)),
            None,
            self._position.ctypes.data_as(pointer(low.llama_pos)),
            self._count.ctypes.data_as(pointer(ctypes.c_int32)),
            self._slots.ctypes.data_as(pointer(pointer(low.llama_seq_id))),
            self._output.ctypes.data_as(pointer(ctypes.c_int8)),
        )

    def fill(
        self, tokens: Seq[int], positions: Seq[int], slots: Seq[int], outputs: Seq[bool]
    ) -> Any:
        size = len(tokens)
        self._token[:size] = tokens
        self._position[:size] = positions
        self._slot[:size] = slots
        self._output[:size] = outputs
        self._batch.n_tokens = size
        return self._batch


def _device_list(device: int) -> Any:
    """A NULL-terminated list of one device handle."""
    return (ctypes.c_void_p * 2)(native.device_handles()[device], None)


def _last_log() -> str:
    return " / ".join(line.strip() for line in native.log_tail(3)) or "it did not say why"
