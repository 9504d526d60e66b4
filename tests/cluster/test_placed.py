"""A model's file on a machine of the cluster, and shares of the work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.cluster.files import Lacking, packed, placed
from harness.crew import Shares
from harness.errors import ModelError
from harness.models import inspect_model
from harness.records import Adapter, Condition, EngineSettings, RenderedPrompt, Request, Sampling
from tests.support.command import ROOT

MODEL = ROOT / "models" / "tiny-base-F16.gguf"
LORA = ROOT / "models" / "tiny-sft-lora.gguf"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


def test_a_file_is_taken_where_it_is_and_sent_where_it_is_not(tmp_path: Path) -> None:
    here = inspect_model(MODEL)
    settings = EngineSettings()
    assert placed(here, settings, {}) == (here, settings)
    elsewhere = replace(here, path=tmp_path / "elsewhere" / MODEL.name)
    lacking = placed(elsewhere, settings, {})
    assert isinstance(lacking, Lacking)
    assert lacking.why == "there is no such file"
    found = placed(elsewhere, settings, {here.sha256: packed(MODEL)})
    assert isinstance(found, tuple)
    assert found[0].path.read_bytes() == MODEL.read_bytes()
    # It is kept: the next run sends nothing.
    assert placed(elsewhere, settings, {}) == found


def test_a_file_of_that_name_with_other_bytes_is_not_taken(tmp_path: Path) -> None:
    here = inspect_model(MODEL)
    other = tmp_path / MODEL.name
    other.write_bytes(MODEL.read_bytes()[:-1] + b"x")
    lacking = placed(replace(here, path=other), EngineSettings(), {})
    assert isinstance(lacking, Lacking)
    assert lacking.why == "the file there is another one"
    with pytest.raises(ModelError, match="another digest"):
        placed(replace(here, path=other), EngineSettings(), {here.sha256: packed(other)})


def test_an_adapter_travels_too(tmp_path: Path) -> None:
    from harness.models.digest import sha256_of

    adapter = Adapter(tmp_path / "gone" / LORA.name, sha256_of(LORA))
    here, settings = inspect_model(MODEL), EngineSettings(adapter=adapter)
    lacking = placed(here, settings, {})
    assert isinstance(lacking, Lacking)
    assert lacking.sha256 == adapter.sha256
    found = placed(here, settings, {adapter.sha256: packed(LORA)})
    assert isinstance(found, tuple)
    assert found[1].adapter is not None
    assert found[1].adapter.path.read_bytes() == LORA.read_bytes()


def requests(count: int) -> list[Request]:
    return [
        Request(
            f"{number:03}", "s", Condition("a", "b", "c"), "m",
            RenderedPrompt(f"{number:03}", (number,), (), 0, (), ""), Sampling(),
        )
        for number in range(count)
    ]  # fmt: skip


def test_shares_shrink_towards_the_end_and_lose_nothing() -> None:
    shares = Shares(requests(200), 2, least=10, most=40)
    sizes = []
    seen: set[str] = set()
    while taken := shares.take():
        assert not seen & set(taken)
        seen |= set(taken)
        sizes.append(len(taken))
    assert len(seen) == 200
    assert max(sizes) == 40
    assert sizes[-1] <= 10


def test_what_died_is_tried_again_in_small_shares_and_alone_at_last() -> None:
    shares = Shares(requests(64), 1, least=64)
    sizes = []
    for _ in range(3):
        taken = shares.take()
        sizes.append(len(taken))
        shares.give_back(list(taken.values()), lost=True)
    assert sizes == [64, 8, 1]
    assert shares.losses("000") == 3
    # Those that were not lost again are not mixed with it.
    assert len(shares.take()) == 1
