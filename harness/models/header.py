"""Read GGUF headers, bounded: no count or length is believed that the file is too short for.

Runs in a child process (:mod:`harness.models.inspect`). Vocabulary arrays are never walked element
by element in Python: the starts of a window's strings are found by pointer doubling over the
positions where a length could stand, a few numpy passes for hundreds of thousands of tokens.

Layout (ggml/docs/gguf.md): magic, version, tensor count, key-value count, the key-values, the
tensor descriptions, padding to the alignment, the tensor data.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from harness.errors import ModelInvalid
from harness.models.ggml import TYPES, tensor_bytes

_SCALARS: dict[int, tuple[str, str]] = {
    0: ("uint8", "<u1"),
    1: ("int8", "<i1"),
    2: ("uint16", "<u2"),
    3: ("int16", "<i2"),
    4: ("uint32", "<u4"),
    5: ("int32", "<i4"),
    6: ("float32", "<f4"),
    7: ("bool", "<u1"),
    10: ("uint64", "<u8"),
    11: ("int64", "<i8"),
    12: ("float64", "<f8"),
}
_STRING, _ARRAY = 8, 9
_DEFAULT_ALIGNMENT = 32
_MAX_KEYS = 1 << 16  # the largest published headers hold a few hundred
_MAX_TENSORS = 1 << 17  # the largest published models, a few thousand
_MAX_STRING = 1 << 26
_MAX_ELEMENT = 1 << 16  # bytes of one token or merge
_MAX_ELEMENTS = 1 << 24
_WINDOW = 1 << 22
_MAX_NAME = 64  # GGML_MAX_NAME, terminating zero included
_MIN_KEY_VALUE = 8 + 1 + 4 + 1
_MIN_TENSOR = 8 + 1 + 4 + 8 + 4 + 8

Starts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tensor:
    """One tensor's description; ``shape`` has the row length first, as ggml counts."""

    name: str
    shape: tuple[int, ...]
    type_id: int
    offset: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        product = 1
        for extent in self.shape:
            product *= extent
        return product

    @property
    def nbytes(self) -> int:
        """How many bytes it takes in the file, padding not counted."""
        return tensor_bytes(self.type_id, self.elements)

    @property
    def type_name(self) -> str:
        """``Q4_K`` and the like."""
        return TYPES[self.type_id][0]


@dataclass(frozen=True)
class Array:
    """An array left in the file: where it lies, its digest, and for strings where each begins."""

    type_name: str
    count: int
    start: int
    nbytes: int
    sha256: str
    starts: Starts | None = None


@dataclass(frozen=True)
class Header:
    """Everything a GGUF file says about itself before its weights."""

    path: Path
    size: int
    version: int
    scalars: dict[str, Any]
    arrays: dict[str, Array]
    tensors: tuple[Tensor, ...]
    data_start: int
    odd: list[str] = field(default_factory=list)

    def string_at(self, key: str, index: int) -> str | None:
        """Element ``index`` of a string array, None when there is none."""
        array = self.arrays.get(key)
        if array is None or array.starts is None or not 0 <= index < array.count:
            return None
        with self.path.open("rb") as stream:
            stream.seek(int(array.starts[index]))
            (length,) = struct.unpack("<Q", stream.read(8))
            return stream.read(length).decode("utf-8", "replace")

    def index_of(self, key: str, text: str) -> int | None:
        """The first element of a string array that equals ``text``."""
        array = self.arrays.get(key)
        if array is None or array.starts is None or not array.count:
            return None
        wanted = struct.pack("<Q", len(text.encode("utf-8"))) + text.encode("utf-8")
        ends = np.append(array.starts[1:], array.start + array.nbytes)
        fitting = np.flatnonzero(ends - array.starts == len(wanted))
        raw = np.frombuffer(self.raw(key), dtype=np.uint8)
        window = (array.starts[fitting] - array.start)[:, None] + np.arange(len(wanted))
        equal = (raw[window] == np.frombuffer(wanted, dtype=np.uint8)).all(axis=1)
        return int(fitting[equal][0]) if equal.any() else None

    def raw(self, key: str) -> bytes:
        """An array's bytes as they stand in the file."""
        array = self.arrays[key]
        with self.path.open("rb") as stream:
            stream.seek(array.start)
            return stream.read(array.nbytes)

    def numbers(self, key: str) -> list[Any]:
        """A numeric array's values."""
        array = self.arrays[key]
        dtype = dict(_SCALARS.values())[array.type_name]
        return list(np.frombuffer(self.raw(key), dtype=dtype).tolist())


def read_header(path: Path) -> Header:
    """The checked header of one GGUF file. Raises ModelInvalid with the first thing wrong."""
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise ModelInvalid(f"{path} is a folder, not a GGUF file; name a file inside it")
        if not path.is_file():
            raise ModelInvalid(f"{path} is no regular file; name a GGUF file")
        with path.open("rb") as stream:
            return _Reader(path, stream, size).read()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelInvalid(f"{path} cannot be read: {reason}; check the path") from error


class _Reader:
    """A position in one open file, and every check that moves it."""

    def __init__(self, path: Path, stream: IO[bytes], size: int) -> None:
        self.path = path
        self.stream = stream
        self.size = size
        self.at = 0
        self.where = "the header"
        self.odd: list[str] = []

    def read(self) -> Header:
        version = self._version()
        self.where = "the header"
        n_tensors = self._count("tensor", _MIN_TENSOR, _MAX_TENSORS)
        n_keys = self._count("metadata", _MIN_KEY_VALUE, _MAX_KEYS)
        scalars: dict[str, Any] = {}
        arrays: dict[str, Array] = {}
        for number in range(n_keys):
            self.where = f"metadata entry {number + 1} of {n_keys}"
            key = self._string()
            if key in scalars or key in arrays:
                raise self._bad(f"metadata key {key!r} stands there twice")
            self.where = f"metadata {key!r}"
            self._value(key, scalars, arrays)
        alignment = self._alignment(scalars)
        tensors = []
        for number in range(n_tensors):
            self.where = f"tensor description {number + 1} of {n_tensors}"
            tensors.append(self._tensor())
        data_start = -(-self.at // alignment) * alignment
        self._check_layout(tensors, data_start, alignment)
        return Header(
            path=self.path,
            size=self.size,
            version=version,
            scalars=scalars,
            arrays=arrays,
            tensors=tuple(tensors),
            data_start=data_start,
            odd=self.odd,
        )

    def _bad(self, what: str) -> ModelInvalid:
        return ModelInvalid(
            f"{self.path} is no usable GGUF file: {what}; fetch or convert the file again"
        )

    def _version(self) -> int:
        self.where = "the magic"
        if self.size == 0:
            raise self._bad("it is empty (0 bytes)")
        magic = self.stream.read(4)
        if magic != b"GGUF":
            raise self._bad(f"it begins with {magic!r} where 'GGUF' should stand")
        self.at = 4
        version = self._number("<u4")
        if version and version & 0xFFFF == 0:
            raise self._bad("it is big-endian, this machine reads little-endian")
        if version not in (2, 3):
            raise self._bad(f"GGUF version {version} is unknown (2 and 3 are read)")
        return int(version)

    def _take(self, count: int) -> bytes:
        if count > self.size - self.at:
            raise self._bad(
                f"{self.where} wants {count} bytes at {self.at}, the file has {self.size}: "
                "truncated"
            )
        data = self.stream.read(count)
        self.at += count
        if len(data) != count:
            raise self._bad(f"it shrank while it was read, in {self.where}")
        return data

    def _number(self, dtype: str) -> Any:
        return np.frombuffer(self._take(np.dtype(dtype).itemsize), dtype=dtype)[0].item()

    def _count(self, of: str, smallest: int, most: int) -> int:
        count = int(self._number("<u8"))
        if count > min(most, (self.size - self.at) // smallest):
            raise self._bad(f"its {of} count {count} is absurd for {self.size} bytes")
        return count

    def _string(self) -> str:
        length = int(self._number("<u8"))
        if length > min(_MAX_STRING, self.size):
            raise self._bad(f"{self.where}: string length {length} is absurd for {self.size} bytes")
        data = self._take(length)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._bad(
                f"{self.where} is not UTF-8 (byte {error.start} of a string)"
            ) from error

    def _value(self, key: str, scalars: dict[str, Any], arrays: dict[str, Array]) -> None:
        kind = self._number("<u4")
        if kind == _STRING:
            scalars[key] = self._string()
        elif kind in _SCALARS:
            value = self._number(_SCALARS[kind][1])
            scalars[key] = bool(value) if kind == 7 else value
        elif kind == _ARRAY:
            arrays[key] = self._array()
        else:
            raise self._bad(f"{self.where} has the unknown type {kind}")

    def _array(self) -> Array:
        kind = self._number("<u4")
        count = int(self._number("<u8"))
        width = 8 if kind == _STRING else None
        if kind in _SCALARS:
            width = np.dtype(_SCALARS[kind][1]).itemsize
        if width is None:
            raise self._bad(f"{self.where} is an array of the unknown or nested type {kind}")
        if count > min(_MAX_ELEMENTS, (self.size - self.at) // width):
            raise self._bad(f"{self.where}: array length {count} is absurd for {self.size} bytes")
        start = self.at
        digest = hashlib.sha256()
        starts = None
        if kind == _STRING:
            starts = self._skip_strings(count, digest)
        else:
            for chunk in range(0, count * width, _WINDOW):
                digest.update(self._take(min(_WINDOW, count * width - chunk)))
        name = "string" if kind == _STRING else _SCALARS[kind][0]
        return Array(name, count, start, self.at - start, digest.hexdigest(), starts)

    def _skip_strings(self, count: int, digest: Any) -> Starts:
        """Move past ``count`` length-prefixed strings; returns where each begins in the file."""
        found: list[Starts] = []
        missing = count
        while missing:
            window = self._peek(_WINDOW)
            starts, end = _strings(window, missing)
            if len(starts) == 0:
                raise self._bad(
                    f"{self.where}: the string at byte {self.at} (element {count - missing} of "
                    f"{count}) has an absurd length or is cut off"
                )
            digest.update(window[:end])
            found.append(starts + self.at)
            missing -= len(starts)
            self.at += end
            self.stream.seek(self.at)
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)

    def _peek(self, most: int) -> bytes:
        return self.stream.read(min(most, self.size - self.at))

    def _alignment(self, scalars: dict[str, Any]) -> int:
        alignment = scalars.get("general.alignment", _DEFAULT_ALIGNMENT)
        fine = isinstance(alignment, int) and 0 < alignment <= 1 << 20
        if not fine or alignment & (alignment - 1):
            raise self._bad(f"general.alignment is {alignment!r}, not a power of two")
        return int(alignment)

    def _tensor(self) -> Tensor:
        name = self._string()
        if not name or len(name.encode("utf-8")) >= _MAX_NAME:
            raise self._bad(f"{self.where} has a name of {len(name)} characters (1 to 63 allowed)")
        self.where = f"tensor {name!r}"
        dimensions = self._number("<u4")
        if not 1 <= dimensions <= 4:
            raise self._bad(f"{self.where} has {dimensions} dimensions (1 to 4 allowed)")
        shape = tuple(int(self._number("<u8")) for _ in range(dimensions))
        type_id = self._number("<u4")
        offset = int(self._number("<u8"))
        if type_id not in TYPES:
            raise self._bad(f"{self.where} has the unknown type {type_id}")
        tensor = Tensor(name, shape, type_id, offset)
        if min(shape) < 1 or max(shape) >= 1 << 48 or tensor.elements >= 1 << 48:
            raise self._bad(f"{self.where} has the absurd shape {list(shape)}")
        type_name, block, _ = TYPES[type_id]
        if shape[0] % block:
            raise self._bad(
                f"{self.where} has rows of {shape[0]} elements, no multiple of {type_name}'s "
                f"{block}"
            )
        return tensor

    def _check_layout(self, tensors: list[Tensor], data_start: int, alignment: int) -> None:
        """Tensors follow one another without gap or overlap (as ggml demands) and all are there."""
        names: set[str] = set()
        expected = 0
        for tensor in tensors:
            if tensor.name in names:
                raise self._bad(f"tensor {tensor.name!r} is described twice")
            names.add(tensor.name)
            if tensor.offset % alignment:
                raise self._bad(
                    f"tensor {tensor.name!r} lies at {tensor.offset}, not aligned to {alignment}"
                )
            if tensor.offset != expected:
                raise self._bad(
                    f"tensor {tensor.name!r} lies at {tensor.offset} where {expected} follows from "
                    "the tensors before it (overlap or gap)"
                )
            end = data_start + expected + tensor.nbytes
            if end > self.size:
                raise self._bad(
                    f"tensor {tensor.name!r} needs bytes up to {end}, the file has {self.size}: "
                    "truncated"
                )
            expected += -(-tensor.nbytes // alignment) * alignment
        if self.size > data_start + expected and tensors:
            extra = self.size - data_start - expected
            self.odd.append(f"{extra} bytes follow the last tensor")


def _strings(window: bytes, most: int) -> tuple[Starts, int]:
    """Where the length-prefixed strings that lie whole inside a window start, and where they end.

    Takes at most ``most`` of them, the first at 0; one of 64 KiB or more ends the row.

    >>> _strings(struct.pack("<Q2sQ3s", 2, b"ab", 3, b"cde"), 9)[0].tolist()
    [0, 10]
    """
    starts: list[int] = []
    at, last = 0, len(window) - 8
    length_at = struct.Struct("<Q").unpack_from
    while len(starts) < most and at <= last:
        length = length_at(window, at)[0]
        end = at + 8 + length
        if length >= _MAX_ELEMENT or end > len(window):
            break
        starts.append(at)
        at = end
    return np.array(starts, dtype=np.int64), at
