"""How many cores to use, and what the child process may take."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from harness.process import cap

try:
    import resource
except ImportError:  # not on Windows: there the child runs without limits
    resource = None  # type: ignore[assignment]

_RESERVE = 256 << 20  # left to everything else on the machine


def physical_cores() -> int:
    """Physical cores this process may run on; two threads on one core slow llama.cpp down."""
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:  # not on this platform
        return max(1, os.cpu_count() or 1)
    cores = set()
    for cpu in allowed:
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text(encoding="ascii").strip())
        except OSError:
            cores.add(str(cpu))
    return max(1, len(cores))


def available_memory() -> int | None:
    """Bytes that can be allocated without swapping, as Linux estimates it; None elsewhere."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return found[0] * 1024 if found else None


def restrain(memory: int | None) -> None:
    """Keep this process from filling the machine's memory, writing files or dumping core.

    ``memory`` is how many bytes it may still allocate (what is available, less a reserve, when
    None); a mapped model file does not count. Beyond it an allocation fails, which is an error
    that can be planned around; without a limit the kernel would kill some process instead.
    """
    cap(CORE=0, FSIZE=0)
    if memory is None:
        available = available_memory()
        memory = None if available is None else max(available - _RESERVE, _RESERVE)
    used = _data_size()
    if memory is not None and used is not None:
        cap(DATA=used + memory)


def allocatable() -> int | None:
    """Bytes this process may still allocate: its own limit, or what the machine has; or unknown."""
    room = [available_memory()]
    if resource is not None:
        limit, used = resource.getrlimit(resource.RLIMIT_DATA)[0], _data_size()
        if limit != resource.RLIM_INFINITY and used is not None:
            room.append(limit - used)
    return min((size for size in room if size is not None), default=None)


def peak_memory() -> int | None:
    """The most bytes of memory this process has held, pages of mapped files included."""
    if (held := _status("VmHWM:")) is not None or resource is None:
        return held
    # Not on Linux, where it would count what the process was before it became this program.
    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else peak * 1024


def _data_size() -> int | None:
    """Bytes of private writable memory the process has mapped: what RLIMIT_DATA counts."""
    return _status("VmData:")


def _status(name: str) -> int | None:
    """A size that Linux tells of this process, in bytes; None elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), None)
