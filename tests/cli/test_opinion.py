"""``harness opinion``: a judge's word is counted beside the checks, and enters nothing else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from harness.experiment.opinion import Preference, accord, calibrated, threshold
from harness.hashing import file_sha256
from tests.support.command import ROOT, harness, here, samples

JUDGE = ROOT / "models/tiny-dpo-F16.gguf"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("opinion")
    rows = [
        {"id": f"p{n}", "prompt": f"Where does {name} live?", "target": "Bertham"}
        for n, name in enumerate(("Jalen", "Mira", "Hood", "Orla", "Tarholt"))
    ]
    # In the judge's chat template this would be a control token: it is not asked of it.
    rows.append({"id": "odd", "prompt": "Say <|im_end|> twice.", "target": "x", "max_tokens": 4})
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "e.yaml").write_text(
        f"name: e\nstages: {{base: {ROOT}/models/tiny-base-F16.gguf, instruct: {JUDGE}}}\n"
        "strategies: {base: [raw, qa], instruct: [raw_nl]}\n"
        "suites: [mine.jsonl]\nsampling: {max_tokens: 12}\n",
        encoding="utf-8",
    )
    done = here("run", "e.yaml", "-q", "-o", "run", cache=folder / "cache", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def opinion(run: Path, *words: object) -> dict[str, Any]:
    command = ("opinion", "run", "--model", JUDGE, "--json", *words)
    done = harness(*command, cache=run.parent / "cache", cwd=run.parent)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_every_answer_gets_one_and_the_run_stays_what_it_was(run: Path) -> None:
    before = {path: file_sha256(path) for path in run.rglob("*") if path.is_file()}
    found = opinion(run, "--question", "Is this a place?", "-o", "opinions.jsonl")
    assert {path: file_sha256(path) for path in run.rglob("*") if path.is_file()} == before
    answers = [row for row in samples(run) if row["stage"] != "control"]
    assert found["left_out"] == 3 and len(found["opinions"]) == len(answers) - 3 == 15
    lines = (run.parent / "opinions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == found["opinions"]
    for row in found["opinions"]:
        assert row["p_yes"] == pytest.approx(1 / (1 + math.exp(-row["log_odds"])))
    yes = [row for row in found["opinions"] if row["log_odds"] > 0]
    assert sum(arm["yes"] for arm in found["yes"].values()) == len(yes)
    same = sum((row["log_odds"] > 0) == row["passed"] for row in found["opinions"])
    assert found["agreement_with_checks"]["agrees"] == same
    assert found["agreement_with_labels"] is None
    again = opinion(run, "--question", "Is this a place?", "--arm", "qa")
    kept = [row for row in found["opinions"] if row["condition"].endswith("/qa")]
    assert [row["log_odds"] for row in again["opinions"]] == [row["log_odds"] for row in kept]


@pytest.mark.slow
def test_a_pair_is_asked_in_both_orders_and_has_no_first_place(run: Path) -> None:
    question = ("--question", "Which one names a place?")
    one = opinion(run, *question, "--pair", "qa", "raw_nl")
    other = opinion(run, *question, "--pair", "raw_nl", "qa")
    assert one["chosen"]["left"] == other["chosen"]["right"]
    assert one["chosen"]["neither"] == other["chosen"]["neither"]
    turned = {row["sample_id"]: row for row in other["opinions"]}
    for row in one["opinions"]:
        twin = turned[row["sample_id"]]
        assert (row["log_odds"], row["log_odds_swapped"]) == (
            twin["log_odds_swapped"],
            twin["log_odds"],
        )


@pytest.mark.slow
def test_labels_say_how_far_it_agrees_with_their_author(run: Path) -> None:
    free = opinion(run, "--question", "Is this a place?", "--arm", "base")["opinions"]
    labels = [
        {"id": row["sample_id"], "arm": row["condition"], "label": row["log_odds"] < 0}
        for row in free
    ]
    path = run.parent / "labels.jsonl"
    path.write_text("\n".join(map(json.dumps, labels)), encoding="utf-8")
    found = opinion(run, "--question", "Is this a place?", "--arm", "base", "--labels", path)
    # The author is of the other opinion throughout.
    assert found["agreement_with_labels"]["agrees"] == 0
    assert found["agreement_with_labels"]["n"] == len(free)
    command = ("opinion", "run", "--model", JUDGE, "--question", "Is it?", "--labels", path)
    said = harness(*command, cache=run.parent / "cache", cwd=run.parent)
    assert "weaker evidence than a check, in no figure of the run" in said.stdout
    assert "agrees with your labels" in said.stdout
    path.write_text('{"id": "p0", "arm": "base/as-is/qa", "label": "yes"}', encoding="utf-8")
    wrong = harness(*command, cache=run.parent / "cache", cwd=run.parent)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert f"{path}:1: wanted" in wrong.stderr


def test_a_preference_is_one_that_no_order_changes() -> None:
    assert Preference("a", 0, 1.0, -1.0).choice == "left"
    assert Preference("a", 0, -1.0, 1.0).choice == "right"
    assert Preference("a", 0, 1.0, 1.0).choice == "neither"
    assert Preference("a", 0, 0.0, -1.0).choice == "neither"


def test_a_judge_that_is_only_shifted_is_put_right_by_labels() -> None:
    labelled = [(value, value > 2.5) for value in (0.5, 1.0, 1.5, 2.0, 3.0, 3.5, 4.0, 4.5)]
    plain = accord([(odds > 0, label) for odds, label in labelled])
    assert plain is not None and (plain.agrees, plain.n) == (4, 8)
    assert plain.chance == pytest.approx(0.5)
    assert threshold(labelled) == pytest.approx(2.5)
    found = calibrated(labelled)
    assert found is not None and found.agrees == 8
    # One that knows nothing is not: leaving a label out takes its luck away.
    noise = [(1.0, True), (2.0, False), (3.0, True), (4.0, False)]
    lucky = calibrated(noise)
    assert lucky is not None and lucky.agrees <= 2
    assert accord([]) is None and threshold([]) == 0.0
