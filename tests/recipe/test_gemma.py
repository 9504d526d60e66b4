"""The recipe on real weights, on a random gemma3 file: loader, training, adapter, proof."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the gemma extra")
pytest.importorskip("peft", reason="needs the gemma extra")

from harness.jinja.chat import render_chat_template  # noqa: E402
from recipe.gemma import convert, model, proof, train  # noqa: E402
from recipe.gemma.row import HERE  # noqa: E402
from recipe.proof import Reader  # noqa: E402
from tests.support.gemma_mini import write_mini  # noqa: E402

PLAN = train.Plan(rank=4, alpha=8.0, rows=2, rate=0.02, warmup=1, mass=0.9, threads=1,
                  save_every=2, half=False)  # fmt: skip
ROWS = [
    {"messages": [{"role": "user", "content": f"Say {word} twice."}], "answer": f"{word} {word}"}
    for word in ("us", "user", "sure", "ruse", "eras", "see", "ears", "rare", "area", "err")
]
TEXTS = ("Füße 你好", "us user 123", model.chat(ROWS[0]["messages"]))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mini(tmp_path_factory.mktemp("gemma") / "mini-F32.gguf")


@pytest.fixture(scope="module")
def rows(file: Path) -> list[model.Encoded]:
    with Reader(file) as reader:
        return model.encode(ROWS, reader)


def trained(file: Path, rows: list[model.Encoded], out: Path) -> dict[str, Any]:
    train.train(model.load_model(file), rows, PLAN, out)
    return torch.load(out, weights_only=True)


def test_llama_cpp_gives_torchs_logits(file: Path) -> None:
    found = proof.agreement(model.load_model(file), file, texts=TEXTS)
    assert found.same_top == found.decided > 30
    assert found.largest_difference < 0.02


@pytest.mark.slow
def test_the_adapter_teaches_and_llama_cpp_applies_it(
    file: Path, rows: list[model.Encoded], tmp_path: Path
) -> None:
    trained(file, rows, tmp_path / "adapter.pt")
    convert.write_adapter(tmp_path / "adapter.pt", PLAN.alpha, tmp_path / "adapter.gguf")
    tuned = model.add_adapter(model.load_model(file), PLAN.rank, PLAN.alpha, PLAN.seed)
    kept = train.kept_ids(tuned, rows, rows, PLAN.mass)
    table = tuned.get_base_model().get_input_embeddings().weight[kept]
    before = train.answer_loss(tuned, rows, table, kept)
    train.load_adapter(tuned, tmp_path / "adapter.pt")
    assert train.answer_loss(tuned, rows, table, kept) < before - 0.5
    with_it = proof.agreement(tuned, file, tmp_path / "adapter.gguf", texts=TEXTS)
    assert with_it.same_top == with_it.decided
    assert with_it.largest_difference < 0.05
    without = proof.agreement(tuned, file, texts=TEXTS)
    assert without.largest_difference > 10 * with_it.largest_difference


@pytest.mark.slow
def test_an_interrupted_training_goes_on_to_the_same_adapter(
    file: Path, rows: list[model.Encoded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(file, rows, tmp_path / "whole.pt")
    left, loss = [4], train.answer_loss

    def breaking(*args: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return loss(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train, "answer_loss", breaking)
        trained(file, rows, tmp_path / "broken.pt")
    assert not (tmp_path / "broken.pt").exists()
    again = trained(file, rows, tmp_path / "broken.pt")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    steps = [json.loads(line)["step"] for line in (tmp_path / "broken.log.jsonl").open()]
    assert steps == [1, 2, 3, 3, 4, 5], "step 3 was computed again, from the checkpoint of step 2"


def test_only_answers_are_learned_and_padding_is_not_seen(
    file: Path, rows: list[model.Encoded]
) -> None:
    tuned = model.add_adapter(model.load_model(file), PLAN.rank, PLAN.alpha, PLAN.seed)
    kept = train.kept_ids(tuned, rows, rows, 1.0)
    table = tuned.get_base_model().get_input_embeddings().weight[kept]
    alone = [train.answer_loss(tuned, [row], table, kept).item() for row in rows[:3]]
    weights = [len(row.answer) for row in rows[:3]]
    together = train.answer_loss(tuned, rows[:3], table, kept).item()
    assert together == pytest.approx(float(np.average(alone, weights=weights)), abs=1e-4)
    seen = {i for row in rows for i in (*row.prompt, *row.answer)}
    few, many = (train.kept_ids(tuned, rows, rows, mass).tolist() for mass in (0.1, 0.99))
    assert seen <= set(few) < set(many) <= set(kept.tolist())


def test_the_learning_rate_rises_and_falls() -> None:
    plan = dataclasses.replace(PLAN, rate=1.0, warmup=10)
    rates = [train.rate(plan, step, 100) for step in range(100)]
    assert rates.index(max(rates)) == 9
    assert rates[9:] == sorted(rates[9:], reverse=True) and 0.1 < rates[-1] < 0.11


@pytest.mark.parametrize("name", ["lm_head.lora_A.default.weight", "layers.1.mlp.lora_A.weight"])
def test_a_tensor_that_is_no_adapters_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no adapter tensor"):
        convert.tensor_name(name)


@pytest.mark.parametrize("system", [[], [{"role": "system", "content": "Be brief."}]])
def test_training_sees_what_the_chat_template_writes(system: list[dict[str, str]]) -> None:
    turns = [
        *system,
        {"role": "user", "content": "One? "},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "Three?"},
    ]
    template = (HERE / "chat.jinja").read_text(encoding="utf-8").strip()
    rendered = render_chat_template(template, turns, bos_token="<bos>", eos_token="<eos>")
    assert rendered == "<bos>" + model.chat(turns)
