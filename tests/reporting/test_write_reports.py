from __future__ import annotations

import csv
import dataclasses
import json
import os
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.analysis import analyse
from harness.records import Condition, RunManifest, Scored
from harness.reporting import Run, summary_table, write_run
from tests.support.scored import EXPERIMENT, manifest, passes, row, run, sample

RAW = Condition("base", "F16", "raw")
QA = Condition("base", "F16", "qa")
NATIVE = Condition("dpo", "F16", "native")
HOSTILE = '=cmd|"/C calc"!A0 \x1b[31mred\x1b[0m\n```\n<script>alert(1)</script>\u202e | \x00'


def written(scored: Sequence[Scored], folder: Path, **more: Any) -> Path:
    """The folder of a run of these rows; more: fields of the manifest, or of its experiment."""
    known = {field.name for field in dataclasses.fields(RunManifest)}
    own = {key: value for key, value in more.items() if key in known}
    asked = {key: value for key, value in more.items() if key not in known}
    record = manifest(**{"experiment": {**EXPERIMENT, **asked}, **own})
    write_run(Run(folder, record, tuple(scored)))
    return folder


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(run(40), tmp_path_factory.mktemp("reports"))


def test_every_promised_file_and_column_is_there(folder: Path) -> None:
    promised = {
        "scores.csv": "sample_id stage level strategy epoch check_index check_id version strict "
        "loose reason category",
        "summary.csv": "stage level strategy n prompt_level_strict_acc inst_level_strict_acc "
        "prompt_level_loose_acc inst_level_loose_acc eos_rate mean_prompt_tokens "
        "mean_completion_tokens",
        "comparisons.csv": "contrast a b delta low high p adjusted_p wins losses ties",
        "recovery.csv": "level wrapper control recovered low high fieller_low gap gain rest note",
    }
    for name, columns in promised.items():
        assert set(columns.split()) <= set(read_csv(folder / name)[0]), name
    wanted = (
        "sample_id stage level strategy epoch prompt text answer finish_reason prompt_tokens "
        "completion_tokens category messages seconds error request_key model_sha256 "
        "template_sha256 prefill health"
    )
    assert set(wanted.split()) <= set(read_jsonl(folder / "samples.jsonl")[0])
    for name in ("leaderboard", "levels", "cost"):
        assert (folder / "plots" / f"{name}.png").stat().st_size > 5_000
        assert (folder / "plots" / f"{name}.svg").is_file()
    assert json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["models"]


def test_the_summary_can_be_computed_again_from_the_scores(folder: Path) -> None:
    scores = read_csv(folder / "scores.csv")
    for line in read_csv(folder / "summary.csv"):
        own = [
            s for s in scores if all(s[key] == line[key] for key in ("stage", "level", "strategy"))
        ]
        prompts: dict[str, list[bool]] = {}
        for score in own:
            prompts.setdefault(score["sample_id"], []).append(score["strict"] == "True")
        passed = sum(all(checks) for checks in prompts.values()) / len(prompts)
        checks = sum(s["strict"] == "True" for s in own) / len(own)
        assert float(line["prompt_level_strict_acc"]) == pytest.approx(passed, abs=1e-6)
        assert float(line["inst_level_strict_acc"]) == pytest.approx(checks, abs=1e-6)
        assert int(line["n"]) == len(prompts) == 40


def test_the_same_rows_in_any_order_write_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    rows = run(40)
    random.Random(3).shuffle(rows)
    again = written(rows, tmp_path)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(folder)).read_bytes(), path.name


def test_model_text_cannot_act_in_any_written_file(tmp_path: Path) -> None:
    item = sample("=HYPERLINK(1)", query=HOSTILE)
    rows = [
        row(item, condition, (True, condition == NATIVE), text=HOSTILE, reason=HOSTILE)
        for condition in (RAW, QA, NATIVE)
    ]
    written(
        rows, tmp_path, description=HOSTILE, warnings=[HOSTILE], command="harness run\x1b[2J tiny"
    )
    for name in ("report.md", "scores.csv", "summary.csv", "samples.jsonl", "manifest.json"):
        text = (tmp_path / name).read_bytes().decode("utf-8")
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text), name
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as stream:
        for line in csv.reader(stream):
            assert not any(re.match(r"\s*[=+@|%]", cell) for cell in line)
    # What is neutralised where it is shown is kept whole where it is data.
    assert read_jsonl(tmp_path / "samples.jsonl")[0]["text"] == HOSTILE


@pytest.mark.usefixtures("unrendered")
def test_a_fence_in_an_answer_does_not_end_the_reports_own(tmp_path: Path) -> None:
    rows = [
        row(sample("one"), condition, (True, True), text="```\n# Not a heading\n```")
        for condition in (RAW, QA, NATIVE)
    ] + [row(sample("two"), condition, (True, True)) for condition in (RAW, QA, NATIVE)]
    report = (written(rows, tmp_path) / "report.md").read_text(encoding="utf-8")
    headings, inside = [], ""
    for line in report.splitlines():
        mark = re.match(r"`{3,}", line)
        if mark and not inside:
            inside = mark[0]
        elif inside and line == inside:
            inside = ""
        elif not inside and line.startswith("#"):
            headings.append(line)
    assert "# Not a heading" in report
    assert "# Not a heading" not in headings
    assert not inside


@pytest.mark.usefixtures("unrendered")
def test_html_in_model_text_is_text_outside_fences(tmp_path: Path) -> None:
    rows = [
        row(sample(f"i{n}", category="<b>x</b>"), c, (True, n > 1), reason="<img src=x>")
        for n in range(4)
        for c in (RAW, QA, NATIVE)
    ]
    report = (written(rows, tmp_path) / "report.md").read_text(encoding="utf-8")
    assert "<img" not in report.replace("\\<img", "")
    assert "<b>" not in report.replace("\\<b", "")


@pytest.mark.usefixtures("unrendered")
def test_failed_generations_are_rows_without_verdicts(tmp_path: Path) -> None:
    rows = [passes(sample(f"i{n}"), RAW, None if n == 0 else True) for n in range(3)]
    written(rows, tmp_path)
    lines = [s for s in read_csv(tmp_path / "scores.csv") if s["sample_id"] == "i0"]
    assert len(lines) == 2
    assert {s["strict"] for s in lines} == {""}
    assert all("missing, no answer: no answer" in s["reason"] for s in lines)
    first = read_jsonl(tmp_path / "samples.jsonl")[0]
    assert (first["finish_reason"], first["prompt_level_strict"]) == ("failed", None)
    assert read_csv(tmp_path / "summary.csv")[0]["n_missing"] == "1"
    assert "Missing: 1 answer" in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("unrendered")
def test_unsupported_verdicts_are_empty_and_counted(tmp_path: Path) -> None:
    rows = [row(sample(f"i{n}"), RAW, (True, None)) for n in range(3)]
    written(rows, tmp_path)
    assert [s["strict"] for s in read_csv(tmp_path / "scores.csv")[:2]] == ["True", ""]
    assert read_csv(tmp_path / "summary.csv")[0]["n_unsupported"] == "3"
    assert "3 verdicts of unsupported checks" in (tmp_path / "report.md").read_text("utf-8")


def test_no_home_folder_and_no_token_reaches_a_file(tmp_path: Path) -> None:
    secret, home = "hf_" + "Zz9" * 10, str(Path.home())
    rows = [passes(sample("one"), RAW, True), passes(sample("two"), RAW, None)]
    crashed = row(
        sample("three"), RAW, (), finish="failed", error=f"/home/eve/llama.cpp:1 {secret}"
    )
    written(
        [*rows, crashed],
        tmp_path,
        description=f"{secret} in {home}/x.yaml",
        engine={"hf_token": secret},
        notes=(f"read {home}/notes with {secret}",),
        system={"machine": f"{home}/bin"},
        command=f"HF_TOKEN={secret} harness run {home}/x.yaml",
        warnings=[f"see {home}/x"],
    )
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.suffix != ".png":
            text = path.read_text(encoding="utf-8")
            assert secret not in text and f"{home}/" not in text and "/home/eve" not in text, path


def test_lone_surrogates_and_every_control_character_are_written(tmp_path: Path) -> None:
    text = "".join(map(chr, range(0x20))) + "\ud800 ok"
    rows = [row(sample("one"), c, (True, True), text=text) for c in (RAW, QA, NATIVE)]
    written([*rows, *(passes(sample("two"), c, True) for c in (RAW, QA, NATIVE))], tmp_path)
    assert read_jsonl(tmp_path / "samples.jsonl")[0]["text"] == text


@pytest.mark.parametrize("n", [0, 1, 2])
def test_tiny_runs_are_reported_without_complaint(n: int, tmp_path: Path) -> None:
    report = (written(run(n, continuations=0), tmp_path) / "report.md").read_text("utf-8")
    assert report.startswith("# tiny\n")


def test_a_run_without_a_pair_is_reported(tmp_path: Path) -> None:
    report = (
        written(
            run(10),
            tmp_path,
            stages={"solo": "x.gguf"},
            strategies=None,
            recovery=None,
            contrasts=[],
        )
        / "report.md"
    ).read_text("utf-8")
    assert "- **level, " in report.split("## ")[0]
    assert "recovery, " not in report
    assert "## Every condition" in report


@pytest.mark.usefixtures("unrendered")
def test_a_share_that_is_not_estimable_is_not_claimed_in_the_first_lines(tmp_path: Path) -> None:
    rows = [passes(sample(f"i{n}"), c, n % 2 == 0) for n in range(20) for c in (RAW, QA, NATIVE)]
    report = (written(rows, tmp_path) / "report.md").read_text("utf-8")
    top = report.split("## ")[0]
    assert "**recovery, shown not:** Wrapping gains less than" in top
    assert "instruct − raw: \\+0.0 points" in top
    assert "best wrapper − raw = \\+0.0 points" in top
    assert "not estimable" in report


@pytest.mark.usefixtures("unrendered")
def test_the_report_prints_the_engine_mode(tmp_path: Path) -> None:
    fast = {"settings": {"base/F16": {"mode": "fast", "width": 8}}}
    report = (written(run(6), tmp_path, engine=fast) / "report.md").read_text("utf-8")
    assert "Engine: **fast mode**" in report and "width 8" in report


def test_the_terminal_table_holds_every_condition_and_no_escape(capsys: Any) -> None:
    from rich.console import Console

    odd = Condition("base", "F16", "[red]x\x1b[2J")
    rows = [passes(sample(f"i{n}"), c, n % 3 == 0) for n in range(9) for c in (RAW, odd, NATIVE)]
    found = analyse(
        rows,
        recovery=("base", "dpo"),
        contrasts=(),
        reference_level="F16",
        seed=0,
        bits_per_weight={},
        levels=("F16",),
    )
    Console(width=160, no_color=True).print(summary_table(found))
    out = capsys.readouterr().out
    assert "raw" in out and "native" in out and r"[red]x\x1b[2J" in out
    assert "\x1b" not in out


@pytest.mark.usefixtures("unrendered")
def test_the_report_reads_as_its_snapshot(tmp_path: Path) -> None:
    """Set UPDATE_SNAPSHOTS=1 to write the snapshot anew, then read the difference."""
    report = (written(run(30, continuations=3), tmp_path) / "report.md").read_text("utf-8")
    snapshot = Path(__file__).parent / "report.snapshot.md"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        snapshot.write_text(report, encoding="utf-8", newline="\n")
    assert report == snapshot.read_text(encoding="utf-8")
