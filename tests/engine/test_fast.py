"""Fast mode: decodes of any size, and prompts fed along with them in one KV cache where it pays."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.engine import Engine
from harness.records import EngineSettings, Generation, Request
from tests.engine.conftest import make_requests
from tests.engine.test_exact import mixed
from tests.support import tinygguf

PREFIX = "The notes below were written by a careful observer, day after day. " * 3


def run(
    path: Path, requests: list[Request], settings: EngineSettings, mixed: bool = False
) -> dict[str, Generation]:
    with Engine(path, "x", settings, mixed=mixed) as engine:
        return {answer.request_key: answer for answer in engine.generate(requests)}


@pytest.fixture(scope="module", params=[tinygguf.write_llama, tinygguf.write_mamba])
def answered(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Request], dict[str, Generation]]:
    """A model, requests, and what exact mode answers."""
    path = request.param(tmp_path_factory.mktemp("gguf") / "model.gguf")
    requests = mixed(path, 24, 300)
    return path, requests, run(path, requests, EngineSettings(threads=1))


@pytest.mark.parametrize("together", [False, True], ids=["apart", "mixed"])
@pytest.mark.parametrize("parallel", [1, 3, 16])
def test_its_texts_are_those_of_exact_mode_but_for_rounding(
    answered: tuple[Path, list[Request], dict[str, Generation]], parallel: int, together: bool
) -> None:
    path, requests, exact = answered
    settings = EngineSettings(threads=1, mode="fast", parallel=parallel)
    fast = run(path, requests, settings, together)
    assert fast.keys() == exact.keys()
    assert not [answer.error for answer in fast.values() if answer.error]
    assert sum(fast[key].text != exact[key].text for key in exact) <= 3


@pytest.mark.parametrize("together", [False, True], ids=["apart", "mixed"])
def test_a_prefix_is_decoded_once_and_shared_to_the_token(tiny: Path, together: bool) -> None:
    settings = EngineSettings(threads=1, mode="fast", parallel=4)
    with Engine(tiny, "x", settings, mixed=together) as engine:
        # Byte tokens: every prompt is the prefix and two more.
        requests = make_requests(engine.tokenizer, [f"{PREFIX}{n:02d}" for n in range(10, 30)])
        list(engine.generate(requests))
        shared = len(PREFIX.encode())
        assert shared % 64
        assert engine.tally["reused"] >= 19 * shared
        assert engine.tally["prefilled"] <= shared + 20 * 3
