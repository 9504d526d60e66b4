"""What `harness report` and `harness score` do with a run's folder, honest or not."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cmarkgfm
import pytest

from harness.cli import main
from harness.errors import OutputError
from harness.reporting import read_run, writable
from tests.support.tinygguf import CHATML, write_llama

ROWS: list[dict[str, Any]] = [
    {"id": "one", "prompt": "Where is Lyon?", "target": "France"},
    {"id": "two", "prompt": "Where is Turin?", "target": "Italy"},
    {"id": "comma", "prompt": "Describe Lyon.", "checks": [{"id": "punctuation:no_comma"}]},
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with an experiment and its run, made by the command."""
    place = tmp_path_factory.mktemp("made")
    write_llama(place / "base.gguf", seed=1)
    write_llama(place / "instruct.gguf", seed=2, chat_template=CHATML)
    suite(place, ROWS)
    (place / "exp.yaml").write_text(
        f"""
name: small
stages: {{base: {place}/base.gguf, instruct: {place}/instruct.gguf}}
strategies: {{base: [raw, qa], instruct: [native]}}
suites: [{place}/suite.jsonl]
sampling: {{max_tokens: 8}}
controls: ["yes"]
""",
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(place / "cache"))
        assert main(["run", str(place / "exp.yaml"), "-q", "-o", str(place / "run")]) == 0
    return place


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may spoil."""
    suite(made, ROWS)
    shutil.copytree(made / "run", tmp_path / "run")
    return tmp_path / "run"


def suite(place: Path, rows: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (place / "suite.jsonl").write_text(lines, encoding="utf-8")


def rows_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "manifest.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_report_written_again_is_the_same_bytes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, out, _ = said(capsys, "report", folder)
    assert code == 0 and "stale" not in out
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.slow
@pytest.mark.usefixtures("unrendered")
def test_a_changed_prompt_loses_no_row_and_no_verdict(
    made: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = rows_of(folder)
    suite(made, [{**ROWS[0], "prompt": "Where is Lyon, please?"}, *ROWS[2:]])
    for command in ("report", "score"):
        code, out, _ = said(capsys, command, folder)
        assert code == 0
        assert "stale: the suite suite has changed since this run" in out
        assert rows_of(folder) == before, command
        assert "has changed since this run" in (folder / "report.md").read_text("utf-8")


@pytest.mark.usefixtures("unrendered")
def test_a_folder_is_reported_and_judged_without_its_suite_models_and_cache(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, lambda data: data["experiment"].update(suites=[str(tmp_path / "gone.jsonl")]))
    before = rows_of(folder)
    code, out, _ = said(capsys, "score", folder)
    assert code == 0
    assert "cannot be read any more" in out
    assert "0 changed" in out
    assert rows_of(folder) == before


@pytest.mark.usefixtures("unrendered")
def test_a_verdict_that_changes_leaves_the_old_one_beside_it(
    made: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"id": "one", "prompt": "Where is Lyon?", "checks": [{"id": "refusal"}]}
    suite(made, [other, *ROWS[1:]])
    code, out, _ = said(capsys, "score", folder)
    assert code == 0, out
    one = [row for row in rows_of(folder) if row["sample_id"] == "one"]
    assert all(row["checks"] for row in one)
    replaced = [old for row in one for old in row["earlier"]]
    assert len(replaced) == int(out.splitlines()[-1].split(" changed")[0].split()[-1]) > 0
    assert {old["id"] for old in replaced} == {"target"}


@pytest.mark.usefixtures("unrendered")
def test_verdicts_of_other_versions_of_a_check_are_said_to_be_stale(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(folder)
    for row in rows:
        for verdict in row["checks"]:
            verdict["version"] = 7
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "samples.jsonl").write_text(text, encoding="utf-8")
    note = "the check target judged in version 7, here it is version 1"
    code, out, _ = said(capsys, "report", folder)
    assert code == 0 and f"stale: {note}" in out
    assert note in (folder / "report.md").read_text("utf-8")
    code, out, _ = said(capsys, "score", folder)
    assert code == 0 and "stale" not in out
    assert {verdict["version"] for row in rows_of(folder) for verdict in row["checks"]} == {1}


@pytest.mark.slow
@pytest.mark.usefixtures("unrendered")
def test_a_module_of_checks_that_has_changed_is_said_to_be_stale(
    made: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    module = tmp_path / "mine.py"
    source = (
        "from harness.checks.registry import Context, Outcome, check\n"
        "@check('stale:mine')\n"
        "def mine(context: Context) -> Outcome:\n"
        "    return Outcome(True, 'fine')\n"
    )
    module.write_text(source, encoding="utf-8")
    monkeypatch.setenv("HARNESS_CACHE", str(made / "cache"))
    run = tmp_path / "run-of-mine"
    assert main(["run", str(made / "exp.yaml"), "-q", "-o", str(run), "--checks", str(module)]) == 0
    data = json.loads((run / "manifest.json").read_text("utf-8"))
    assert data["plugins"]["mine.py"] == hashlib.sha256(module.read_bytes()).hexdigest()
    assert data["checks"] == {"punctuation:no_comma": 1, "target": 1}
    assert "stale" not in said(capsys, "score", run, "--checks", module)[1]
    edit(run, lambda data: data["plugins"].update({"mine.py": "0" * 64}))
    out = said(capsys, "score", run, "--checks", module)[1]
    assert "stale: the module of checks mine.py has changed since this run" in out


@pytest.mark.slow
@pytest.mark.usefixtures("unrendered")
def test_a_run_folder_runs_nothing_that_it_names(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace"
    module = tmp_path / "evil.py"
    module.write_text(f"open({str(trace)!r}, 'w')\n", encoding="utf-8")
    asked = {"id": "code_passes", "kwargs": {"tests": f"open({str(trace)!r}, 'w')"}}

    def spoil(data: dict[str, Any]) -> None:
        data["experiment"] |= {"checks": [str(module)], "code": "unsafe"}

    edit(folder, spoil)
    rows = rows_of(folder)
    for row in rows:
        row |= {"asked": [asked], "sample_id": f"x{row['sample_id']}", "answer": "x = 1\n"}
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "samples.jsonl").write_text(text, encoding="utf-8")
    for command in ("report", "score", "verify", "show", "compare"):
        again = [folder] if command == "compare" else []
        code, out, _ = said(capsys, command, folder, *again)
        assert code == 0, command
        assert not trace.exists(), command
        if command in {"score", "verify"}:
            assert "give them with --checks if you trust them" in out
            assert "a folder cannot allow that: give --code" in out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["report.md", "scores.csv", "samples.jsonl", "manifest.json"])
def test_a_linked_file_is_replaced_and_what_it_leads_to_untouched(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes((folder / name).read_bytes())
    kept = outside.read_bytes()
    (folder / name).unlink()
    (folder / name).symlink_to(outside)
    assert said(capsys, "score", folder)[0] == 0
    assert outside.read_bytes() == kept
    assert not (folder / name).is_symlink()


@pytest.mark.parametrize("name", [".", "plots"])
def test_a_linked_folder_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    outside = tmp_path / "outside"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    code, _, errors = said(capsys, "report", folder)
    assert code == 2 and "is a link" in errors and errors.count("\n") == 1
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before


SPOILED: list[tuple[str, str, str]] = [
    (
        "manifest.json",
        "[]",
        "manifest.json: not a run's manifest: the whole: wanted a mapping, found []",
    ),
    ("manifest.json", "[" * 100_000, "manifest.json: not JSON"),
    ("manifest.json", '{"experiment": {"nam": 1}}', "manifest.json"),
    ("manifest.json", '{"format": 99, "experiment": {}}', "newer harness (format 99"),
    ("samples.jsonl", '{"answer": 7}', "samples.jsonl:1: not a row of a run"),
    ("samples.jsonl", "[]", "samples.jsonl:1: not a row of a run"),
    ("samples.jsonl", "{" * 5_000, "samples.jsonl:1: not JSON"),
    ("samples.jsonl", "\xff\xfe", "samples.jsonl"),
]


@pytest.mark.parametrize(("name", "text", "complaint"), SPOILED)
def test_a_spoiled_folder_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, complaint: str
) -> None:
    (folder / name).write_bytes(text.encode("latin-1"))
    for command in ("report", "score"):
        code, _, errors = said(capsys, command, folder)
        assert code == 2
        assert complaint in errors
        assert errors.count("\n") == 1


@pytest.mark.slow
@pytest.mark.usefixtures("unrendered")
def test_a_long_reason_is_cut_for_spreadsheets_only(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(folder)
    rows[0]["checks"][0]["reason"] = "x" * 120_000
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "samples.jsonl").write_text(text, encoding="utf-8")
    assert said(capsys, "report", folder)[0] == 0
    assert max(map(len, (folder / "scores.csv").read_text("utf-8").split(","))) <= 32_767
    assert max(len(c["reason"]) for row in rows_of(folder) for c in row["checks"]) == 120_000


def test_outputs_are_checked_before_anything_is_generated(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path)
    for out, complaint in (
        (file, "is a file"),
        (file / "below", "a file stands where a folder is wanted"),
        (tmp_path / "link", "is a link"),
    ):
        code, _, errors = said(capsys, "run", made / "exp.yaml", "-q", "-o", out)
        assert code == 2 and complaint in errors and errors.count("\n") == 1
    assert file.read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "cache" / "answers.sqlite").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_where_nothing_can_be_written_is_said() -> None:
    with pytest.raises(OutputError, match="/proc/nowhere"):
        writable(Path("/proc/nowhere"))


def test_frames_are_tidy_and_reading_writes_nothing(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    run = read_run(folder)
    assert len(run.samples) == len(rows_of(folder)) == 12
    assert set(run.summary["strategy"]) == {"raw", "qa", "native", "yes"}
    assert str(run.scores["strict"].dtype) == "boolean"
    assert str(run.summary["n"].dtype) == "Int64"
    assert str(run.summary["prompt_level_strict_acc"].dtype) == "float64"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_names_in_a_folder_are_text_in_its_report(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "<img src=x onerror=alert(1)>\x1b[2J @octocat https://evil.example"
    rows = rows_of(folder)
    for row in rows:
        row["strategy"] += hostile if row["stage"] != "instruct" else ""
        row["category"] = hostile
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "samples.jsonl").write_text(text, encoding="utf-8")
    edit(folder, lambda data: data.update(warnings=[hostile], notes=[hostile], command=hostile))
    code, out, errors = said(capsys, "report", folder)
    assert code == 0, errors
    report = (folder / "report.md").read_text("utf-8")
    markup = cmarkgfm.github_flavored_markdown_to_html(report)
    assert "\x1b" not in report + out
    assert "<img src=x" not in markup and "evil.example</a>" not in markup
    bare = re.sub(r"<(code|pre)[^>]*>.*?</\1>", "", markup, flags=re.DOTALL)
    assert "@octocat" not in bare


@pytest.mark.slow
def test_a_run_in_which_a_model_answers_nothing_ends_in_an_error(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    suite(made, ROWS)
    write_llama(tmp_path / "spoilt.gguf", nan=True)
    text = (made / "exp.yaml").read_text("utf-8")
    (tmp_path / "exp.yaml").write_text(text.replace(f"{made}/base", f"{tmp_path}/spoilt"), "utf-8")
    code, out, errors = said(capsys, "run", tmp_path / "exp.yaml", "-q", "-o", tmp_path / "out")
    assert code == 2
    assert "base/as-is: every answer failed" in errors.splitlines()[-1]
    assert "report: " in out, "what the other model answered is not lost"


@pytest.mark.slow
def test_a_dry_run_makes_nothing_fetches_nothing_and_sees_what_cannot_be(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    code, out, _ = said(capsys, "run", "tiny", "--limit", "2", "--dry-run", "-q")
    assert code == 0
    assert "base/Q4_K_M is not made yet" in out
    assert not list((tmp_path / "cache").rglob("*.gguf"))
    line = said(capsys, "run", "pair", "--pair", "smollm2-135m", "--dry-run", "-q")[2]
    assert "a dry run downloads nothing; run `harness fetch" in line
    text = (made / "exp.yaml").read_text("utf-8").replace("max_tokens: 8", "max_tokens: 5000")
    (tmp_path / "exp.yaml").write_text(text, "utf-8")
    code, _, line = said(capsys, "run", tmp_path / "exp.yaml", "--dry-run", "-q")
    assert code == 2 and "the context holds 4096" in line
    demand = {"id": "contains", "kwargs": {"text": "\nQuestion: x"}}
    needy = {"id": "sys", "prompt": "Hi", "checks": [demand]}
    suite(made, [*ROWS, needy])
    code, out, _ = said(capsys, "run", made / "exp.yaml", "--dry-run", "-q")
    assert code == 0 and "left out: sys (base/as-is/qa): its own checks" in out
    suite(made, ROWS)
