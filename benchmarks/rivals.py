"""Other ways to run the same file on the same prompts: the high-level loop, llama-server."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.records import Request

LOOP = """
import json, sys
from llama_cpp import Llama
model, (n_ctx, threads, layers) = sys.argv[1], map(int, sys.argv[2:])
llama = Llama(
    model, n_ctx=n_ctx, n_threads=threads, n_threads_batch=threads, n_gpu_layers=layers,
    verbose=False,
)
print("ready", flush=True)
for line in sys.stdin:
    tokens = 0
    for prompt, limit in json.loads(line):
        answer = llama.create_completion(prompt, max_tokens=limit, temperature=0.0)
        tokens += answer["usage"]["completion_tokens"]
    print(tokens, flush=True)
"""

# The rivals wait at thread barriers as the engine's child does: fair on a machine that is not idle.
ENVIRONMENT = {**os.environ, "GOMP_SPINCOUNT": "2000"}


class OneAtATime:
    """A loop over ``llama_cpp.Llama``, one prompt after another, in a process of its own."""

    name = "one at a time (`llama_cpp.Llama`)"

    def __init__(self, model: Path, room: int, threads: int, layers: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", LOOP, str(model), str(room), str(threads), str(layers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=ENVIRONMENT,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, requests: Sequence[Request]) -> tuple[float, int]:
        """Seconds and generated tokens."""
        assert self._process.stdin is not None and self._process.stdout is not None
        work = [(list(r.prompt.token_ids), r.sampling.max_tokens) for r in requests]
        begin = time.perf_counter()
        self._process.stdin.write(json.dumps(work) + "\n")
        self._process.stdin.flush()
        tokens = int(self._process.stdout.readline())
        return time.perf_counter() - begin, tokens

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Server:
    """llama-server with as many slots as the engine, greedy, its prompt cache on."""

    name = "llama-server"

    def __init__(
        self, binary: str, model: Path, room: int, slots: int, threads: int, layers: int
    ) -> None:
        self._slots = slots
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._process = subprocess.Popen(
            [
                binary, "-m", str(model), "--port", str(self._port), "-np", str(slots),
                "-c", str(room * slots), "-t", str(threads), "-tb", str(threads),
                "-ngl", offload(layers),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )  # fmt: skip
        for _ in range(600):
            with contextlib.suppress(OSError):
                if self._ask("GET", "/health")[0] == 200:
                    return
            time.sleep(0.1)
        raise RuntimeError("llama-server did not come up")

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, requests: Sequence[Request]) -> tuple[float, int]:
        """Seconds and generated tokens."""
        begin = time.perf_counter()
        with ThreadPoolExecutor(self._slots) as pool:
            tokens = sum(pool.map(self._complete, requests))
        return time.perf_counter() - begin, tokens

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _complete(self, request: Request) -> int:
        body = {
            "prompt": list(request.prompt.token_ids),
            "n_predict": request.sampling.max_tokens,
            "temperature": 0,
            "samplers": ["top_k"],  # the cheapest chain there is for greedy
            "top_k": 1,
            "cache_prompt": True,
        }
        status, answer = self._ask("POST", "/completion", body)
        if status != 200:
            raise RuntimeError(f"llama-server answered {status}: {answer}")
        return int(answer["tokens_predicted"])

    def _ask(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"{}")
        finally:
            connection.close()


def offload(layers: int) -> str:
    """How llama.cpp's programs are told the number of layers: they have no -1 for all."""
    return str(999 if layers < 0 else layers)


def batched_bench(binary: str, model: Path, slots: int, threads: int, layers: int) -> float | None:
    """llama-batched-bench's decode rate (tokens/s) at so many sequences: 128 in, 64 out."""
    output = subprocess.run(
        [
            binary, "-m", str(model), "-c", str(256 * slots), "-npp", "128", "-ntg", "64",
            "-npl", str(slots), "-t", str(threads), "-tb", str(threads),
            "-ngl", offload(layers),
        ],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    ).stdout  # fmt: skip
    for line in output.splitlines():
        cells = [cell.strip() for cell in line.strip("| \n").split("|")]
        if len(cells) >= 8 and re.fullmatch(r"\d+", cells[0]) and cells[2] == str(slots):
            return float(cells[7])  # PP, TG, B, N_KV, T_PP, S_PP, T_TG, S_TG
    return None
