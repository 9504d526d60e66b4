"""Levels made here by llama.cpp's quantizer: whole, repeatable, and never over their source."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import QuantizeError
from harness.models import inspect_model, quantize, resolve_model
from tests.support.raw_gguf import write
from tests.support.tinygguf import write_llama

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    return write_llama(folder / "tiny-F16.gguf", width=256)


@pytest.mark.slow
def test_every_level_of_the_default_ladder_is_made_and_gets_smaller(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quantize", str(source), "-o", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "Q8_0",
        "Q6_K",
        "Q5_K_M",
        "Q4_K_M",
        "Q3_K_M",
        "Q2_K",
    ]
    assert all(" made " in line for line in lines)
    bits = [float(line.split()[3]) for line in lines]
    assert bits == sorted(bits, reverse=True)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.gguf")) == sorted(
        f"tiny-{line.split()[0]}.gguf" for line in lines
    )
    assert list((tmp_path / "out").glob("*.part")) == []


def test_an_identical_result_is_not_made_again(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["quantize", str(source), "--levels", "q4_k_m", "-o", str(tmp_path)]
    assert main(command) == 0
    target = tmp_path / "tiny-Q4_K_M.gguf"
    first = (target.stat().st_mtime_ns, target.read_bytes())
    capsys.readouterr()
    assert main(command) == 0
    assert "already made" in capsys.readouterr().out
    assert (target.stat().st_mtime_ns, target.read_bytes()) == first


@pytest.mark.slow
def test_a_result_whose_bytes_changed_is_made_again(source: Path, tmp_path: Path) -> None:
    target = quantize(source, "Q8_0", out=tmp_path)
    good = target.read_bytes()
    target.write_bytes(good[:-1] + b"\x77")
    assert quantize(source, "Q8_0", out=tmp_path).read_bytes() == good


@pytest.mark.slow
def test_the_same_source_gives_the_same_bytes_with_any_number_of_threads(
    source: Path, tmp_path: Path
) -> None:
    one = quantize(source, "Q4_K_M", out=tmp_path / "one", threads=1)
    four = quantize(source, "Q4_K_M", out=tmp_path / "four", threads=4)
    assert one.read_bytes() == four.read_bytes()


def test_the_input_is_never_overwritten(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tiny-F16.gguf"
    copy.write_bytes(source.read_bytes())
    before = copy.read_bytes()
    link = tmp_path / "link.gguf"
    link.symlink_to(copy)
    for out in (copy, link, tmp_path):
        with pytest.raises(QuantizeError, match="is the input itself"):
            quantize(copy, "F16", out=out)
    assert copy.read_bytes() == before


def test_a_file_somebody_else_put_there_is_not_overwritten(source: Path, tmp_path: Path) -> None:
    theirs = write(tmp_path / "tiny-Q8_0.gguf", b"their data")
    with pytest.raises(QuantizeError, match="was not made by `harness quantize`"):
        quantize(source, "Q8_0", out=tmp_path)
    assert theirs.read_bytes() == b"their data"


@pytest.mark.slow
def test_a_quantized_source_needs_permission(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = quantize(source, "Q8_0", out=tmp_path)
    command = ["quantize", str(small), "--levels", "Q4_0", "-o", str(tmp_path)]
    assert main(command) == 2
    assert "tiny-Q8_0.gguf is Q8_0: quantizing it again loses more" in capsys.readouterr().err
    assert main([*command, "--requantize"]) == 0
    assert inspect_model(tmp_path / "tiny-Q4_0.gguf").level == "Q4_0"


def test_unknown_levels_and_missing_levels_are_told(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quantize", str(source), "--levels", "Q9"]) == 2
    assert "no level 'Q9': llama.cpp makes BF16, F16" in capsys.readouterr().err
    assert main(["quantize", str(source), "--levels", ","]) == 2
    assert "names no level" in capsys.readouterr().err


def test_a_model_llama_cpp_cannot_read_is_refused_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The header is sound, the model is not: it has hardly a tensor."""
    code = main(["quantize", str(write(tmp_path / "m-F32.gguf")), "--levels", "Q8_0"])
    error = capsys.readouterr().err
    assert code == 2
    assert "llama.cpp would not quantize m-F32.gguf to Q8_0:" in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
@pytest.mark.slow
def test_kill_9_during_quantization_leaves_nothing_that_a_later_run_trusts(tmp_path: Path) -> None:
    source = write_llama(tmp_path / "wide-F16.gguf", width=1024, layers=6, heads=8)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "harness", "quantize", str(source), "--levels", "Q2_K"]
    with subprocess.Popen([*command, "-o", str(out)], cwd=ROOT) as process:
        for _ in range(2000):
            if list(out.glob(".*.part")) or process.poll() is not None:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "it was done before it could be killed"
    time.sleep(0.5)  # the child notices that its parent is gone
    left = [path.name for path in out.iterdir()]
    assert not [name for name in left if not name.endswith(".part")], left
    made = quantize(source, "Q2_K", out=out)
    assert inspect_model(made).level == "Q2_K"


def test_an_experiments_spec_finds_levels_in_a_folder_or_by_placeholder(
    source: Path, tmp_path: Path
) -> None:
    for level in ("Q8_0", "Q4_0"):
        quantize(source, level, out=tmp_path / "levels")
    wanted = tmp_path / "levels" / "tiny-Q4_0.gguf"
    for spec in ("levels", "levels/tiny", "levels/tiny-{level}.gguf", "levels/tiny-Q4_0.gguf"):
        assert resolve_model(spec, level="Q4_0", base_dir=tmp_path) == wanted


@pytest.mark.slow
def test_split_models_are_read_and_quantized_whole(source: Path, tmp_path: Path) -> None:
    low = pytest.importorskip("llama_cpp").llama_cpp
    assert low  # the bindings are there; the split itself is written by hand
    from tests.support.split_gguf import split

    first = split(source, tmp_path / "split")
    whole, parts = inspect_model(source), inspect_model(first)
    assert parts.parameters == whole.parameters
    assert parts.tensor_types == whole.tensor_types
    assert len(parts.metadata["inspect.shards"]) == 2
    made = quantize(first, "Q8_0", out=tmp_path / "a")
    expected = quantize(source, "Q8_0", out=tmp_path / "b")
    assert inspect_model(made).tensor_types == inspect_model(expected).tensor_types


def test_inspect_tells_what_was_made(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = quantize(source, "Q4_K_M", out=tmp_path)
    assert main(["inspect", str(path), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["level"] == "Q4_K_M"
    assert record["architecture"] == "llama"
    assert set(record["tensor_types"]) >= {"Q4_K", "F32"}
    assert 4 < record["bits_per_weight"] < 8
    assert record["metadata"]["inspect.fallback_share"] == 0
