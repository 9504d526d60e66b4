"""The ablated control through the command: asked for, run, reported, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import harness, samples, table

ROWS = [
    {"id": "a", "prompt": "Where does Jalen live? Use no comma.",
     "ablated": "Where does Jalen live?", "checks": [{"id": "punctuation:no_comma"}]},
    {"id": "b", "prompt": "Which colour is Hood? Answer in one word.", "target": "red"},
]  # fmt: skip


@pytest.mark.slow
def test_an_ablated_arm_asks_without_the_instruction_and_is_judged_with_it(tmp_path: Path) -> None:
    suite = tmp_path / "mine.jsonl"
    suite.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    out = tmp_path / "run"
    done = harness(
        "run", "tiny", "--suite", suite, "--strategies", "qa,qa (ablated)", "--quants", "F16",
        "--max-tokens", 8, "-o", out, cache=tmp_path / "cache",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    asked = {row["sample_id"]: row for row in samples(out) if row["strategy"] == "qa (ablated)"}
    assert set(asked) == {"a"}  # b holds no ablated text: left out, neither failed nor missing
    assert "Use no comma" not in asked["a"]["prompt"]
    assert "Where does Jalen live?" in asked["a"]["prompt"]
    assert [check["id"] for check in asked["a"]["checks"]] == ["punctuation:no_comma"]
    assert "unasked (" in done.stdout
    report = (out / "report.md").read_text(encoding="utf-8")
    assert "## What passes unasked" in report and "## Counted otherwise" in report
    (row,) = [row for row in table(out / "summary.csv") if row["strategy"] == "qa (ablated)"]
    assert (row["n"], row["n_missing"]) == ("1", "0")
    for words in (["verify", out], ["report", out], ["score", out]):
        done = harness(*words, cache=tmp_path / "cache")
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_an_ablated_arm_needs_a_row_to_ask(tmp_path: Path) -> None:
    suite = tmp_path / "mine.jsonl"
    suite.write_text(json.dumps(ROWS[1]), encoding="utf-8")
    done = harness(
        "run", "tiny", "--suite", suite, "--strategies", "qa (ablated)", cache=tmp_path / "cache"
    )
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "strategy 'qa (ablated)': no item of the suites has an `ablated` text" in done.stderr
