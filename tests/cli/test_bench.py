from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from harness.experiment.measure.speed import ratios, speeds
from harness.measured import Speed
from tests.support import tinygguf
from tests.support.command import harness, here

SHORT = ["--prompt", 32, "--decode", 4]


@pytest.mark.slow
def test_bench_measures_both_modes_and_counts_flips(tmp_path: Path) -> None:
    model = tinygguf.write_llama(tmp_path / "tiny.gguf")
    done = harness(
        "bench", model, "--flips", "--items", 6, "--max-tokens", 4, "--repeats", 1, "--chunk", 64,
        *SHORT, cache=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[3:]
    assert lines[0].startswith("tiny.gguf: 6 prompts")
    assert [line.split()[0] for line in lines[2:4]] == ["exact", "fast"]
    assert "of 6 texts differ between fast and exact" in lines[4]


@pytest.mark.slow
def test_several_models_are_measured_with_ratios_to_the_first(tmp_path: Path) -> None:
    one = tinygguf.write_llama(tmp_path / "one.gguf")
    other = tinygguf.write_llama(tmp_path / "other.gguf", seed=1)
    done = harness("bench", one, other, *SHORT, "--repeats", 2, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    said, _, first, second = done.stdout.splitlines()
    assert said == (
        "32 tokens of prompt, then 4 tokens of one sequence; medians of 2 turns; × of the first"
    )
    assert first.startswith("one.gguf")
    assert first.count("(1.00×)") == 3
    assert second.startswith("other.gguf")
    told = json.loads(
        harness("bench", one, other, *SHORT, "--repeats", 2, "--json", cache=tmp_path).stdout
    )
    assert [item["model"] for item in told] == ["one.gguf", "other.gguf"]
    for item in told:
        assert len(item["turns"]) == 2
        low, high = sorted(turn["decode"] for turn in item["turns"])
        assert low <= item["decode"] <= high
        assert item["ratios"]["decode"] == pytest.approx(item["decode"] / told[0]["decode"])
        assert min(item["prefill"], item["load_seconds"], item["peak_bytes"]) > 0
        assert item["device_bytes"] is None  # this build offloads nothing


class _Clock:
    """A file of fixed speed; says when it is opened and closed."""

    def __init__(self, name: str, decode: float, log: list[str]) -> None:
        self.name, self.decode, self.log = name, decode, log

    @contextmanager
    def opened(self) -> Iterator[_Clock]:
        self.log.append(f"+{self.name}")
        self.decode += 1
        yield self
        self.log.append(f"-{self.name}")

    def speed(self, prefill: int, decode: int) -> Speed:
        return Speed(float(prefill), self.decode, 0.5, 1000 if self.name == "a" else None)


def test_models_take_turns_and_one_at_a_time_is_open() -> None:
    log: list[str] = []
    clocks = {name: _Clock(name, start, log) for name, start in (("a", 10.0), ("b", 20.0))}

    def opener(name: str) -> AbstractContextManager[_Clock]:
        return clocks[name].opened()

    found = speeds(
        {"a": lambda: opener("a"), "b": lambda: opener("b")}, turns=3, prefill=7, decode=1
    )
    assert log == ["+a", "-a", "+b", "-b"] * 3
    assert [turn.decode for turn in found["a"]] == [11, 12, 13]
    first, second = (Speed.middle(found[name]) for name in "ab")
    assert (first.decode, first.prefill, first.peak_bytes) == (12, 7, 1000)
    assert ratios(second, first)["decode"] == pytest.approx(22 / 12)
    assert ratios(second, first)["peak_bytes"] is None


def test_bench_refuses_a_device_that_is_not_there(tmp_path: Path) -> None:
    model = tinygguf.write_llama(tmp_path / "tiny.gguf")
    done = here("bench", model, "--devices", "CUDA9", cache=tmp_path)
    assert done.returncode == 2
    assert "device CUDA9 was asked for" in done.stderr


@pytest.mark.slow
def test_auto_says_what_it_offloads_and_a_wrong_number_is_one_line(tmp_path: Path) -> None:
    model = tinygguf.write_llama(tmp_path / "m.gguf")
    few = [*SHORT, "--repeats", 1]
    done = harness("bench", model, *few, "--ngl", "auto", cache=tmp_path)
    assert done.returncode == 0
    assert "0 layers offloaded" in done.stderr or "layers on" in done.stderr
    wrong = harness("bench", model, *few, "--ngl", "many", cache=tmp_path)
    assert wrong.returncode == 2
    assert "--ngl takes a number of layers" in wrong.stderr
