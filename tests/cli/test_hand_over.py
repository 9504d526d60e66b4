"""`harness verify`, `export` and `--format`: what leaves a folder, and whether it fits."""

from __future__ import annotations

import csv
import html
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import harness
from harness.cli import main
from harness.errors import ConfigError
from harness.reporting.tables import TABLES
from harness.sanitize import for_markdown
from tests.support.pictures import unrendered
from tests.support.tinygguf import CHATML, write_llama

pytestmark = pytest.mark.usefixtures("unrendered")

SUITE: list[dict[str, Any]] = [
    {"id": "one", "prompt": "Where is Lyon?", "target": "France"},
    {"id": "two", "prompt": "Where is Turin?", "checks": [{"id": "punctuation:no_comma"}]},
    {"id": "short", "prompt": "Say it.", "checks": [{"id": "lines", "kwargs": {"exactly": 1}}]},
    {
        "id": "talk",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Describe Lyon."},
        ],
        "checks": [{"id": "punctuation:no_comma"}],
    },
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that real models made, with answers that pass and answers that fail."""
    place = tmp_path_factory.mktemp("made")
    write_llama(place / "base.gguf", seed=1)
    write_llama(place / "instruct.gguf", seed=2, chat_template=CHATML)
    lines = "".join(json.dumps(row) + "\n" for row in SUITE)
    (place / "suite.jsonl").write_text(lines, encoding="utf-8")
    (place / "exp.yaml").write_text(
        "name: small\n"
        "stages: {base: base.gguf, instruct: instruct.gguf}\n"
        "strategies: {base: [raw, qa, sys_qa], instruct: [native]}\n"
        "suites: [suite.jsonl]\n"
        "sampling: {max_tokens: 12}\n"
        'controls: ["yes", echo]\n',
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch, unrendered():
        patch.setenv("HARNESS_CACHE", str(place / "cache"))
        assert main(["run", str(place / "exp.yaml"), "-q", "-o", str(place / "run")]) == 0
    return place / "run"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil, or write into."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def edit(path: Path, change: Callable[[str], str]) -> None:
    text = path.read_text(encoding="utf-8")
    changed = change(text)
    assert changed != text
    path.write_text(changed, encoding="utf-8")


def rows_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "samples.jsonl").write_text(text, encoding="utf-8")


def test_an_untouched_folder_is_verified_and_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, out, _ = said(capsys, "verify", folder)
    assert (code, out.rstrip()[-9:]) == (0, "all match"), out
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def _pass_everything(folder: Path) -> None:
    rows = rows_of(folder)
    for row in rows:
        for verdict in row["checks"]:
            verdict["strict"] = verdict["loose"] = True
    write_rows(folder, rows)


def _another_model(folder: Path) -> None:
    rows = rows_of(folder)
    next(row for row in rows if row["request_key"])["model_sha256"] = "0" * 64
    write_rows(folder, rows)


def _second_answer(folder: Path) -> None:
    rows = rows_of(folder)
    write_rows(folder, [*rows, rows[0]])


SPOILED: list[tuple[str, Callable[[Path], None], str]] = [
    ("a verdict", _pass_everything, "one base/as-is/qa: target: says pass, derived fail"),
    ("an answer's model", _another_model, "sha256 of the model: says 0000000000000000"),
    ("a second answer", _second_answer, "the same question answered twice"),
    (
        "a figure",
        lambda folder: edit(
            folder / "summary.csv", lambda text: text.replace("as-is,raw,4,", "as-is,raw,5,")
        ),
        "n: says 5, derived 4",
    ),
    (
        "a template",
        lambda folder: edit(
            folder / "manifest.json", lambda text: text.replace("\\nAnswer:", "\\nReply:")
        ),
        "sha256 of the template qa",
    ),
    (
        "a sentence",
        lambda folder: edit(folder / "report.md", lambda text: text.replace("Seed 0", "Seed 1")),
        "report.md, line",
    ),
    ("a file", lambda folder: (folder / "scores.csv").unlink(), "scores.csv: says nothing"),
]


@pytest.mark.parametrize(("_what", "spoil", "complaint"), SPOILED, ids=[row[0] for row in SPOILED])
def test_what_does_not_follow_from_the_answers_is_named_and_ends_in_1(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    _what: str,
    spoil: Callable[[Path], None],
    complaint: str,
) -> None:
    spoil(folder)
    code, out, errors = said(capsys, "verify", folder)
    assert (code, errors) == (1, "")
    assert complaint in out and "do not match" in out


def test_a_verdict_that_cannot_be_derived_here_is_a_note(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(folder)
    for row in rows:
        for verdict in row["checks"]:
            verdict["version"] = 99
    write_rows(folder, rows)
    _, out, _ = said(capsys, "verify", folder)
    assert "was judged by its version 99" in out and " 0 verdicts" in out


@pytest.mark.slow
def test_a_figure_is_the_same_to_the_printed_digit_in_every_form(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, errors = said(capsys, "report", folder, "--format", "md, html,csv,json,parquet")
    assert code == 0, errors
    tables = json.loads((folder / "tables.json").read_text("utf-8"))
    assert set(tables) == {"decisions", *TABLES}
    report = (folder / "report.md").read_text("utf-8")
    page = (folder / "report.html").read_text("utf-8")
    for decision in tables["decisions"]:
        assert for_markdown(decision["sentence"]) in report
        assert html.escape(decision["sentence"]) in html.escape(html.unescape(page))
    for name, table in TABLES.items():
        with (folder / (table.file or f"{name}.csv")).open(encoding="utf-8", newline="") as stream:
            head, *rows = csv.reader(stream)
        frame = pd.read_parquet(folder / f"{name}.parquet")
        assert list(frame.columns) == list(table.columns) == head
        assert len(rows) == len(tables[name]) == len(frame)
        for column in table.columns:
            if table.dtype(column) == "str":
                continue
            for place, row in enumerate(rows):
                text = row[head.index(column)]
                number = tables[name][place][column]
                stored = frame[column].iloc[place]
                if text == "":
                    assert number is None and pd.isna(stored), (name, column)
                elif table.dtype(column) == "boolean":
                    assert text == str(number) == str(bool(stored)), (name, column)
                else:
                    assert float(text) == number == stored, (name, column)
    raw = next(row for row in tables["summary"] if row["strategy"] == "raw")
    line = next(line for line in report.splitlines() if line.startswith("| `base/as-is/raw` |"))
    assert f"| {100 * raw['prompt_level_strict_acc']:.1f} % [" in line
    assert f">{100 * raw['headline_strict_acc']:.1f} % [" in page
    assert said(capsys, "verify", folder)[0] == 0
    code, _, errors = said(capsys, "report", folder, "--format", "xlsx")
    assert code == 2 and "accepted: md, html, csv, json, parquet" in errors


_LOAD = """
import json, sys
import datasets
rows = datasets.load_dataset("json", data_files=sys.argv[1], split="train", cache_dir=sys.argv[2])
print(json.dumps({"columns": rows.column_names, "rows": rows.to_list()}))
"""


def loaded(path: Path, cache: Path) -> dict[str, Any]:
    """What the `datasets` library reads, where the checkout's own folder cannot take its name."""
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, str(path), str(cache)],
        cwd=cache,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


@pytest.mark.slow
def test_exported_rows_are_what_trl_reads(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(folder)
    for row in rows:  # random models end at the limit: let some answers end by themselves
        if row["strategy"] in {"qa", "native"}:
            row |= {"finish_reason": "eos", "answer": "In France, yes\n, ", "text": "In France"}
        if row["strategy"] == "sys_qa":
            row |= {"finish_reason": "stop", "answer": " In France", "text": " In France"}
    write_rows(folder, rows)
    assert said(capsys, "score", folder)[0] == 0
    out = tmp_path / "rows.jsonl"
    code, printed, _ = said(capsys, "export", folder, "--as", "sft", "-o", out)
    assert code == 0
    found = loaded(out, tmp_path)
    assert found["columns"] == ["prompt", "completion"]
    assert printed.endswith(f": {len(found['rows'])} rows\n")
    by_question = {row["prompt"][-1]["content"]: row for row in found["rows"]}
    assert by_question["Describe Lyon."]["prompt"][0]["role"] == "system"
    assert by_question["Where is Turin?"]["completion"] == [
        {"role": "assistant", "content": "In France"}
    ]
    code, _, _ = said(capsys, "export", folder, "--as", "preferences", "-o", out)
    assert code == 0
    found = loaded(out, tmp_path)
    assert found["columns"] == ["prompt", "chosen", "rejected"]
    pairs = {(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in found["rows"]}
    assert ("In France", "In France, yes\n,") in pairs
    assert all(chosen != rejected for chosen, rejected in pairs)


def test_where_nothing_can_be_exported_the_file_stays_as_it_was(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.jsonl"
    out.write_text("mine", encoding="utf-8")
    code, _, errors = said(capsys, "export", folder, "--as", "sft", "--arm", "echo", "-o", out)
    assert code == 2 and "nothing to export" in errors
    code, _, errors = said(capsys, "export", folder, "--as", "dpo", "-o", out)
    assert code == 2 and "accepted: sft, preferences" in errors
    assert out.read_text("utf-8") == "mine"


def test_judging_from_python_writes_only_where_it_is_told_to(folder: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    judged = harness.score(folder)
    assert judged.scores.equals(harness.read_run(folder).scores)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    given = [{"key": "one", "response": "In France."}, {"key": "two", "response": "a, b"}]
    suite = str(folder.parent / "suite.jsonl")
    Path(suite).write_text("".join(json.dumps(row) + "\n" for row in SUITE), encoding="utf-8")
    run = harness.score(responses=given, suite=suite, out=tmp_path / "given")
    assert list(run.scores["strict"]) == [True, False]
    assert harness.read_run(tmp_path / "given").scores.equals(run.scores)
    assert "responses/as-is/given" in (tmp_path / "given" / "report.md").read_text("utf-8")
    with pytest.raises(ConfigError, match="either a run or responses"):
        harness.score()


@pytest.mark.slow
def test_half_a_surrogate_pair_in_an_answer_stops_no_form(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(folder)
    rows[0] |= {"answer": "half \ud800", "text": "half \ud800", "finish_reason": "eos"}
    write_rows(folder, rows)
    for command in ("score", "report", "verify", "show"):
        more = ("--format", "csv,json,parquet") if command == "report" else ()
        assert said(capsys, command, folder, *more)[0] == 0, command
    assert rows_of(folder)[0]["answer"] == "half \ud800"
    assert pd.read_parquet(folder / "samples.parquet")["answer"][0] == "half \\ud800"


@pytest.mark.slow
def test_a_folder_of_the_first_format_is_read_shown_compared_and_judged(
    folder: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = ("asked", "target", "tags", "group", "earlier", "views")
    rows = [{key: row[key] for key in row if key not in old} for row in rows_of(folder)]
    for row in rows:
        for verdict in row["checks"]:
            del verdict["index"]
        row["health"] |= {"strict_first_turn": 0.0, "strict_untrimmed": 1.0}
    write_rows(folder, rows)
    data = json.loads((folder / "manifest.json").read_text("utf-8"))
    for key in ("format", "samples_sha256", "sources", "warnings", "command"):
        del data[key]
    (folder / "manifest.json").write_text(json.dumps(data), encoding="utf-8")
    assert "4 items, 4 arms" in said(capsys, "show", folder)[1]
    _, out, _ = said(capsys, "compare", folder, made)
    assert "4 items asked alike" in out and "only the checks' names were compared" in out
    code, out, _ = said(capsys, "verify", folder)
    assert code == 0
    assert "does not hold its checks' arguments" in out and " 0 cells: all match" in out
    assert said(capsys, "score", folder)[1].endswith(", 0 changed\n")
    assert said(capsys, "report", folder)[0] == 0
    again = rows_of(folder)
    assert len(again) == len(rows) and {str(row["asked"]) for row in again} == {"None"}
    assert "strict_untrimmed" not in again[0]["health"]
