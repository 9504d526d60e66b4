"""``--seed``, ``--epochs`` and ``--ngl`` of ``harness run``, and what the cache keeps of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import ROOT, here, samples

EXPERIMENT = f"""\
name: sampled
stages: {{base: {ROOT}/models/tiny-base-F16.gguf}}
strategies: {{base: [raw]}}
suites: [tiny]
controls: []
sampling: {{max_tokens: 12, temperature: 1.0}}
engine: {{threads: 1}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "sampled.yaml").write_text(EXPERIMENT, encoding="utf-8")
    return tmp_path


def run(place: Path, folder: str, *options: object) -> dict[tuple[str, int], str]:
    """Every answer of a run of three items, by item and epoch."""
    done = here(
        "run", "sampled.yaml", "--limit", 3, "-o", folder, *options,
        cache=place / "cache", cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {(row["sample_id"], row["epoch"]): row["text"] for row in samples(place / folder)}


@pytest.mark.slow
def test_a_seed_and_epochs_draw_answers_that_are_kept_apart_and_come_again(place: Path) -> None:
    once = run(place, "once", "--seed", 5)
    twice = run(place, "twice", "--seed", 5, "--epochs", 2, "--ngl", 0)
    assert len(once) == 3 and len(twice) == 6
    assert {key: twice[key] for key in once} == once  # the first epoch is the run without more
    assert any(twice[item, 0] != twice[item, 1] for item, _ in once)
    assert run(place, "other", "--seed", 6) != once
    manifest = json.loads((place / "twice" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["experiment"]["seed"], manifest["experiment"]["epochs"]) == (5, 2)
    assert manifest["experiment"]["engine"]["n_gpu_layers"] == 0

    def cache(*words: object) -> str:
        done = here("cache", *words, cache=place / "cache")
        assert done.returncode == 0, done.stderr
        return done.stdout

    (model,) = json.loads(cache("list", "--json"))["answers"]
    assert model["answers"] == 9 and model["bytes"] > 0
    assert model["model_sha256"][:16] in cache("list")
    assert "answers removed: 0" in cache("clean", "--older-than", 1)
    assert "answers removed: 0" in cache("clean", "--model", "0" * 64)
    assert "answers removed: 9" in cache("clean", "--model", model["model_sha256"][:12])
    assert json.loads(cache("list", "--json"))["answers"] == []
    assert run(place, "again", "--seed", 5, "--no-cache") == once


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--ngl", "many"), "--ngl takes a number of layers, -1 for all, or auto: 'many'"),
        (("--ngl", -5), "--ngl -5: wanted a number of layers, -1 for all, or auto"),
        (("--seed", -1), "--seed"),
        (("--seed", 2**32), "seed"),
        (("--epochs", 0), "--epochs"),
    ],
    ids=str,
)
def test_numbers_that_mean_nothing_are_refused(
    place: Path, options: tuple[object, ...], said: str
) -> None:
    words = ("run", "sampled.yaml", "--dry-run", "--limit", 1, *options)
    done = here(*words, cache=place / "cache", cwd=place)
    assert done.returncode == 2 and said in done.stderr, done.stderr


def test_epochs_of_greedy_answers_are_refused(place: Path) -> None:
    greedy = EXPERIMENT.replace("temperature: 1.0", "temperature: 0")
    (place / "sampled.yaml").write_text(greedy, encoding="utf-8")
    words = ("run", "sampled.yaml", "--dry-run", "--epochs", 2)
    done = here(*words, cache=place / "cache", cwd=place)
    assert done.returncode == 2 and "the same answer 2 times" in " ".join(done.stderr.split())


def test_a_prefix_that_could_be_of_many_models_removes_nothing(tmp_path: Path) -> None:
    done = here("cache", "clean", "--model", "abc", cache=tmp_path)
    assert done.returncode == 2 and "at least 8 digits" in done.stderr
