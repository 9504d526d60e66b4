"""What a run will cost and what its items can tell, said before it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.stats.power import minimum_detectable_effect
from tests.support.command import ROOT, harness, here

EXPERIMENT = f"""\
name: planned
stages: {{base: {ROOT}/models/tiny-base-F16.gguf, instruct: {ROOT}/models/tiny-dpo-F16.gguf}}
strategies: {{base: [raw, qa, sys_qa], instruct: [native]}}
suites: [tiny]
sampling: {{max_tokens: 8}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "planned.yaml").write_text(EXPERIMENT, encoding="utf-8")
    return tmp_path


def plan(folder: Path, *more: object) -> str:
    done = here("plan", "planned.yaml", "--limit", 40, *more, cache=folder / "cache", cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_power_is_that_of_the_items_at_hand_and_of_the_family(folder: Path) -> None:
    seen = json.loads(plan(folder, "--power", "--json"))["power"]
    assert (seen["items"], seen["family"]) == (40, 3)
    for row in seen["resolutions"]:
        assert row["alone"] == minimum_detectable_effect(40, row["discordance"])
        assert row["adjusted"] is None or row["adjusted"] > row["alone"]
    chances = [chance for _, chance in seen["shares"]]
    assert chances == sorted(chances) and 0 < chances[0] < 0.6 < chances[-1]
    told = plan(folder, "--power")
    assert "power: 40 independent items; a difference under" in told
    assert "after Holm over 3" in told


@pytest.mark.slow
def test_a_probe_tells_the_time_and_its_answers_are_the_runs_own(folder: Path) -> None:
    before = plan(folder)
    assert "base/as-is: 120 requests to answer" in before
    assert "how long that takes is not known" in before
    probed = plan(folder, "--probe")
    assert "by 16 of them" in probed and "together about" in probed
    after = json.loads(plan(folder, "--json"))["cost"]
    assert [item["pending"] for item in after] == [120 - 16, 40 - 16]
    run = ["run", "planned.yaml", "--limit", 40, "-o", "run"]
    done = harness(*run, cache=folder / "cache", cwd=folder)
    assert "base/as-is: 104 to answer" in done.stderr
    assert "everything is answered already" in plan(folder)
    more = json.loads(plan(folder, "--limit", 80, "--json"))["cost"][0]
    assert more["pending"] == 120 and more["seconds"] > 0
    # 120 answers have 119 gaps between them; the one between the probe and the run may be a pause.
    assert more["earlier"] in {118, 119} and more["probed"] == 0
    assert f"by {more['earlier']} earlier answers of the file" in plan(folder, "--limit", 80)
