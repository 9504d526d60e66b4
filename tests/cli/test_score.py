"""`harness list` and `harness score --responses`, through the command a user types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.checks import all_checks
from harness.cli import main


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


SUITE = (
    {"id": "tea", "prompt": "Name a tea.", "target": "Assam", "checks": [{"id": "refusal"}]},
    {"id": "one", "prompt": "One line.", "checks": [{"id": "lines", "kwargs": {"exactly": 1}}]},
    {"id": "two", "prompt": "?", "checks": [{"id": "code_passes", "kwargs": {"tests": ""}}]},
)


def test_answers_are_scored_against_a_suite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = jsonl(tmp_path / "suite.jsonl", *SUITE)
    answers = jsonl(
        tmp_path / "answers.jsonl",
        {"id": "tea", "response": "Assam!"},
        {"key": "two", "response": "print(1)"},
    )
    out = tmp_path / "verdicts.jsonl"
    code, printed, errors = run(
        capsys, "score", "--responses", answers, "--suite", suite, "-o", out
    )
    assert (code, errors) == (0, "")
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row.get("id", row.get("key")) for row in rows] == ["tea", "two"]
    assert rows[0]["strict"] == rows[0]["loose"] == [False, True]
    assert rows[0]["reasons"] == ["does not decline", "says Assam"]
    assert (rows[1]["strict"], rows[1]["loose"]) == ([None], [None])
    assert printed.splitlines() == [
        "prompt_level_strict_acc  0.0000  (0/1)",
        "inst_level_strict_acc  0.5000  (1/2)",
        "prompt_level_loose_acc  0.0000  (0/1)",
        "inst_level_loose_acc  0.5000  (1/2)",
        "unsupported, left out of every metric: 1 instructions",
        "items of the suite without an answer, not counted: 1",
    ]


def test_rows_that_bring_their_own_instructions_need_no_suite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {
        "id": 0,
        "key": 1000,
        "instruction_id_list": ["punctuation:no_comma", "count:numbers"],
        "kwargs": [{"N": None}, {"N": 2.0, "letter": None}],
        "response": "1, 2 \ud800",
    }
    out = tmp_path / "verdicts.jsonl"
    code, _, errors = run(
        capsys, "score", "--responses", jsonl(tmp_path / "a.jsonl", row), "-o", out, "--jobs", 1
    )
    assert code == 0, errors
    (verdict,) = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert (verdict["id"], verdict["key"], verdict["strict"]) == (0, 1000, [False, True])


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"response": "x"}, "answers.jsonl:1: key: missing"),
        ({"key": 1}, "answers.jsonl:1: response: missing"),
        ({"key": 1, "response": "x"}, "answers.jsonl:1: instruction_id_list: missing, and no"),
        (
            {"key": 1, "response": "x", "instruction_id_list": ["a:b"], "kwargs": [{}]},
            "answers.jsonl:1: instruction_id_list.0: there is no check 'a:b'",
        ),
        (
            {"key": 1, "response": "x", "instruction_id_list": ["punctuation:no_comma"]},
            "answers.jsonl:1: kwargs: ",
        ),
        ([], "answers.jsonl:1: row: wanted an object"),
    ],
)
def test_a_wrong_answer_row_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: Any, complaint: str
) -> None:
    answers = jsonl(tmp_path / "answers.jsonl", row)
    code, _, errors = run(capsys, "score", "--responses", answers)
    assert code == 2
    assert complaint in errors
    assert errors.count("\n") == 1


def test_a_key_outside_the_suite_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = jsonl(tmp_path / "suite.jsonl", *SUITE)
    answers = jsonl(tmp_path / "answers.jsonl", {"key": "cake", "response": "x"})
    code, _, errors = run(capsys, "score", "--responses", answers, "--suite", suite)
    assert code == 2
    assert "'cake' is not in the suite" in errors


def test_score_wants_a_run_or_answers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, errors = run(capsys, "score")
    assert code == 2
    assert "give either the folder of a run, or --responses" in errors
    code, _, errors = run(capsys, "score", tmp_path, "--suite", "starter")
    assert code == 2
    assert "goes with --responses" in errors


PLUGIN = '''
from harness.checks.registry import Context, Example, Outcome, check

@check("mine:shouts", version=3, passes=[Example("HI")], fails=[Example("hi")])
def shouts(context: Context, *, most: int = 5) -> Outcome:
    """The answer shouts."""
    return Outcome(context.text.isupper() and len(context.text) <= most, "looked at its case")
'''


def test_checks_of_your_own_are_loaded_listed_and_used_in_parallel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = tmp_path / "shouting.py"
    module.write_text(PLUGIN, encoding="utf-8")
    rows = [
        {
            "key": number,
            "response": "HI" if number % 2 else "hi",
            "instruction_id_list": ["mine:shouts"],
            "kwargs": [{"most": 3}],
        }
        for number in range(40)
    ]
    answers = jsonl(tmp_path / "a.jsonl", *rows)
    code, printed, errors = run(
        capsys, "score", "--responses", answers, "--checks", module, "--jobs", 2
    )
    assert code == 0, errors
    assert "inst_level_strict_acc  0.5000  (20/40)" in printed
    code, printed, _ = run(capsys, "list", "checks", "mine:shouts", "--checks", module)
    assert code == 0
    assert "mine:shouts (version 3, custom)" in printed
    assert "most: integer, default 5" in printed


def test_checks_of_an_installed_package_are_there(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(PLUGIN.replace("mine:", "loud:"), encoding="utf-8")
    info = tmp_path / "loud-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text("[harness.checks]\nloud = loud\n", encoding="utf-8")
    found = subprocess.run(
        [sys.executable, "-m", "harness", "list", "checks", "loud:shouts"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert "loud:shouts (version 3, custom)" in found.stdout, found.stderr


def test_a_folder_that_is_no_run_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, errors = run(capsys, "score", tmp_path)
    assert code == 2
    assert errors.count("\n") == 1


def test_a_broken_module_of_checks_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = tmp_path / "broken.py"
    module.write_text("import nothing_like_this", encoding="utf-8")
    code, _, errors = run(capsys, "list", "checks", "--checks", module)
    assert code == 2
    assert "nothing_like_this" in errors


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("checks", "detectable_format:json_format"),
        ("suites", "fetched from allenai/IFBench_test"),
        ("strategies", "urial_1"),
        ("controls", "echo"),
        ("experiments", ""),
        ("families", ""),
    ],
)
def test_everything_can_be_listed(
    capsys: pytest.CaptureFixture[str], kind: str, shown: str
) -> None:
    code, printed, errors = run(capsys, "list", kind)
    assert code == 0, errors
    assert shown in printed


def test_an_unknown_list_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, errors = run(capsys, "list", "models")
    assert code == 2
    assert "there are checks, suites" in errors


def test_a_check_is_shown_with_examples_that_pass_and_fail(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, printed, _ = run(capsys, "list", "checks", "punctuation:no_comma")
    assert code == 0
    assert 'Passes: "Tea and cake."' in printed
    assert 'Fails: "Tea, cake."' in printed
    assert "1 commas, wanted none" in printed
    code, _, errors = run(capsys, "list", "checks", "punctuation:no_coma")
    assert code == 2
    assert "did you mean punctuation:no_comma" in errors


@pytest.mark.slow
def test_every_check_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for name in sorted(all_checks()):
        if not name.startswith(("test:", "regex")):  # regex shows a pattern that times out
            assert run(capsys, "list", "checks", name)[0] == 0


def test_code_in_answers_runs_when_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.name == "nt":
        pytest.skip("limits need a Unix")
    suite = jsonl(
        tmp_path / "suite.jsonl",
        {
            "id": "add",
            "prompt": "Write add(a, b).",
            "checks": [
                {"id": "code_passes", "kwargs": {"tests": "assert add(2, 2) == 4", "timeout": 20}}
            ],
        },
    )
    answers = jsonl(tmp_path / "a.jsonl", {"key": "add", "response": "def add(a, b): return a + b"})
    arguments = ("score", "--responses", answers, "--suite", suite)
    _, printed, _ = run(capsys, *arguments)
    assert "unsupported" in printed
    _, printed, _ = run(capsys, *arguments, "--unsafe-code")
    assert "inst_level_strict_acc  1.0000  (1/1)" in printed
