"""A worker that comes to grief on purpose: ``crashing_worker.py HOW ARGUMENT...``.

``abort KEY...`` dies like a native assert when it starts one of these requests, ``raise KEY...``
and ``memory KEY...`` run into an error there, ``always`` dies at any request; ``judge FILE`` dies
when it scores texts and the file is not there yet (which it then makes), ``judge`` always;
``start FILE`` does not start once the file is there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from harness.engine.worker import Worker, main
from harness.errors import EngineError

HOW, ARGUMENTS = sys.argv[1], sys.argv[2:]


def die() -> None:
    print("GGML_ASSERT(guilty) failed", file=sys.stderr, flush=True)
    os.abort()


class CrashingWorker(Worker):
    def tell(self, event: str, **values: Any) -> None:
        super().tell(event, **values)
        if event != "started" or (HOW != "always" and values["key"] not in ARGUMENTS):
            return
        if HOW in ("always", "abort"):
            die()
        if HOW == "raise":
            raise EngineError("llama_decode gave -3")
        if HOW == "memory":
            raise MemoryError

    def score(self, command: Any) -> None:
        if HOW == "judge" and not (ARGUMENTS and Path(ARGUMENTS[0]).exists()):
            if ARGUMENTS:
                Path(ARGUMENTS[0]).touch()
            die()
        super().score(command)


if __name__ == "__main__":
    if HOW == "start" and Path(ARGUMENTS[0]).exists():
        die()
    main(CrashingWorker)
