"""The installed command on real weights: a real base model and a real instruct model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.support.command import ROOT, harness, samples, table, texts

pytestmark = [pytest.mark.real, pytest.mark.timeout(1500)]

WEIGHTS = {
    "base": ROOT / "weights" / "gemma-3-270m-Q4_K_M.gguf",
    "instruct": ROOT / "weights" / "SmolLM2-135M-Instruct-Q4_1.gguf",
}

SUMMARY_COLUMNS = {
    *("stage", "level", "strategy", "n", "prompt_level_strict_acc", "inst_level_strict_acc"),
    *("prompt_level_loose_acc", "inst_level_loose_acc", "eos_rate", "mean_prompt_tokens"),
    "mean_completion_tokens",
}
SAMPLE_COLUMNS = {
    *("sample_id", "stage", "level", "strategy", "epoch", "prompt", "text", "answer"),
    *("finish_reason", "prompt_tokens", "completion_tokens"),
}


@pytest.fixture(scope="module", autouse=True)
def weights() -> None:
    for path in WEIGHTS.values():
        if not path.is_file():
            pytest.fail(f"{path} is missing: run `make setup-weights`")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A limited run of the shipped cross-family experiment, and its cache beside it."""
    folder = tmp_path_factory.mktemp("cross")
    done = harness(
        "run", "cross-family", "--limit", 12, "--max-tokens", 48, "-o", folder / "report",
        cache=folder / "cache", timeout=1400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_the_run_writes_every_file_with_the_columns_people_read(finished: Path) -> None:
    report = finished / "report"
    summary = table(report / "summary.csv")
    assert set(summary[0]) >= SUMMARY_COLUMNS
    rows = samples(report)
    assert set(rows[0]) >= SAMPLE_COLUMNS
    asked = {(r["stage"], r["strategy"]) for r in summary if r["stage"] != "control"}
    assert asked == {
        *(("base", name) for name in ("raw", "raw_nl", "qa", "sys_qa", "icl_3")),
        ("instruct", "native"),
        ("instruct", "raw"),
    }
    assert table(report / "scores.csv")
    for row in rows:
        if row["stage"] != "control" and row["finish_reason"] != "failed":
            assert row["completion_tokens"] <= 48
            assert row["text"].startswith(row["answer"])


def test_the_report_says_plainly_that_these_are_two_families(finished: Path) -> None:
    text = (finished / "report" / "report.md").read_text(encoding="utf-8")
    assert "two different families" in text
    assert "TWO FAMILIES" in text


def test_the_manifest_pins_everything_and_tells_no_home_path(finished: Path) -> None:
    text = (finished / "report" / "manifest.json").read_text(encoding="utf-8")
    manifest = json.loads(text)
    assert str(Path.home()) + "/" not in text or str(Path.home()) == "/"
    assert len(manifest["models"]["base/as-is"]["sha256"]) == 64
    assert manifest["versions"]["llama-cpp-python"] == "0.3.36"
    assert manifest["engine"]["settings"]["base/as-is"]["mode"] == "exact"


def test_the_same_command_again_generates_nothing(finished: Path) -> None:
    again = harness(
        "run", "cross-family", "--limit", 12, "--max-tokens", 48, "-o", finished / "again",
        cache=finished / "cache", timeout=600,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert "0 to answer" in again.stderr
    assert texts(finished / "again") == texts(finished / "report")


def test_rescoring_loads_no_model_and_changes_no_verdict(finished: Path) -> None:
    before = (finished / "report" / "scores.csv").read_bytes()
    # No model file can be found from an empty folder: scoring must not look for one.
    done = harness("score", finished / "report", cache=finished / "cache", cwd=finished)
    assert done.returncode == 0, done.stderr
    assert "0 changed" in done.stdout
    assert (finished / "report" / "scores.csv").read_bytes() == before


def test_texts_are_identical_at_any_parallelism(tmp_path: Path) -> None:
    """Prompts of about 20 to 1,500 tokens mixed, the same bytes at 1, 4 and 16 busy slots."""
    suite = tmp_path / "mixed.jsonl"
    filler = "The river runs past the old mill, and the miller counts the sacks. "
    with suite.open("w", encoding="utf-8") as out:
        for number, repeats in enumerate([1, 3, 95, 10, 1, 40, 2, 80, 5, 1, 20, 60]):
            row = {
                "id": f"mixed-{number}",
                "prompt": filler * repeats + f"Continue the story with part {number}.",
                "checks": [{"id": "punctuation:no_comma", "kwargs": {}}],
            }
            out.write(json.dumps(row) + "\n")
    experiment = {
        "name": "mixed",
        "stages": {name: str(path) for name, path in WEIGHTS.items()},
        "strategies": {"base": ["raw"], "instruct": ["native"]},
        "suites": [str(suite)],
        "controls": [],
        "sampling": {"max_tokens": 24},
    }
    file = tmp_path / "mixed.yaml"
    file.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    found = {}
    for parallel in (16, 4, 1):
        out_folder = tmp_path / f"p{parallel}"
        done = harness(
            "run", file, "--parallel", parallel, "-o", out_folder,
            cache=tmp_path / f"cache{parallel}", timeout=1400,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found[parallel] = texts(out_folder)
    lengths = [row["prompt_tokens"] for row in samples(tmp_path / "p16")]
    assert min(lengths) < 40
    assert max(lengths) > 1300
    assert found[1] == found[16]
    assert found[4] == found[16]
