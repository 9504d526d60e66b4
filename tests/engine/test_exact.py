"""Exact mode gives the same texts whatever else is in the batch."""

from __future__ import annotations

import ctypes
import dataclasses
import random
from pathlib import Path

import pytest

from harness import native
from harness.engine import Engine, open_tokenizer
from harness.records import EngineSettings, Request
from tests.engine.conftest import make_requests
from tests.support import tinygguf

ROOT = Path(__file__).parents[2]
REAL = {
    "gemma": ROOT / "weights" / "gemma-3-270m-Q4_K_M.gguf",
    "smollm2": ROOT / "weights" / "SmolLM2-135M-Instruct-Q4_1.gguf",
}
FTYPES = {"Q8_0": 7, "Q4_K_M": 15, "Q2_K": 10}  # llama_ftype
FAMILY = sorted((ROOT / "models").glob("*-F16.gguf"))
COUNT = 40  # requests: with fewer than 32 a width of 32 is never full
WHOLE = ((32, 32), (16, 16))  # width and busy slots, for all requests
PART = ((16, 1), (16, 4), (16, 8), (32, 1), (32, 8))  # ... and for every other request


def texts_of(path: Path, requests: list[Request], settings: EngineSettings) -> dict[str, str]:
    with Engine(path, "x", settings) as engine:
        return {answer.request_key: answer.text for answer in engine.generate(requests)}


def mixed(path: Path, count: int, longest: int) -> list[Request]:
    """Prompts of 20 to ``longest`` tokens, shared and unshared openings, ragged limits."""
    filler = "A river runs from the hills to the sea and passes four towns. "
    with open_tokenizer(path) as tokenizer:
        size = len(tokenizer.tokenize([filler], add_special=False, parse_special=False)[0])
        copies = [index * longest // (size * count) for index in range(count)]
        texts = [
            (filler * n if index % 3 else f"{index} " + filler * n) + f"Town number {index} is"
            for index, n in enumerate(copies)
        ]
        requests = make_requests(tokenizer, texts)
    return [
        dataclasses.replace(
            request, sampling=dataclasses.replace(request.sampling, max_tokens=4 + 5 * (n % 5))
        )
        for n, request in enumerate(requests)
    ]


def assert_exact(path: Path, requests: list[Request], chunk: int, threads: int = 0) -> None:
    assert len(requests) >= max(width for width, _ in WHOLE), "not every slot would be busy"
    expected: dict[str, str] = {}
    for runs, part in ((WHOLE, requests), (PART, requests[::2])):
        for width, parallel in runs:
            settings = EngineSettings(width=width, parallel=parallel, chunk=chunk, threads=threads)
            found = texts_of(path, part, settings)
            expected = expected or found
            wanted = {request.key: expected[request.key] for request in part}
            assert found == wanted, f"width {width}, {parallel} busy"
    settings = EngineSettings(chunk=chunk, threads=threads)
    shuffled = random.Random(0).sample(requests[::2], len(requests[::2]))
    wanted = {request.key: expected[request.key] for request in shuffled}
    assert texts_of(path, shuffled, settings) == wanted, "another order"
    half = shuffled[: len(shuffled) // 2]
    found = texts_of(path, half, settings)
    assert found == {key: expected[key] for key in found}, "a limit"
    rest = texts_of(path, shuffled[len(shuffled) // 2 :], settings)
    assert found | rest == wanted, "a resume in the middle"


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of 256 values: every quantization fits."""
    folder = tmp_path_factory.mktemp("gguf")
    return tinygguf.write_llama(folder / "wide.gguf", width=256, layers=2, context=4096)


def quantized(source: Path, level: str, folder: Path) -> Path:
    low = native.load()
    target = folder / f"{source.stem}-{level}.gguf"
    options = low.llama_model_quantize_default_params()
    options.ftype, options.nthread = FTYPES[level], 1
    status = low.llama_model_quantize(
        str(source).encode(), str(target).encode(), ctypes.byref(options)
    )
    assert status == 0
    return target


@pytest.mark.slow
@pytest.mark.parametrize("level", ["F16", *FTYPES])
def test_texts_are_the_same_at_any_parallelism_order_limit_and_resume(
    wide: Path, tmp_path: Path, level: str
) -> None:
    path = wide if level == "F16" else quantized(wide, level, tmp_path)
    assert_exact(path, mixed(path, COUNT, 900), chunk=64)


def test_texts_are_the_same_with_one_and_with_sixteen_busy_slots(tiny: Path) -> None:
    requests = mixed(tiny, 12, 300)
    one, sixteen = (
        texts_of(tiny, requests, EngineSettings(parallel=parallel, chunk=32, threads=1))
        for parallel in (1, 16)
    )
    assert one == sixteen


def test_the_number_of_threads_changes_no_text(tiny: Path) -> None:
    requests = mixed(tiny, 10, 600)
    one, two = (
        texts_of(tiny, requests, EngineSettings(chunk=64, threads=threads)) for threads in (1, 2)
    )
    assert one == two


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not FAMILY, reason="the bundled models are not in models/")
@pytest.mark.parametrize("level", ["F16", *FTYPES])
@pytest.mark.parametrize("path", FAMILY, ids=lambda path: path.stem)
def test_texts_of_the_bundled_family_are_the_same(path: Path, level: str, tmp_path: Path) -> None:
    path = path if level == "F16" else quantized(path, level, tmp_path)
    assert_exact(path, mixed(path, COUNT, 1500), chunk=64, threads=1)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", REAL)
def test_texts_of_real_models_are_the_same(name: str) -> None:
    if not REAL[name].is_file():
        pytest.fail(f"{REAL[name]} is missing: run `make setup-weights`")
    assert_exact(REAL[name], mixed(REAL[name], COUNT, 1500), chunk=EngineSettings().chunk)
