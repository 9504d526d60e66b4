from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.engine import Engine, FakeTokenizer
from harness.errors import ConfigError
from harness.experiment.measure.levels import windows
from harness.experiment.measure.shift import pieces
from harness.experiment.measure.step import divergences, in_step, walking
from harness.measured import Divergence, LogitBlock
from harness.models import inspect_model, quantize
from harness.records import EngineSettings
from tests.support import tinygguf

ROOT = Path(__file__).parent.parent.parent
DPO = ROOT / "models" / "tiny-dpo-F16.gguf"
PERPLEXITY = os.environ.get("LLAMA_PERPLEXITY", "")


def apart(one: Path, other: Path, text: str, window: int) -> Divergence:
    """The figures over a text, as `harness levels --text` has them."""
    models = [inspect_model(path) for path in (one, other)]
    settings = walking(EngineSettings(), models[0])
    with (
        Engine(one, models[0].sha256, settings) as left,
        Engine(other, models[1].sha256, settings) as right,
    ):
        tokens = left.tokenizer.tokenize([text], add_special=True, parse_special=False)[0]
        texts = windows(tokens, window, left.tokenizer)
        return divergences(left, right, texts).summary("other", "one", "text")


def test_windows_are_cut_as_llama_perplexity_cuts_them() -> None:
    tokens = [256, *range(1, 100)]
    cut = windows(tokens, 40, FakeTokenizer())
    assert [text.tokens[:3] for text in cut] == [(256, 1, 2), (256, 41, 42)]
    assert [len(text.tokens) for text in cut] == [40, 40]
    # Rows n/2 to n - 2 count, which predict tokens n/2 + 1 to n - 1.
    assert {len(text.tokens) - text.start for text in cut} == {40 - 1 - 40 // 2}
    assert windows(tokens, 40, FakeTokenizer(add_bos=False))[1].tokens[0] == 40
    assert [len(text.tokens) for text in windows(tokens[:50], 512, FakeTokenizer())] == [50]
    with pytest.raises(ConfigError, match="31 tokens; 32"):
        windows(tokens[:31], 40, FakeTokenizer())


def blocks(sizes: Sequence[Sequence[int]], seed: int) -> Iterator[LogitBlock]:
    """Walks over texts of 10 and 3 rows in blocks of these sizes, each gone with the next."""
    rng = np.random.default_rng(seed)
    window = np.empty((10, 4), dtype=np.float32)
    for index, parts in enumerate(sizes):
        rows, start = rng.normal(size=(sum(parts), 4)).astype(np.float32), 5
        for count in parts:
            window[:count] = rows[start - 5 : start - 5 + count]
            yield LogitBlock(index, start, window[:count])
            start += count
        window[:] = np.nan


@pytest.mark.parametrize("sizes", [[[10], [3]], [[4, 4, 2], [1, 2]], [[1] * 10, [2, 1]]])
def test_rows_are_paired_whatever_the_blocks_are(sizes: list[list[int]]) -> None:
    found = []
    for left, right in in_step(blocks([[3, 7], [3]], 1), blocks(sizes, 1)):
        assert (left.index, left.start) == (right.index, right.start)
        assert (left.rows == right.rows).all()
        found += [(left.index, left.start + n) for n in range(len(left.rows))]
    assert found == [(0, n) for n in range(5, 15)] + [(1, n) for n in range(5, 8)]


def test_a_file_against_itself_is_nothing_apart_and_another_is(tmp_path: Path) -> None:
    one = tinygguf.write_llama(tmp_path / "one.gguf")
    other = tinygguf.write_llama(tmp_path / "other.gguf", seed=1)
    text = "a text of some length, " * 20
    same = apart(one, one, text, 64)
    assert (same.mean_kld, same.max_kld, same.same_top_p, same.ppl_ratio) == (0.0, 0.0, 1.0, 1.0)
    assert apart(one, other, text, 64).mean_kld > 0


def test_a_file_with_a_large_vocabulary_is_walked_in_small_blocks() -> None:
    model = inspect_model(DPO)
    assert walking(EngineSettings(), model).chunk == EngineSettings().chunk
    large = {**model.metadata, "inspect.tokens": 262_144}
    assert walking(EngineSettings(), _with(model, large)).chunk == 8


def _with(model: object, metadata: dict[str, object]) -> object:
    from dataclasses import replace

    return replace(model, metadata=metadata)  # type: ignore[type-var]


@pytest.mark.skipif(not PERPLEXITY, reason="LLAMA_PERPLEXITY=path of llama-perplexity")
@pytest.mark.parametrize("level", ["Q8_0", "Q2_K"])
def test_the_figures_agree_with_llama_perplexity(level: str, tmp_path: Path) -> None:
    """Rounding: that tool keeps 16-bit log-probabilities of one side, and batches otherwise."""
    text = (ROOT / "datasets" / "tiny.jsonl").read_text(encoding="utf-8")[:8_000]
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    other = quantize(DPO, level, out=tmp_path / f"{level}.gguf")
    base = ["--kl-divergence-base", tmp_path / "base.kld", "-f", tmp_path / "text.txt", "-c", "256"]
    subprocess.run([PERPLEXITY, "-m", DPO, *base], check=True, capture_output=True)
    said = _statistics([PERPLEXITY, "-m", other, *base, "--kl-divergence"])

    def printed(name: str) -> float:
        return float(re.search(rf"{re.escape(name)}\s*: +(-?[\d.]+)", said)[1])  # type: ignore[index]

    found = apart(DPO, other, text, 256)
    assert found.mean_kld == pytest.approx(printed("Mean    KLD"), rel=0.01, abs=5e-5)
    assert found.median_kld == pytest.approx(printed("Median  KLD"), rel=0.02, abs=5e-5)
    assert 100 * found.same_top_p == pytest.approx(printed("Same top p"), abs=0.3)
    assert 100 * found.mean_dp == pytest.approx(printed("Mean    Δp"), abs=0.02)
    assert found.ppl == pytest.approx(printed("Mean PPL(Q)"), rel=0.002)


def _statistics(command: list[object]) -> str:
    """What the tool prints; it ends without waiting for its own log, so the end may be missing."""
    for _ in range(5):
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # type: ignore[call-overload]
        if "Same top p:" in done.stdout:
            return str(done.stdout)
    raise AssertionError("the tool's last lines never came")


def test_a_character_of_several_tokens_is_the_last_ones() -> None:
    euro = "€".encode()
    assert pieces([b"a ", euro[:1], euro[1:], b"\xff!"]) == ("a ", "", "€", "\ufffd!")
