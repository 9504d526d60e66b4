"""The shipped GGUF files are what they say, and llama.cpp computes what the trainer computed."""

import json

import gguf
import numpy as np
import pytest

from harness.resources import resource_dir
from recipe.proof import REFERENCE, STAGES, TEXTS, TOLERANCE, Reader, compare

MODELS = resource_dir("models")
FILES = {stage: MODELS / f"tiny-{stage}-F16.gguf" for stage in STAGES}
ADAPTER = MODELS / "tiny-sft-lora.gguf"


def field(path, key):
    found = gguf.GGUFReader(path).get_field(key)
    return None if found is None else found.contents()


@pytest.mark.parametrize("stage", STAGES)
def test_a_model_file_is_under_seven_megabytes(stage):
    assert FILES[stage].stat().st_size < 7e6


def test_llama_cpp_and_the_trainer_agree_on_ids_top_token_and_logits():
    for found in compare(MODELS):
        assert found.texts == found.same_ids == TEXTS, found
        assert found.same_top == found.decided > 0.95 * found.positions, found
        assert found.largest_difference <= TOLERANCE, found


def test_a_wrong_order_of_rotary_dimensions_would_be_noticed(tmp_path):
    """The usual mistake loads without a word; the stored logits must tell it apart."""
    report = json.loads((MODELS / REFERENCE).read_text(encoding="utf-8"))
    changed = tmp_path / "wrong.gguf"
    data = bytearray(FILES["base"].read_bytes())
    reader = gguf.GGUFReader(FILES["base"])
    for tensor in reader.tensors:
        if tensor.name.endswith(("attn_q.weight", "attn_k.weight")):
            rows = np.array(tensor.data).reshape(-1, 2, 32, 256).swapaxes(1, 2)
            at = int(tensor.data_offset)
            data[at : at + int(tensor.n_bytes)] = np.ascontiguousarray(rows).tobytes()
    changed.write_bytes(data)
    row = max(report["models"]["base"]["rows"], key=lambda r: len(r["ids"]))
    with Reader(changed) as wrong, Reader(FILES["base"]) as right:
        tops = [reader.logits(row["ids"]).argmax(1) for reader in (wrong, right)]
    clear = np.setdiff1d(np.arange(len(row["ids"])), row["undecided"])
    top = np.array(row["top"])[clear]
    assert (tops[1][clear] == top).all()
    assert (tops[0][clear] != top).any()


def test_only_the_tuned_files_carry_a_chat_template_and_end_their_turn():
    assert field(FILES["base"], "tokenizer.chat_template") is None
    assert field(FILES["base"], "tokenizer.ggml.eos_token_id") == 0
    for stage in ("sft", "dpo"):
        template = field(FILES[stage], "tokenizer.chat_template")
        assert template.startswith("{{ bos_token }}")
        assert field(FILES[stage], "tokenizer.ggml.eos_token_id") == 2


@pytest.mark.parametrize("stage", STAGES)
def test_special_tokens_are_typed_and_the_gap_tokens_named(stage):
    tokens = field(FILES[stage], "tokenizer.ggml.tokens")
    types = field(FILES[stage], "tokenizer.ggml.token_type")
    assert types[:7] == [gguf.TokenType.CONTROL] * 7 and set(types[7:]) == {gguf.TokenType.NORMAL}
    for kind, text in (("pre", "prefix"), ("suf", "suffix"), ("mid", "middle")):
        token = field(FILES[stage], f"tokenizer.ggml.fim_{kind}_token_id")
        assert tokens[token] == f"<|fim_{text}|>"
    assert field(FILES[stage], "tokenizer.ggml.add_bos_token") is True


@pytest.mark.parametrize("stage", STAGES)
def test_every_byte_is_a_token_of_its_own(stage):
    text = bytes(range(1, 128)).decode("latin-1") + "".join(map(chr, range(128, 2048)))
    with Reader(FILES[stage]) as reader:
        ids = reader.tokenize(text)
        pieces = [reader.piece(i) for i in ids[1:]]
    assert b"".join(pieces).decode("utf-8") == text


def test_rows_of_every_matrix_suit_k_quants():
    for tensor in gguf.GGUFReader(FILES["base"]).tensors:
        if len(tensor.shape) == 2:
            assert int(tensor.shape[0]) % 256 == 0, tensor.name


def test_the_adapter_loads_and_changes_what_the_base_says():
    with Reader(FILES["base"]) as reader:
        ids = reader.tokenize("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
        before = reader.logits(ids)
        reader.add_adapter(ADAPTER)
        after = reader.logits(ids)
    assert np.abs(after - before).max() > 1


def test_the_card_names_every_file_with_its_digest():
    import hashlib

    card = (MODELS / "README.md").read_text(encoding="utf-8")
    for path in (*FILES.values(), ADAPTER):
        assert path.name in card
        assert hashlib.sha256(path.read_bytes()).hexdigest() in card
