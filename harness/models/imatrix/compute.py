"""Compute an importance matrix: watch what flows into every weight matrix while prompts are read.

llama.cpp calls back for each node of its graph; at every matrix product with a weight the input
(``src[1]``, F32) is squared and summed per column. That is what llama.cpp's own ``llama-imatrix``
collects, over a suite's prompts instead of a text file. Runs on the CPU, in a child process: the
tensors are read through their addresses, and a mistake there is a crash.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.atomic import replacing
from harness.errors import QuantizeError
from harness.models.imatrix.file import write_imatrix
from harness.models.inspect import inspect_model
from harness.process import call, tell

_F32 = 0
_LONGEST = 512  # llama-imatrix takes as many tokens at a time


class _Tensor(ctypes.Structure):
    """``struct ggml_tensor`` of the pinned build (ggml.h); a test checks what it reads."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
    )


def compute_imatrix(
    model: Path,
    texts: Sequence[str],
    out: Path,
    *,
    dataset: str,
    threads: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Path:
    """Write the importance matrix of a model over texts; returns ``out``.

    Each text is read alone, up to 512 tokens of it. ``on_progress`` gets the number of texts
    read. The file appears when it is complete. Raises QuantizeError.
    """
    file = inspect_model(model, sha256=False)
    if not texts:
        raise QuantizeError(f"{dataset} has no prompts to compute an importance matrix over")
    if out.exists() and out.samefile(file.path):
        raise QuantizeError(f"the output {out} is the model itself; choose another -o")
    with replacing(out, QuantizeError) as draft:
        call(
            collect,
            str(file.path),
            list(texts),
            str(draft),
            dataset,
            threads or os.cpu_count() or 1,
            error=QuantizeError,
            doing=f"computing the importance matrix of {file.path.name}",
            on_event=on_progress,
        )
    return out


def collect(path: str, texts: list[str], draft: str, dataset: str, threads: int) -> None:
    """The child's part: load, read every text with the watcher in place, write."""
    from harness import native

    low = native.load()
    watcher = _Watcher()
    callback = low.ggml_backend_sched_eval_callback(watcher)
    model_parameters = low.llama_model_default_params()
    model_parameters.n_gpu_layers = 0
    model_parameters.use_extra_bufts = False
    model = low.llama_model_load_from_file(path.encode("utf-8"), model_parameters)
    if not model:
        reason = next(reversed(native.log_tail(5)), "no reason given")
        raise QuantizeError(f"llama.cpp cannot load {Path(path).name}: {reason}")
    vocabulary = low.llama_model_get_vocab(model)
    prompts = [_tokens(low, vocabulary, text) for text in texts]
    longest = max(map(len, prompts))
    parameters = low.llama_context_default_params()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = longest + 1
    parameters.n_outputs_max_per_seq = longest
    parameters.n_threads = parameters.n_threads_batch = threads
    parameters.offload_kqv = parameters.op_offload = False
    parameters.cb_eval = callback
    context = low.llama_init_from_model(model, parameters)
    if not context:
        reason = next(reversed(native.log_tail(5)), "no reason given")
        raise QuantizeError(f"no context of {longest} tokens for {Path(path).name}: {reason}")
    for number, tokens in enumerate(prompts):
        low.llama_memory_clear(low.llama_get_memory(context), True)
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        batch = low.llama_batch_get_one(array, len(tokens))
        # Every row is an output: the last block would otherwise see the last token alone.
        batch.logits = (ctypes.c_int8 * len(tokens))(*[1] * len(tokens))
        code = low.llama_decode(context, batch)
        if watcher.error:
            raise QuantizeError(f"prompt {number + 1}: {watcher.error}") from watcher.error
        if code != 0:
            raise QuantizeError(f"llama.cpp cannot read prompt {number + 1} of {dataset} ({code})")
        tell(number + 1)
    if not watcher.sums:
        raise QuantizeError(f"{Path(path).name} multiplies with no weight that could be watched")
    write_imatrix(
        Path(draft),
        watcher.sums,
        watcher.counts,
        datasets=[dataset],
        chunks=len(prompts),
        chunk_size=longest,
    )


def _tokens(low: Any, vocabulary: Any, text: str) -> list[int]:
    data = text.encode("utf-8")
    room = (ctypes.c_int32 * (len(data) + 8))()
    count = low.llama_tokenize(vocabulary, data, len(data), room, len(room), True, False)
    if count <= 0:
        raise QuantizeError("a prompt of the suite has no tokens")
    return list(room[: min(count, _LONGEST)])


class _Watcher:
    """The callback: sums of squares per weight and column, and rows seen per matrix."""

    def __init__(self) -> None:
        self.sums: dict[str, npt.NDArray[np.float64]] = {}
        self.counts: dict[str, npt.NDArray[np.int64]] = {}
        self.error: Exception | None = None
        self.names: dict[int, str] = {}

    def __call__(self, address: int, ask: bool, _: object) -> bool:
        """Say which nodes to see (``ask``), then read the inputs of one that was computed."""
        try:
            node = _Tensor.from_address(address)
            weight = _weight(node)
            if ask:
                return weight is not None and self._is_product(node, weight)
            if weight is not None:
                self._add(node, weight)
            return True
        except Exception as error:  # an exception cannot cross C: told after the decode
            self.error = error
            return False

    def _is_product(self, node: _Tensor, weight: _Tensor) -> bool:
        inputs = _Tensor.from_address(node.src[1]) if node.src[1] else None
        return inputs is not None and inputs.type == _F32 and inputs.ne[0] == weight.ne[0]

    def _add(self, node: _Tensor, weight: _Tensor) -> None:
        name = weight.name.decode("utf-8")
        inputs = _rows(_Tensor.from_address(node.src[1]), np.dtype(np.float32))
        squares = np.square(inputs, dtype=np.float64)
        matrices, columns = int(weight.ne[2] * weight.ne[3]), int(weight.ne[0])
        sums = self.sums.setdefault(name, np.zeros((matrices, columns)))
        counts = self.counts.setdefault(name, np.zeros(matrices, dtype=np.int64))
        if not node.src[2]:
            if matrices != 1:
                raise QuantizeError(f"{name}: stacked weights without expert ids are not known")
            sums[0] += squares.reshape(-1, columns).sum(axis=0)
            counts[0] += squares.size // columns
            return
        # Experts: ids is [tokens, used]; inputs [tokens, used or 1, columns].
        ids = _rows(_Tensor.from_address(node.src[2]), np.dtype(np.int32))[0, 0]
        rows = np.broadcast_to(squares[0], (*ids.shape, columns))
        np.add.at(sums, ids.reshape(-1), rows.reshape(-1, columns))
        np.add.at(counts, ids.reshape(-1), 1)


def _weight(node: _Tensor) -> _Tensor | None:
    """The weight a node multiplies with: a matrix of a block, as llama-imatrix takes them."""
    if not node.src[0] or not node.src[1]:
        return None
    weight = _Tensor.from_address(node.src[0])
    name = weight.name
    if not (name.startswith(b"blk.") and name.endswith(b".weight")) or weight.ne[1] < 2:
        return None
    return weight


def _rows(tensor: _Tensor, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """A tensor's values in host memory as [ne3, ne2, ne1, ne0], whatever its strides."""
    shape = tuple(int(extent) for extent in reversed(tensor.ne))
    strides = tuple(int(stride) for stride in reversed(tensor.nb))
    extent = sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + dtype.itemsize
    buffer = memoryview((ctypes.c_char * extent).from_address(tensor.data))
    rows: npt.NDArray[Any] = np.ndarray(shape, dtype=dtype, buffer=buffer, strides=strides)
    return rows
