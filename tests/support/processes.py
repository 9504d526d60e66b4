"""What tests ask of processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def heed_interrupts() -> None:
    """A shell's background job ignores Ctrl-C, and so would everything it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def exists(pid: int) -> bool:
    """Whether a process lives; one that ended and nobody waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
        return state != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it ended before, or while it was read
        if Path("/proc").is_dir():
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
