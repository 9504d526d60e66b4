"""Importance matrices: read llama.cpp's two formats, write the newer one.

An importance matrix holds, for every weight matrix and input column, the mean of the squared
activations that column is multiplied with; the quantizer weighs its rounding errors by it. The
GGUF form stores sums and counts (``X.in_sum2``, ``X.counts``), the older ``.dat`` means times a
call count. Formats: llama.cpp tools/imatrix/README.md and tools/quantize/quantize.cpp.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from harness.errors import QuantizeError
from harness.intake import opened

Floats = npt.NDArray[np.float32]

_MAX_ENTRIES = 1 << 16
_MAX_VALUES = 1 << 26


@dataclass(frozen=True)
class ImportanceMatrix:
    """Tensor name -> mean squared activation per input column (experts one after another)."""

    values: Mapping[str, Floats]
    dataset: str = ""
    chunks: int = 0


def read_imatrix(path: Path) -> ImportanceMatrix:
    """Read either format. Raises QuantizeError when the file is neither."""
    try:
        with opened(path, QuantizeError) as stream:
            magic = stream.read(4)
        matrix = _read_gguf(path) if magic == b"GGUF" else _read_dat(path)
    except (OSError, struct.error, ValueError, OverflowError) as error:
        raise QuantizeError(f"{path} is no importance matrix: {error}; make a new one") from error
    wrong = [name for name, values in matrix.values.items() if not np.isfinite(values).all()]
    if wrong or not matrix.values:
        what = f"{wrong[0]} holds values that are no numbers" if wrong else "it is empty"
        raise QuantizeError(f"{path} is no usable importance matrix: {what}; make a new one")
    return matrix


def write_imatrix(
    path: Path,
    sums: Mapping[str, npt.NDArray[np.float64]],
    counts: Mapping[str, npt.NDArray[np.int64]],
    *,
    datasets: Sequence[str],
    chunks: int,
    chunk_size: int,
) -> None:
    """Write the GGUF form: ``sums`` are [matrices, columns], ``counts`` [matrices] rows seen."""
    from gguf import GGUFWriter

    writer = GGUFWriter(path, arch="", use_temp_file=False)
    writer.kv_data[0].pop("general.architecture", None)
    writer.add_string("general.type", "imatrix")
    writer.add_array("imatrix.datasets", list(datasets))
    writer.add_uint32("imatrix.chunk_count", chunks)
    writer.add_uint32("imatrix.chunk_size", chunk_size)
    for name in sorted(sums):
        writer.add_tensor(f"{name}.in_sum2", sums[name].astype(np.float32))
        writer.add_tensor(f"{name}.counts", counts[name].astype(np.float32).reshape(-1, 1))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _read_gguf(path: Path) -> ImportanceMatrix:
    from harness.models.header import read_header

    header = read_header(path)
    if header.scalars.get("general.type") != "imatrix":
        raise ValueError("it is a GGUF file of another kind")
    found = {tensor.name: tensor for tensor in header.tensors}
    values: dict[str, Floats] = {}
    with path.open("rb") as stream:
        for name, tensor in found.items():
            if not name.endswith(".in_sum2") or tensor.type_name != "F32":
                continue
            stem = name.removesuffix(".in_sum2")
            count = found.get(f"{stem}.counts")
            if count is None or count.type_name != "F32":
                raise ValueError(f"{stem} has sums without counts")
            sums = _floats(stream, header.data_start + tensor.offset, tensor.elements)
            seen = _floats(stream, header.data_start + count.offset, count.elements)
            rows = sums.reshape(len(seen), -1)
            # An expert that no token reached says nothing: every column weighs the same.
            means = np.where(seen[:, None] > 0, rows / np.maximum(seen[:, None], 1), 1.0)
            values[stem] = means.astype(np.float32).reshape(-1)
    datasets = header.arrays.get("imatrix.datasets")
    first = header.string_at("imatrix.datasets", 0) if datasets and datasets.count else None
    chunks = header.scalars.get("imatrix.chunk_count", 0)
    return ImportanceMatrix(values, first or "", chunks if isinstance(chunks, int) else 0)


def _read_dat(path: Path) -> ImportanceMatrix:
    values: dict[str, Floats] = {}
    with path.open("rb") as stream:
        (entries,) = struct.unpack("<i", stream.read(4))
        if not 0 < entries <= _MAX_ENTRIES:
            raise ValueError(f"it announces {entries} entries")
        for _ in range(entries):
            name = _text(stream)
            calls, count = struct.unpack("<ii", stream.read(8))
            if not 0 < count <= _MAX_VALUES:
                raise ValueError(f"{name} announces {count} values")
            values[name] = _floats(stream, stream.tell(), count) / np.float32(max(calls, 1))
        rest = stream.read(4)
        chunks = struct.unpack("<i", rest)[0] if len(rest) == 4 else 0
        try:
            dataset = _text(stream) if rest else ""
        except (struct.error, ValueError):
            dataset = ""  # the oldest files end before the data set's name
    return ImportanceMatrix(values, dataset, chunks)


def _text(stream: IO[bytes]) -> str:
    (length,) = struct.unpack("<i", stream.read(4))
    if not 0 <= length <= 4096:
        raise ValueError(f"a name of {length} bytes")
    return stream.read(length).decode("utf-8")


def _floats(stream: IO[bytes], start: int, count: int) -> Any:
    stream.seek(start)
    data = stream.read(4 * count)
    if len(data) != 4 * count:
        raise ValueError("it is truncated")
    return np.frombuffer(data, dtype="<f4")
