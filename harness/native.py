"""The one door to llama.cpp: load the bindings, refuse a wrong build, say what it runs on.

Nothing here is imported by ``harness --help``: the library is loaded on the first call of
:func:`load`, in the parent (``harness doctor``) as well as in the engine's child processes.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import re
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.errors import EngineError

PACKAGE_VERSION = "0.3.36"
"""The llama-cpp-python release whose C structures the engine was written against."""

LLAMA_VERSION = "0.5.0-dev"
"""What ``llama_version()`` of that release's vendored llama.cpp answers."""

# Default parameters as that llama.cpp sets them. A library whose structures are laid out in
# another way reads back other values: better refused here than a crash, or wrong text, later.
_MODEL_DEFAULTS: Mapping[str, object] = {
    "n_gpu_layers": -1,
    "split_mode": 1,
    "load_mode": -1,
    "lazy_mode": 1,
    "main_gpu": 0,
    "vocab_only": False,
    "check_tensors": False,
    "use_extra_bufts": True,
    "no_host": False,
    "no_alloc": False,
    "load_mtp": False,
}
_CONTEXT_DEFAULTS: Mapping[str, object] = {
    "n_ctx": 512,
    "n_batch": 2048,
    "n_ubatch": 512,
    "n_seq_max": 1,
    "n_outputs_max_per_seq": 1,
    "rope_scaling_type": -1,
    "flash_attn_type": -1,
    "yarn_ext_factor": -1.0,
    "defrag_thold": -1.0,
    "type_k": 1,
    "type_v": 1,
    "embeddings": False,
    "offload_kqv": True,
    "no_perf": True,
    "op_offload": True,
    "swa_full": True,
    "kv_unified": False,
    "n_samplers": 0,
}

_DEVICE_KINDS = {0: "cpu", 1: "gpu", 2: "igpu", 3: "accelerator", 4: "meta"}
_LOG_LEVEL_DEBUG = 1  # ggml.h; llama-cpp-python's own list is of an older order
_LOG_LEVEL_CONTINUE = 5

_log: deque[str] = deque(maxlen=2000)
_kept: list[Any] = []  # ctypes callbacks die with their Python object: these must not


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """Which llama.cpp this is; every field could change a token, so all of it is recorded.

    ``llama_build`` joins llama.cpp's and ggml's version and commit; ``backend`` is the kind of
    device that layers are offloaded to (``CUDA``, ``Metal``, ``Vulkan``) or ``CPU``.
    """

    package: str
    llama_build: str
    backend: str
    cpu_features: str
    supports_gpu_offload: bool


@dataclass(frozen=True, slots=True)
class Device:
    """One compute device as ggml sees it; memory in bytes (0 where the backend cannot tell).

    ``kind`` is ``cpu``, ``gpu``, ``igpu`` or ``accelerator``; ``backend`` names its driver.
    """

    name: str
    description: str
    kind: str
    backend: str
    total_memory: int
    free_memory: int


@lru_cache(maxsize=1)
def load() -> Any:
    """Import llama-cpp-python's low-level module once, quiet and checked.

    Raises EngineError when the package is missing, does not load on this machine, or is not the
    pinned build.
    """
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")  # an assert would otherwise start gdb
    try:
        low = _low_level()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise EngineError(
            f"llama-cpp-python {PACKAGE_VERSION} was asked for, it does not load ({error}); "
            "run `make setup`"
        ) from error
    _keep_log(low)
    _require_pinned(low)
    low.llama_backend_init()
    return low


def _low_level() -> Any:
    """``llama_cpp.llama_cpp`` without what its package imports first and nothing here uses.

    That (chat formats, grammars, a disk cache) is a quarter of what a child process takes to start.
    Whoever imports ``llama_cpp`` later gets the whole of it, on the same library.
    """
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or "llama_cpp" in sys.modules:
        return importlib.import_module("llama_cpp.llama_cpp")
    sys.modules["llama_cpp"] = importlib.util.module_from_spec(spec)  # never executed
    try:
        return importlib.import_module("llama_cpp.llama_cpp")
    finally:
        del sys.modules["llama_cpp"]


def _package_version() -> str:
    """What the package calls itself, read from its file: importing it is what is avoided."""
    spec = importlib.util.find_spec("llama_cpp")
    source = Path(spec.origin).read_text("utf-8") if spec and spec.origin else ""
    said = re.search(r'^__version__ = "([^"]*)"', source, re.MULTILINE)
    return said[1] if said else "of no version"


def build_info() -> BuildInfo:
    """The loaded llama.cpp's versions, backend and CPU features."""
    low = load()
    offload = bool(low.llama_supports_gpu_offload())
    return BuildInfo(
        package=f"llama-cpp-python {PACKAGE_VERSION}",
        llama_build=f"llama.cpp {LLAMA_VERSION}, ggml {_text('ggml_version')} "
        f"{_text('ggml_commit')}",
        backend=_backend_name() if offload else "CPU",
        cpu_features=low.llama_print_system_info().decode("utf-8", "replace").strip(" |"),
        supports_gpu_offload=offload,
    )


def devices() -> tuple[Device, ...]:
    """Every device of the loaded library with its memory; opens each GPU to ask."""
    return tuple(_describe(handle) for handle in device_handles())


def log_tail(lines: int = 20) -> tuple[str, ...]:
    """The last lines llama.cpp logged in this process (it prints nothing by itself)."""
    return tuple(list(_log)[-lines:])


def forget_log() -> None:
    """Empty the log, so that what follows can be told from what came before."""
    _log.clear()


def device_handles() -> list[int]:
    """ggml's own handles of the devices, in order; what ``llama_model_params.devices`` takes."""
    load()
    count = _function("ggml_backend_dev_count", ctypes.c_size_t)()
    get = _function("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
    return [int(get(index)) for index in range(count)]


def device_name(handle: int) -> str:
    """What ggml calls a device (``CUDA0``); opens nothing."""
    return _text("ggml_backend_dev_name", handle)


def device_kind(handle: int) -> str:
    """``cpu``, ``gpu``, ``igpu`` or ``accelerator``; opens nothing."""
    kind = _function("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)(handle)
    return _DEVICE_KINDS.get(kind, "unknown")


def _describe(handle: int) -> Device:
    free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
    _function("ggml_backend_dev_memory", None, *[ctypes.c_void_p] * 3)(
        handle, ctypes.addressof(free), ctypes.addressof(total)
    )
    return Device(
        name=device_name(handle),
        description=_text("ggml_backend_dev_description", handle),
        kind=device_kind(handle),
        backend=_registry_name(handle),
        total_memory=total.value,
        free_memory=free.value,
    )


def _backend_name() -> str:
    """The driver of the first GPU; a build with GPU support but no GPU at hand runs on the CPU."""
    for handle in device_handles():
        if device_kind(handle) in ("gpu", "igpu"):
            return _registry_name(handle)
    return "CPU"


def _registry_name(handle: int) -> str:
    registry = _function("ggml_backend_dev_backend_reg", ctypes.c_void_p, ctypes.c_void_p)(handle)
    return _text("ggml_backend_reg_name", registry)


def _require_pinned(low: Any) -> None:
    package = _package_version()
    version = low.llama_version().decode("utf-8", "replace")
    if (package, version) != (PACKAGE_VERSION, LLAMA_VERSION):
        raise EngineError(
            f"llama-cpp-python {PACKAGE_VERSION} with llama.cpp {LLAMA_VERSION} was asked for, "
            f"found {package} with {version}; run `make setup`"
        )
    for parameters, expected in (
        (low.llama_model_default_params(), _MODEL_DEFAULTS),
        (low.llama_context_default_params(), _CONTEXT_DEFAULTS),
    ):
        for name, value in expected.items():
            found = getattr(parameters, name)
            if found != value:
                raise EngineError(
                    f"llama.cpp's default {name} should read back as {value}, found {found}: the "
                    "library does not belong to these bindings; run `make setup`"
                )


def _keep_log(low: Any) -> None:
    """Send llama.cpp's log to the ring buffer instead of stderr."""

    def keep(level: int, text: bytes, _: object) -> None:
        if level == _LOG_LEVEL_DEBUG:
            return
        line = text.decode("utf-8", "replace").rstrip("\n")
        if level == _LOG_LEVEL_CONTINUE and _log:
            _log[-1] += line
        elif line:
            _log.append(line)

    callback = low.llama_log_callback(keep)
    _kept.append(callback)
    low.llama_log_set(callback, ctypes.c_void_p(0))


@lru_cache(maxsize=1)
def _libraries() -> tuple[ctypes.CDLL, ...]:
    """libggml-base and libggml, which libllama has already brought in, wherever they lie."""
    low = load()
    folder = Path(low._lib._name).parent
    found = []
    for stem in ("ggml-base", "ggml"):
        names = (f"lib{stem}.so", f"lib{stem}.dylib", f"{stem}.dll", f"lib{stem}.dll")
        found += [ctypes.CDLL(str(folder / n)) for n in names if (folder / n).is_file()][:1]
    return (*found, low._lib)


@lru_cache(maxsize=64)
def _function(name: str, result: Any, *arguments: Any) -> Any:
    """A C function of ggml that the bindings leave out, with its types set."""
    for library in _libraries():
        function = getattr(library, name, None)
        if function is not None:
            function.restype = result
            function.argtypes = list(arguments)
            return function
    raise EngineError(f"llama.cpp has no {name} here; run `make setup`")


def _text(name: str, *arguments: int) -> str:
    types = [ctypes.c_void_p] * len(arguments)
    found = _function(name, ctypes.c_char_p, *types)(*arguments)
    return found.decode("utf-8", "replace") if found else ""
