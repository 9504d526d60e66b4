"""Make a level with llama.cpp's own quantizer, in a child process, all or nothing."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.atomic import replacing, write_text
from harness.errors import ModelInvalid, QuantizeError
from harness.hashing import canonical_json, tagged_hash
from harness.intake import meant, opened
from harness.models.digest import sha256_of
from harness.models.ggml import FILE_TYPES, LEVELS
from harness.models.inspect import inspect_model
from harness.models.levels import canonical_level
from harness.models.shards import unsharded
from harness.process import call, tell
from harness.records import ModelFile
from harness.resources import made_folder

_MADE_FROM = ("F32", "F16", "BF16")


def quantize(
    source: Path,
    level: str,
    *,
    imatrix: Path | None = None,
    out: Path | None = None,
    requantize: bool = False,
    threads: int | None = None,
    on_start: Callable[[], None] | None = None,
) -> Path:
    """The GGUF file that llama.cpp's quantizer makes of ``source`` at a level.

    ``out`` is a file or a folder; without it the result goes to the cache, under the source's
    digest. An identical result (same source bytes, level, importance matrix and llama.cpp build)
    is not made again; ``on_start`` is called when one has to be made. The file appears under its
    name only when it is complete and its header reads back: a killed run leaves a ``.part``
    that the next one removes. Raises QuantizeError; ``requantize`` permits a source that is
    quantized already.
    """
    number = _file_type(level)
    level = FILE_TYPES[number]
    model = inspect_model(source)
    if model.level.lstrip("~") not in _MADE_FROM and not requantize:
        raise QuantizeError(
            f"{source.name} is {model.level}: quantizing it again loses more than making {level} "
            "from an F16 file would; give an F16, BF16 or F32 file, or allow it with --requantize"
        )
    recipe = _recipe(model, level, imatrix)
    target = _target(model, level, out, recipe)
    if target.exists() and target.samefile(source):
        raise QuantizeError(f"the output {target} is the input itself; choose another -o")
    sidecar = target.with_name(f"{target.name}.json")
    if _is_made(target, sidecar, recipe):
        return target
    if target.exists() and not sidecar.exists():
        raise QuantizeError(
            f"{target} exists and was not made by `harness quantize`; move it or choose another -o"
        )
    if on_start:
        on_start()
    _make(model.path, target, sidecar, number, imatrix, recipe, threads)
    return target


def already_made(source: Path, level: str, *, imatrix: Path | None = None) -> Path | None:
    """The file that :func:`quantize` made of ``source`` before, None when it would make it now."""
    model = inspect_model(source)
    level = FILE_TYPES[_file_type(level)]
    recipe = _recipe(model, level, imatrix)
    target = _target(model, level, None, recipe)
    made = _is_made(target, target.with_name(f"{target.name}.json"), recipe)
    return target if made else None


def quantized_name(model: ModelFile, level: str) -> str:
    """``X-F16.gguf`` -> ``X-Q4_K_M.gguf``."""
    stem = unsharded(model.path.name).removesuffix(".gguf")
    own = model.level.lstrip("~")  # a level inferred from the tensors, not declared
    for ending in (own, own.lower()):
        for mark in "-.":
            stem = stem.removesuffix(f"{mark}{ending}")
    return f"{stem}-{level}.gguf"


def _file_type(level: str) -> int:
    number = LEVELS.get(canonical_level(level))
    if number is None:
        raise QuantizeError(
            f"no level {level!r}: llama.cpp makes {', '.join(sorted(LEVELS))}{meant(level, LEVELS)}"
        )
    return number


def _recipe(model: ModelFile, level: str, imatrix: Path | None) -> dict[str, Any]:
    """Everything that decides the bytes of the result."""
    from harness.native import LLAMA_VERSION, PACKAGE_VERSION

    return {
        "source": model.sha256,
        "level": level,
        "imatrix": _digest(imatrix) if imatrix else None,
        "llama": f"{PACKAGE_VERSION} {LLAMA_VERSION}",
    }


def _digest(imatrix: Path) -> str:
    with opened(imatrix, QuantizeError):  # a pipe would be waited for
        return sha256_of(imatrix)


def _target(model: ModelFile, level: str, out: Path | None, recipe: dict[str, Any]) -> Path:
    name = quantized_name(model, level)
    if out is None:
        made = tagged_hash("recipe", recipe)[:16]
        return made_folder("quantized") / model.sha256[:32] / made / name
    return out / name if out.is_dir() or out.suffix.lower() != ".gguf" else out


def _is_made(target: Path, sidecar: Path, recipe: dict[str, Any]) -> bool:
    """Whether the file is there, made by this recipe, and still has the bytes it was made with."""
    try:
        record = json.loads(sidecar.read_text(encoding="utf-8"))
        same = isinstance(record, dict) and record.get("recipe") == recipe
        return same and sha256_of(target) == record.get("sha256")
    except (OSError, ValueError, ModelInvalid):
        return False


def _make(
    source: Path,
    target: Path,
    sidecar: Path,
    number: int,
    imatrix: Path | None,
    recipe: dict[str, Any],
    threads: int | None,
) -> None:
    with replacing(target, QuantizeError) as draft:
        call(
            run_quantizer,
            str(source),
            str(draft),
            number,
            str(imatrix) if imatrix else None,
            threads or os.cpu_count() or 1,
            error=QuantizeError,
            doing=f"quantizing {source.name} to {recipe['level']}",
        )
        made = inspect_model(draft)
        # The record first, the name last: whatever has the name is complete, and a file whose
        # bytes do not match its record is made again.
        record = canonical_json({"recipe": recipe, "sha256": made.sha256})
        write_text(sidecar, record + "\n", QuantizeError)


def run_quantizer(source: str, draft: str, number: int, imatrix: str | None, threads: int) -> None:
    """The child's part: one call of ``llama_model_quantize``, with its log as the reason."""
    from harness import native

    low = native.load()
    parameters = low.llama_model_quantize_default_params()
    parameters.nthread = threads
    parameters.ftype = number
    parameters.allow_requantize = True  # the parent has asked; llama.cpp's default refuses
    kept: list[Any] = []
    if imatrix:
        from harness.models.imatrix.file import read_imatrix

        matrix = read_imatrix(Path(imatrix))
        rows = (low.llama_model_imatrix_data * (len(matrix.values) + 1))()
        for row, (name, values) in zip(rows, matrix.values.items(), strict=False):
            data = values.astype("<f4").tobytes()
            buffer = ctypes.create_string_buffer(data, len(data))
            kept += [name.encode("utf-8"), buffer]
            row.name = kept[-2]
            row.data = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_float))
            row.size = len(values)
        parameters.imatrix = rows
        overrides = _imatrix_notes(low, Path(imatrix).name, matrix.dataset, len(matrix.values))
        parameters.kv_overrides = overrides
        kept += [rows, overrides]
    tell("started")
    code = low.llama_model_quantize(
        source.encode("utf-8"), draft.encode("utf-8"), ctypes.byref(parameters)
    )
    if code != 0:
        # The exception's text is the last thing llama.cpp logs, in one of two wordings.
        lines = "\n".join(native.log_tail(10)).splitlines()
        said = [line.strip(" =") for line in lines if line.strip(" =")]
        raise QuantizeError(
            f"llama.cpp would not quantize {Path(source).name} to {FILE_TYPES[number]}: "
            f"{_plainly(said[-1] if said else 'it gave no reason', Path(draft).parent)}"
        )
    with Path(draft).open("rb+") as stream:
        os.fsync(stream.fileno())


def _plainly(said: str, folder: Path) -> str:
    """llama.cpp's reason; C++ says of a disk that is full no more than this."""
    if "iostream error" not in said:
        return said
    free = shutil.disk_usage(folder).free / 1e6
    return (
        f"the file cannot be written, {free:.1f} MB free in {folder}; free some space there, or "
        "choose another place"
    )


def _imatrix_notes(low: Any, name: str, dataset: str, entries: int) -> Any:
    """The metadata llama-quantize writes beside an importance matrix, as overrides."""
    text, integer = 3, 0  # LLAMA_KV_OVERRIDE_TYPE_STR, _INT
    notes: list[tuple[str, int, Any]] = [
        ("quantize.imatrix.file", text, name),
        ("quantize.imatrix.dataset", text, dataset or "unknown"),
        ("quantize.imatrix.entries_count", integer, entries),
    ]
    rows = (low.llama_model_kv_override * (len(notes) + 1))()  # a row with an empty key ends it
    for row, (key, kind, value) in zip(rows, notes, strict=False):
        row.key = key.encode("utf-8")
        row.tag = kind
        if kind == text:
            row.value.val_str = value.encode("utf-8")[:127]
        else:
            row.value.val_i64 = value
    return rows
