"""The answer store: what is in it, what changes a key, what a kill may cost."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import StoreError
from harness.records import (
    Condition,
    EngineIdentity,
    Generation,
    LogitRules,
    Passage,
    RenderedPrompt,
    Request,
    Rerank,
    Sampling,
    passage_key,
    request_key,
)
from harness.store import Removed, Store
from tests.support.command import ROOT

PROMPT = RenderedPrompt(
    text="Q", token_ids=(1, 2), stops=("\nQ:",), bos_count=1, special_tokens=(), template_sha256="t"
)
ENGINE = EngineIdentity(
    mode="exact",
    width=16,
    chunk=256,
    llama_build="b1",
    backend="CPU",
    cpu_features="AVX2",
    n_gpu_layers=0,
)
DRAWN = Sampling(temperature=0.7)


def key(**changes: Any) -> str:
    values: dict[str, Any] = {
        "prompt": PROMPT,
        "model_sha256": "m",
        "sampling": DRAWN,
        "seed": 0,
        "epoch": 0,
        "engine": ENGINE,
    }
    return request_key(**{**values, **changes})


SAMPLING_CHANGES = {
    "temperature": 0.8,
    "top_k": 3,
    "top_p": 0.5,
    "min_p": 0.1,
    "repeat_penalty": 1.1,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "penalty_last_n": 8,
    "logit_bias": ((1, 2.0),),
    "max_tokens": 12,
    "overrun": 4,
}
ENGINE_CHANGES = {
    "mode": "fast",
    "width": 8,
    "chunk": 512,
    "llama_build": "b2",
    "backend": "CUDA",
    "cpu_features": "AVX512",
    "n_gpu_layers": -1,
    "adapter_sha256": "a",
    "adapter_scale": 0.5,
}
PROMPT_CHANGES = {
    "token_ids": (1, 3),
    "stops": (),
    "rules": LogitRules(eos_slope=0.1),
    "rerank": Rerank(n=2, judge="{answer}"),
}


def test_every_field_of_sampling_and_engine_is_covered_by_a_change() -> None:
    assert set(SAMPLING_CHANGES) == {field.name for field in dataclasses.fields(Sampling)}
    assert set(ENGINE_CHANGES) <= {field.name for field in dataclasses.fields(EngineIdentity)}
    assert len(ENGINE_CHANGES) == len(dataclasses.fields(EngineIdentity))


@pytest.mark.parametrize(
    "changes",
    [
        *({"sampling": dataclasses.replace(DRAWN, **{k: v})} for k, v in SAMPLING_CHANGES.items()),
        *({"engine": dataclasses.replace(ENGINE, **{k: v})} for k, v in ENGINE_CHANGES.items()),
        *({"prompt": dataclasses.replace(PROMPT, **{k: v})} for k, v in PROMPT_CHANGES.items()),
        {"model_sha256": "n"},
        {"seed": 1},
        {"epoch": 1},
    ],
    ids=str,
)
def test_changing_any_one_thing_misses(changes: dict[str, Any]) -> None:
    assert key(**changes) != key()


def test_what_cannot_change_an_answer_is_not_in_the_key() -> None:
    assert key(prompt=dataclasses.replace(PROMPT, template_sha256="other")) == key()
    greedy = Sampling()
    assert key(sampling=greedy, seed=1) == key(sampling=greedy, seed=2)


def request(number: int) -> Request:
    return Request(
        key=f"k{number}",
        sample_id=f"s{number}",
        condition=Condition("base", "F16", "raw"),
        model_sha256="m" * 64,
        prompt=PROMPT,
        sampling=Sampling(),
    )


def generation(number: int, **changes: Any) -> Generation:
    values = Generation(
        request_key=f"k{number}",
        text=f"text {number} é\x00",
        answer="text",
        token_ids=(1, 70000, 3),
        finish_reason="eos",
        prompt_tokens=2,
        completion_tokens=3,
        seconds=0.5,
    )
    return dataclasses.replace(values, **changes)


def test_an_answer_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite") as store:
        store.add(request(1), generation(1))
        assert store.find(["k1", "k2"]) == {"k1": generation(1)}
    with Store(tmp_path / "s.sqlite") as again:
        assert again.find(["k1"]) == {"k1": generation(1)}


def test_a_failed_generation_is_not_stored_and_so_tried_again(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite") as store:
        store.add(request(1), generation(1, finish_reason="failed", error="killed"))
        assert store.find(["k1"]) == {}


def test_an_answer_is_replaced_only_on_demand(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite") as store:
        store.add(request(1), generation(1))
        store.add(request(1), generation(1, text="new"))
        assert store.find(["k1"])["k1"].text == generation(1).text
        store.add(request(1), generation(1, text="new"), replace=True)
        assert store.find(["k1"])["k1"].text == "new"


def test_thousands_of_keys_are_found_at_once(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite") as store:
        for number in range(1200):
            store.add(request(number), generation(number))
        assert len(store.find(f"k{n}" for n in range(2000))) == 1200
        assert [use.answers for use in store.usage()] == [1200]
        assert store.clean(model_sha256="zz") == Removed(0, 0)
        assert store.clean(older_than=time.time() - 3600) == Removed(0, 0)
        assert store.clean(model_sha256="mmmm") == Removed(1200, 0)


def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(path)
    assert path.read_bytes() == before


def test_a_store_of_a_newer_harness_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer harness"):
        Store(path)


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.store.test_store import Store, generation, request
store = Store(Path(sys.argv[1]))
for number in range(10**9):
    store.add(request(number), generation(number))
    print(number, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 needs a POSIX system")
@pytest.mark.slow
def test_a_killed_writer_loses_nothing_it_had_stored(tmp_path: Path) -> None:
    """Kill for real, several times at random moments, into the same file."""
    path = tmp_path / "s.sqlite"
    root = str(ROOT)
    for attempt in range(6):
        script = [sys.executable, "-c", WRITER, str(path), root]
        writer = subprocess.Popen(script, stdout=subprocess.PIPE, text=True, cwd=root)
        assert writer.stdout is not None
        written = [int(writer.stdout.readline())]
        time.sleep(random.Random(attempt).uniform(0, 0.2))
        os.kill(writer.pid, signal.SIGKILL)
        # The last line may be cut; every whole line was printed after its add() returned.
        written += [int(n) for n in writer.stdout.read().split("\n")[:-1]]
        writer.wait()
        writer.stdout.close()
        with Store(path) as store:
            found = store.find(f"k{n}" for n in written)
            assert len(found) == len(written)
            assert all(found[f"k{n}"] == generation(n) for n in written)


def _answered(store: Store, count: int) -> list[str]:
    keys = [f"k{number}" for number in range(count)]
    for name in keys:
        store.add(_request(name), _generation_of(name, f"the secret text of {name}"))
    return keys


def _request(name: str) -> Request:
    return Request(name, "s", Condition("base", "F16", "raw"), "m" * 64, PROMPT, Sampling())


def _generation_of(name: str, text: str) -> Generation:
    return Generation(name, text, text, (1, 2, 3), "eos", 2, 3, 0.25)


def passage(**changes: Any) -> str:
    values: dict[str, Any] = {"passage": Passage((1, 2, 3)), "model_sha256": "m", "engine": ENGINE}
    return passage_key(**{**values, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"passage": Passage((1, 2, 4))},
        {"passage": Passage((1, 2, 3), 2)},
        {"model_sha256": "n"},
        *({"engine": dataclasses.replace(ENGINE, **{k: v})} for k, v in ENGINE_CHANGES.items()),
    ],
    ids=str,
)
def test_another_text_place_model_or_engine_is_another_score(changes: dict[str, Any]) -> None:
    assert passage(**changes) != passage()


def test_scores_come_back_to_the_last_bit_are_counted_and_cleaned_away(tmp_path: Path) -> None:
    figures = np.array([[-0.1, -1 / 3, -np.inf], [0, 2**31, 7]])
    with Store(tmp_path / "s.sqlite") as store:
        store.add(request(1), generation(1))
        store.scores.add("t1", "m" * 64, figures)
        store.scores.add("t2", "other", figures[:, :1])
    with Store(tmp_path / "s.sqlite") as store:
        found = store.scores.find(["t1", "t2", "t3"])
        assert found.keys() == {"t1", "t2"}
        np.testing.assert_array_equal(found["t1"], figures)
        counts = {use.model_sha256: (use.answers, use.texts) for use in store.usage()}
        assert counts == {"m" * 64: (1, 1), "other": (0, 1)}
        assert store.clean(model_sha256="other") == Removed(0, 1)
        assert store.scores.find(["t1", "t2"]).keys() == {"t1"}
        assert store.clean().texts == 1


@pytest.mark.parametrize(("column", "value"), [("figures", b"\0" * 48), ("columns", 1)])
def test_scores_that_the_disk_changed_are_as_if_never_stored(
    tmp_path: Path, column: str, value: Any
) -> None:
    path = tmp_path / "s.sqlite"
    with Store(path) as store:
        store.scores.add("t1", "m", np.ones((2, 3)))
        store.scores.add("t2", "m", np.ones((2, 3)))
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE scores SET {column} = ? WHERE key = 't1'", (value,))
    with Store(path) as store:
        assert store.scores.find(["t1", "t2"]).keys() == {"t2"}
        assert [use.texts for use in store.usage()] == [1]


@pytest.mark.parametrize("column", ["text", "answer", "finish_reason", "token_ids", "seconds"])
def test_a_row_that_the_disk_changed_is_removed_and_not_answered_with(
    tmp_path: Path, column: str
) -> None:
    path = tmp_path / "answers.sqlite"
    with Store(path) as store:
        keys = _answered(store, 3)
    spoilt: dict[str, Any] = {"token_ids": b"\x09\0\0\0", "seconds": 9.5, "finish_reason": "stop"}
    with sqlite3.connect(path) as db:
        value = spoilt.get(column, b"\xff\xfe not UTF-8")
        db.execute(f"UPDATE answers SET {column} = ? WHERE key = 'k1'", (value,))
    with Store(path) as store:
        assert sorted(store.find(keys)) == ["k0", "k2"]
        assert store.damaged == 1
        store.add(_request("k1"), _generation_of("k1", "again"))
        assert store.find(["k1"])["k1"].text == "again"


def test_no_damage_to_the_file_shows_another_text_or_the_text_in_an_error(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with Store(path) as store:
        keys = _answered(store, 40)
        known = {name: made.text for name, made in store.find(keys).items()}
    whole = path.read_bytes()
    for seed in range(60):
        rng = random.Random(seed)
        spoiled = bytearray(whole)
        for _ in range(3):
            spoiled[rng.randrange(100, len(spoiled))] ^= 1 << rng.randrange(8)
        for rest in tmp_path.glob("answers.sqlite-*"):
            rest.unlink()
        path.write_bytes(spoiled)
        try:
            with Store(path) as store:
                found = store.find(keys)
        except StoreError as error:
            assert "secret text" not in str(error)
            continue
        assert all(known[name] == made.text for name, made in found.items()), seed


def test_a_store_of_the_first_version_is_adopted(tmp_path: Path) -> None:
    from harness.store import schema

    path = tmp_path / "answers.sqlite"
    with sqlite3.connect(path) as db:
        for statement in schema.MIGRATIONS[0].split(";"):
            db.execute(statement)
        row = ("k", "m", "s", "old text", "old", b"\1\0\0\0", "eos", 1, 1, 0.5, 1.0)
        db.execute(f"INSERT INTO answers VALUES ({','.join('?' * 11)})", row)
        db.execute("PRAGMA user_version = 1")
    with Store(path) as store:
        assert store.find(["k"])["k"].text == "old text"
        assert store.damaged == 0
        (use,) = store.usage()
    assert use.last_used > 1_000, "found just now, added in 1970"
