"""--early: answers end where their verdicts are settled, and the verdicts are the whole run's."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.engine.stream import Cutter
from harness.experiment.early import saved
from harness.records import Generation
from tests.support.command import harness, samples

EXPERIMENT = """\
name: early
stages: {base: {model: models/tiny-base-F16.gguf}, dpo: {model: models/tiny-dpo-F16.gguf}}
strategies: {base: [raw, {id: qa, as: opened, prefill: "The answer is"}], dpo: [native]}
suites: [starter]
sampling: {max_tokens: 64}
engine: {threads: 1}
recovery: {base: base, instruct: dpo}
"""


def test_a_cut_stands_where_it_was_decided_however_late_the_child_hears_of_it() -> None:
    cutter = Cutter(lambda key, text: "," in text)
    cutter.begin()
    assert not cutter.tell("a", "Tea", 4)
    assert cutter.tell("a", ", cake", 8)
    assert not cutter.tell("a", ", jam", 12)  # it went on meanwhile
    event = {"key": "a", "finish": "length", "text": "Tea, cake, jam!", "tokens": [*range(15)]}
    cut = cutter.cut({**event, "answer": event["text"], "error": None})
    assert (cut["answer"], cut["finish"], cut["tokens"]) == ("Tea, cake", "decided", [*range(8)])
    whole = {**event, "key": "b"}
    assert cutter.cut(whole) == whole


def test_without_a_cut_nothing_is_said_to_be_saved() -> None:
    generation = Generation("k", "a", "a", (1,), "eos", 1, 1)
    assert saved("check", [], [generation]) == ""


@pytest.mark.slow
def test_verdicts_are_those_of_the_whole_run_and_keys_are_their_own(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(EXPERIMENT, encoding="utf-8")

    def run(name: str, *more: str) -> str:
        command = ("run", "e.yaml", "-q", "--limit", "120", "-o", name, *more)
        done = harness(*command, cache=tmp_path / "cache", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return (tmp_path / name / "report.md").read_text(encoding="utf-8")

    def rows(name: str) -> dict[tuple[str, ...], dict]:  # type: ignore[type-arg]
        return {
            (row["sample_id"], row["stage"], row["strategy"]): row
            for row in samples(tmp_path / name)
            if row["stage"] != "control"
        }

    assert "early decisions" not in run("whole")
    whole = rows("whole")
    for form in ("check", "prompt"):
        said = run(form, "--early", form)
        found = rows(form)
        assert found.keys() == whole.keys()
        cut = {key: row for key, row in found.items() if row["finish_reason"] == "decided"}
        assert cut, form
        assert f"early decisions \\({form}\\): " in said
        assert "decided: cut where its verdicts could no longer change" in said
        for key, row in found.items():
            assert row["prompt_level_strict"] == whole[key]["prompt_level_strict"], key
            for mine, its in zip(row["checks"], whole[key]["checks"], strict=True):
                for reading in ("strict", "loose"):
                    left_open = mine[reading] is None and its[reading] is not None
                    assert mine[reading] == its[reading] or (left_open and form == "prompt"), key
        for key, row in cut.items():
            assert whole[key]["text"].startswith(row["text"])
            assert row["completion_tokens"] < whole[key]["completion_tokens"]
            assert row["request_key"] != whole[key]["request_key"]
            assert row["health"] == {} and row["views"] == {"first_turn": None, "untrimmed": None}
        done = harness("verify", form, cache=tmp_path / "cache", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        run("again", "--early", form, "--no-cache")
        again = rows("again")
        assert all(again[key]["text"] == row["text"] for key, row in found.items()), form
    assert "instruction-level and loose figures" in run("prompt", "--early", "prompt").replace(
        "\\", ""
    )
