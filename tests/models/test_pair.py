"""Two files as a pair, adapters for a model, and what fits into memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from harness.cli import main
from harness.errors import ModelInvalid, ModelNotFound, PairMismatch
from harness.models import (
    Difference,
    check_adapter,
    compare_pair,
    families,
    fit,
    inspect_model,
    resolve_adapter,
    resolve_family,
)
from harness.records import ModelFile
from tests.support.raw_gguf import TOKENS, metadata, string, strings, u32, write
from tests.support.raw_gguf import gguf as raw_gguf
from tests.support.tinygguf import CHATML, write_llama


def model(tmp_path: Path, name: str, **changes: tuple[str, bytes] | None) -> ModelFile:
    path = write(tmp_path / f"{name}.gguf", raw_gguf(metadata(**changes)))
    return inspect_model(path, sha256=False)


def fields(differences: tuple[Difference, ...]) -> dict[str, bool]:
    """Field -> whether it is fatal."""
    return {difference.field: difference.fatal for difference in differences}


TEMPLATE = string("tokenizer.chat_template", "{{ messages }}")


def with_template(tmp_path: Path, name: str) -> ModelFile:
    path = write(tmp_path / f"{name}.gguf", raw_gguf([*metadata(), TEMPLATE]))
    return inspect_model(path, sha256=False)


def test_a_sound_pair_has_no_differences(tmp_path: Path) -> None:
    assert compare_pair(model(tmp_path, "base"), with_template(tmp_path, "tuned")) == ()


def test_a_chat_template_on_the_base_and_none_on_the_tuned_model_are_flagged(
    tmp_path: Path,
) -> None:
    found = compare_pair(with_template(tmp_path, "base"), model(tmp_path, "tuned"))
    assert fields(found) == {"chat template on the base": False, "chat template": False}
    assert "native arm" in found[1].invalidates


def test_another_architecture_or_shape_is_fatal(tmp_path: Path) -> None:
    base, tuned = model(tmp_path, "a"), with_template(tmp_path, "b")
    other = replace(tuned, architecture="gemma3")
    assert fields(compare_pair(base, other)) == {"architecture": True}
    wider = replace(tuned, metadata={**tuned.metadata, "llama.embedding_length": 64})
    (difference,) = compare_pair(base, wider)
    assert (difference.a, difference.b, difference.fatal) == ("32", "64", True)


def test_an_added_token_is_told_another_tokenizer_is_fatal(tmp_path: Path) -> None:
    base = model(tmp_path, "base")
    many = [f"t{number}" for number in range(400)]
    one = model(tmp_path, "one", tokens=strings("tokenizer.ggml.tokens", many), token_type=None)
    added = [*many[:399], "<|im_end|>", "<|new|>"]
    two = model(tmp_path, "two", tokens=strings("tokenizer.ggml.tokens", added), token_type=None)
    (difference,) = [d for d in compare_pair(one, two) if d.field == "tokens"]
    assert not difference.fatal
    assert difference.b == "401 tokens, 1 texts differ from id 399 on"
    swapped = [TOKENS[1], TOKENS[0], *TOKENS[2:]]
    changed = model(tmp_path, "x", tokens=strings("tokenizer.ggml.tokens", swapped))
    assert fields(compare_pair(base, changed))["tokens"] is True


def test_merges_levels_and_importance_matrices_are_compared(tmp_path: Path) -> None:
    base = model(tmp_path, "base")
    tuned = model(
        tmp_path,
        "tuned",
        merges=strings("tokenizer.ggml.merges", ["b a"]),
        file_type=u32("general.file_type", 7),
    )
    tuned = replace(
        tuned,
        chat_template="x",
        metadata={**tuned.metadata, "quantize.imatrix.file": "i.gguf"},
    )
    found = fields(compare_pair(base, tuned))
    assert found == {"merges": False, "level": False, "quantizer settings": False}


def test_the_command_says_what_a_difference_spoils(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = write_llama(tmp_path / "base.gguf", width=64)
    tuned = write_llama(tmp_path / "tuned.gguf", width=64, layers=3, chat_template=CHATML)
    assert main(["inspect", str(base), "--against", str(tuned)]) == 0
    assert "fatal difference   block_count: 2 and 3; invalidates every comparison" in (
        capsys.readouterr().out
    )
    assert main(["inspect", str(base), "--against", str(tuned), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["differences"][0]["field"] == "block_count"


def test_every_family_entry_cites_where_it_was_read_and_none_claims_to_be_verified() -> None:
    for name, entry in families().items():
        assert len(resolve_family(name)) >= 2, name
        for stage, where in entry["stages"].items():
            assert set(where) == {"repo", "revision", "read", "verified"}, (name, stage)
            assert where["read"]
            assert where["verified"] == "never"
    for wanted in ("smollm2-135m", "qwen2.5-0.5b", "llama-3.2-1b", "gemma-3-270m", "olmo-2-1b"):
        assert {"base", "instruct"} <= set(resolve_family(wanted))
    assert list(resolve_family("olmo-2-7b")) == ["base", "sft", "dpo", "instruct"]


def test_an_unknown_family_or_stage_lists_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ModelNotFound, match="the registry has smollm2-135m"):
        resolve_family("nothing")
    assert main(["fetch", "smollm2-135m/rlhf:Q8_0"]) == 2
    assert "has no stage 'rlhf'; it has base, instruct" in capsys.readouterr().err


def write_adapter(path: Path, *, width: int = 64, block: int = 0, whole: bool = True) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    stem = f"blk.{block}.attn_q.weight"
    writer.add_tensor(f"{stem}.lora_a", np.ones((4, width), dtype=np.float32))
    if whole:
        writer.add_tensor(f"{stem}.lora_b", np.zeros((width, 4), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.slow
def test_an_adapter_is_checked_alone_and_against_its_model(tmp_path: Path) -> None:
    target = inspect_model(write_llama(tmp_path / "m.gguf", width=64), sha256=False)
    write_adapter(tmp_path / "fits.gguf")
    adapter = resolve_adapter(Path("fits.gguf"), 0.5, tmp_path)
    assert (adapter.scale, len(adapter.sha256)) == (0.5, 64)
    check_adapter(adapter, target)
    for name, options, message in (
        ("wide", {"width": 128}, "adapts rows of 128"),
        ("deep", {"block": 7}, "adapts block 7"),
    ):
        write_adapter(tmp_path / f"{name}.gguf", **options)
        with pytest.raises(PairMismatch, match=message):
            check_adapter(resolve_adapter(f"{name}.gguf", 1.0, tmp_path), target)
    with pytest.raises(PairMismatch, match=r"adapts llama, m\.gguf is gemma3"):
        check_adapter(adapter, replace(target, architecture="gemma3"))


def test_what_is_no_adapter_is_refused(tmp_path: Path) -> None:
    write_llama(tmp_path / "m.gguf", width=64)
    with pytest.raises(ModelInvalid, match="no LoRA adapter; convert one"):
        resolve_adapter("m.gguf", 1.0, tmp_path)
    write_adapter(tmp_path / "half.gguf", whole=False)
    with pytest.raises(ModelInvalid, match="has no lora_b"):
        resolve_adapter("half.gguf", 1.0, tmp_path)
    with pytest.raises(ModelNotFound, match="no adapter"):
        resolve_adapter("gone.gguf", 1.0, tmp_path)
    with pytest.raises(ModelInvalid, match="scale"):
        resolve_adapter("half.gguf", float("nan"), tmp_path)


@dataclass(frozen=True)
class Device:
    name: str
    kind: str
    free_memory: int


def sized(layers: int = 10, layer: int = 100 << 20) -> ModelFile:
    """10 blocks of 100 MiB, 8 KiB of KV cache a token and block, as a header tells it."""
    return ModelFile(
        path=Path("m.gguf"),
        sha256="0" * 64,
        size=layers * layer,
        architecture="llama",
        parameters=1,
        context_length=4096,
        tokenizer_digest="",
        chat_template=None,
        bits_per_weight=8.0,
        tensor_types={},
        metadata={
            "llama.embedding_length": 2048,
            "llama.attention.head_count": 16,
            "llama.attention.head_count_kv": 16,
            "inspect.layer_bytes": [layer] * layers,
            "inspect.outside_bytes": {"input": 64 << 20, "output": 64 << 20},
            "inspect.tokens": 32_000,
        },
    )


def fitted(free: int, *, parallel: int = 16) -> tuple[int, int, str]:
    found = fit(
        sized(),
        n_gpu_layers="auto",
        parallel=parallel,
        tokens_per_sequence=1024,
        devices=[Device("CPU", "cpu", 64 << 30), Device("CUDA0", "gpu", free)],
    )
    return found.n_gpu_layers, found.parallel, found.why


def test_everything_goes_to_a_large_gpu_fewer_slots_and_then_fewer_layers_to_a_small_one() -> None:
    assert fitted(24 << 30)[:2] == (-1, 16)
    # 1000 MiB of blocks, 64 of output, 94 of scratch; 640 of cache for 8 slots, 1280 for 16.
    assert fitted(2 << 30)[:2] == (-1, 8)
    layers, slots, why = fitted(1 << 30)
    assert 0 < layers < 11
    assert slots == 16
    assert "of 11 layers on CUDA0" in why
    assert fitted(100 << 20)[0] == 0


def test_more_memory_never_means_fewer_layers() -> None:
    counts = [fitted(step << 27)[0] for step in range(1, 64)]
    counts = [99 if count == -1 else count for count in counts]
    assert counts == sorted(counts)


def test_without_a_gpu_nothing_is_offloaded_and_the_reason_is_given() -> None:
    found = fit(
        sized(),
        n_gpu_layers="auto",
        parallel=16,
        tokens_per_sequence=8192,
        devices=[Device("CPU", "cpu", 8 << 30)],
    )
    assert found.n_gpu_layers == 0
    assert found.n_ctx == 4096, "no more than the model was trained for"
    assert found.why.startswith("no GPU: 0 layers offloaded")


def test_a_real_file_fits_where_its_size_says(tmp_path: Path) -> None:
    tiny = inspect_model(write_llama(tmp_path / "m.gguf", width=64), sha256=False)
    found = fit(
        tiny,
        n_gpu_layers="auto",
        parallel=8,
        tokens_per_sequence=512,
        devices=[Device("GPU", "gpu", 1 << 30)],
    )
    assert (found.n_gpu_layers, found.parallel) == (-1, 8)


def test_doctor_finds_what_this_machine_runs_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for what in ("python", "versions", "llama.cpp", "cpu features", "backend", "device cpu", "hub"):
        assert f" {what} " in out.replace("  ", " "), what


def test_doctor_fails_with_advice_when_the_cache_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder", encoding="utf-8")
    monkeypatch.setenv("HARNESS_CACHE", str(blocked))
    assert main(["doctor"]) == 2
    out = capsys.readouterr().out
    assert "FAIL  answers, levels" in out
    assert "set HARNESS_CACHE to another folder" in out


@pytest.mark.real
def test_a_250_mb_model_with_a_vocabulary_of_262144_is_described(
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights = Path(__file__).resolve().parent.parent.parent / "weights"
    files = sorted(weights.glob("gemma-3-270m*.gguf"))
    if not files:
        pytest.skip("weights/ is empty: run `make setup-weights`")
    assert main(["inspect", str(files[0])]) == 0
    out = capsys.readouterr().out
    assert "262144 tokens" in out
    assert "268.1 M in 236 tensors" in out
    assert "bits per weight    7.36" in out
    assert "86.8 % of the weights, in Q5_0, Q8_0" in out
