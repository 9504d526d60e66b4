"""Real servers of the bundled models, as processes of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.support.command import ROOT

MODELS = ROOT / "models"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[object], port: int, log: Path) -> Iterator[str]:
    """Start a server, wait until it lists its model, end it."""
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen([*map(str, command)], stdout=output, stderr=output, cwd=ROOT)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                with urlopen(f"{url}/v1/models", timeout=5):
                    break
            except HTTPError:  # it is there, and wants a key
                break
            except (URLError, OSError):
                told = log.read_text(encoding="utf-8", errors="replace")[-2000:]
                assert process.poll() is None, told
                assert time.monotonic() < deadline, told
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def llama_cpp_server(model: str, log: Path) -> Iterator[str]:
    """llama-cpp-python's own server, which speaks OpenAI's API."""
    port = free_port()
    command = [sys.executable, "-m", "llama_cpp.server", "--model", MODELS / model]
    with running([*command, "--port", port, "--n_ctx", 1024], port, log) as url:
        yield url


@contextmanager
def llama_server(model: str, log: Path, *options: object) -> Iterator[str]:
    """llama.cpp's server; the variable LLAMA_SERVER says where it is."""
    port = free_port()
    command = [os.environ["LLAMA_SERVER"], "-m", MODELS / model, "--port", port, "-c", 4096]
    with running([*command, "-np", 4, "-t", 1, *options], port, log) as url:
        yield url
