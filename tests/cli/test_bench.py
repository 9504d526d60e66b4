from __future__ import annotations

from pathlib import Path

from tests import tinygguf
from tests.command import harness


def test_bench_measures_both_modes_and_counts_flips(tmp_path: Path) -> None:
    model = tinygguf.write_llama(tmp_path / "tiny.gguf")
    done = harness(
        "bench", model, "--flips", "--items", 6, "--max-tokens", 4, "--repeats", 1, "--chunk", 64,
        cache=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("tiny.gguf: 6 prompts")
    assert [line.split()[0] for line in lines[2:4]] == ["exact", "fast"]
    assert "of 6 texts differ between fast and exact" in lines[4]


def test_bench_refuses_a_device_that_is_not_there(tmp_path: Path) -> None:
    model = tinygguf.write_llama(tmp_path / "tiny.gguf")
    done = harness("bench", model, "--devices", "CUDA9", cache=tmp_path)
    assert done.returncode == 2
    assert "device CUDA9 was asked for" in done.stderr


def test_auto_says_what_it_offloads_and_a_wrong_number_is_one_line(tmp_path: Path) -> None:
    model = tinygguf.write_llama(tmp_path / "m.gguf")
    few = ["--items", 2, "--max-tokens", 2, "--repeats", 1]
    done = harness("bench", model, *few, "--ngl", "auto", cache=tmp_path)
    assert done.returncode == 0
    assert "0 layers offloaded" in done.stderr or "layers on" in done.stderr
    wrong = harness("bench", model, *few, "--ngl", "many", cache=tmp_path)
    assert wrong.returncode == 2
    assert "--ngl takes a number of layers" in wrong.stderr
