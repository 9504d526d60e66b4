"""`harness runs`, `show` and `compare`: a run's folder for a reader, through the command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cmarkgfm
import pytest

from harness.cli import main
from harness.records import Condition, Scored
from harness.reporting import Run, write_run
from tests.support import scored
from tests.support.pictures import unrendered

pytestmark = pytest.mark.usefixtures("unrendered")

QA = Condition("base", "F16", "qa")
NATIVE = Condition("dpo", "F16", "native")
HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e @octocat | https://evil.example"


def flipped(rows: Sequence[Scored], *, losing: int) -> list[Scored]:
    """The rows with that many passing answers of qa failing, under another template."""
    changed = []
    for row in rows:
        if row.condition == QA:
            row = replace(row, key=row.key[::-1])
            if losing and row.passed and row.sample.kind == "instruction":
                losing -= 1
                reason = "1 comma, wanted none" + HOSTILE
                results = (row.results[0], replace(row.results[1], strict=False, reason=reason))
                answer = replace(row.generation, answer=HOSTILE, text=HOSTILE)
                row = replace(row, results=results, generation=answer)
        changed.append(row)
    assert not losing
    return changed


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with runs of two experiments below reports/."""
    place = tmp_path_factory.mktemp("place")
    rows = scored.run(n=90, levels=("F16",), continuations=0)
    manifest = scored.manifest(sources={"qa": "Question: {{ query }}\nAnswer:"})
    changed = replace(
        manifest,
        templates={"qa": "ef" * 32},
        sources={"qa": "Question: {{ query }}\nReply:"},
        system={**manifest.system, "processor": "another"},
    )
    for name, said, answers in (
        ("tiny/1", manifest, rows),
        ("tiny/2", changed, flipped(rows, losing=20)),
        ("other/1", replace(manifest, experiment={"name": "other", "limit": 3}), rows[:40]),
    ):
        with unrendered():
            write_run(Run(place / "reports" / name, said, tuple(answers)))
    (place / "reports" / "notes").mkdir()
    return place


@pytest.fixture(autouse=True)
def _here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_runs_are_listed_by_experiment_the_latest_last(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "runs")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        "reports/tiny/1",
        "reports/tiny/2",
        "reports/other/1",
    ]
    code, out, _ = said(capsys, "runs", "other", "--json")
    (entry,) = json.loads(out)
    assert set(entry) == {"folder", "experiment", "written", "models", "limit", "finished"}
    assert (entry["folder"], entry["limit"], entry["finished"]) == ("reports/other/1", 3, True)
    code, _, errors = said(capsys, "runs", "tiney")
    assert code == 2 and "did you mean 'tiny'?" in errors and errors.count("\n") == 1


def test_runs_may_lie_elsewhere(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said(capsys, "show")[0] == 2
    monkeypatch.setenv("HARNESS_REPORTS", str(place / "reports"))
    assert said(capsys, "show", "tiny")[0] == 0
    assert len(said(capsys, "runs")[1].splitlines()) == 3


def test_a_folder_of_that_name_does_not_hide_an_experiments_runs(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "other").mkdir()
    (place / "empty").mkdir()
    assert said(capsys, "show", "other")[1].startswith("reports/other/1: ")
    assert said(capsys, "show", "other/1")[0] == 0
    code, _, errors = said(capsys, "show", "empty")
    assert code == 2 and "empty: not the folder of a run" in errors


def test_judging_an_old_run_again_does_not_make_it_the_latest(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_REPORTS", str(tmp_path))
    for stamp in ("20260102-030405-ffff", "20260102-030406-0000"):
        shutil.copytree(place / "reports/other/1", tmp_path / "other" / stamp)
    assert said(capsys, "report", tmp_path / "other" / "20260102-030405-ffff")[0] == 0
    assert "030406-0000: " in said(capsys, "show", "latest")[1]
    assert said(capsys, "runs")[1].splitlines()[0].split()[1:3] == ["2026-01-02", "03:04"]


def test_a_report_without_answers_is_the_latest_of_no_runs(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_REPORTS", str(tmp_path))
    shutil.copytree(place / "reports/other/1", tmp_path / "other" / "20260102-030405-ffff")
    (shutil.copytree(place / "reports/tiny/1", tmp_path / "example") / "samples.jsonl").unlink()
    assert "030405-ffff: " in said(capsys, "show", "latest")[1]


def test_show_says_which_items_and_which_checks_fail(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "show", "tiny")
    assert code == 0
    assert out.startswith("reports/tiny/2: 90 items, 6 arms\n")
    line = next(line for line in out.splitlines() if line.startswith("punctuation:no_comma"))
    assert line.split()[1:] == ["90/90"] * 6


def test_show_prints_prompt_answer_verdicts_and_reasons_and_nothing_acts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = said(capsys, "show", "tiny", "--failed", "--arm", "base/qa", "--limit", 50)
    assert code == 0
    assert "--- base/F16/qa: FAILS" in out and "--- dpo" not in out
    assert "  | Answer:" in out
    assert "FAIL (loose: pass)  target: 1 comma, wanted none<script>" in out
    assert "\\x1b[2J\\u202e" in out and not {"\x1b", "\u202e"} & set(out)
    assert "more items (--limit)" in out


def test_show_quotes_what_decided_a_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = scored.row(scored.sample("a"), QA, (False, True), text="tea,\x1b[2J jam")
    results = (replace(found.results[0], spans=((3, 4),)), found.results[1])
    write_run(Run(tmp_path, scored.manifest(), (replace(found, results=results),)))
    assert main(["show", str(tmp_path), "--item", "a"]) == 0
    assert "        3: tea»,«\\x1b[2J jam" in capsys.readouterr().out
    assert main(["show", str(tmp_path), "--item", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["checks"][0]["spans"] == [[3, 4]]


def test_show_gives_a_program_everything(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "show", "tiny", "--differ", "qa", "dpo/native", "--json")
    assert code == 0
    rows = json.loads(out)
    by_item: dict[str, dict[str, bool]] = {}
    for row in rows:
        by_item.setdefault(row["sample_id"], {})[row["condition"]] = row["passed"]
    assert by_item
    assert all(cell[str(QA)] != cell[str(NATIVE)] for cell in by_item.values())
    many = json.loads(said(capsys, "show", "tiny", "--differ", "qa", "dpo", "--json")[1])
    verdicts: dict[str, tuple[set[bool], set[bool]]] = {}
    for row in many:
        sides = verdicts.setdefault(row["sample_id"], (set(), set()))
        sides[row["condition"] != str(QA)].add(row["passed"])
    assert all(one != other for one, other in verdicts.values())
    (name, *_) = by_item
    code, out, _ = said(capsys, "show", "tiny", "--item", name, "--json")
    assert {row["sample_id"] for row in json.loads(out)} == {name}
    assert {"prompt", "messages", "answer", "checks", "finish_reason"} <= set(json.loads(out)[0])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("tiny", "--arm", "quack"), "no arm 'quack'"),
        (("tiny", "--item", "facts"), "no item 'facts'"),
        (("tiny", "--check", "targte"), "did you mean 'target'?"),
        (("nowhere",), "no run 'nowhere'"),
    ],
)
def test_a_name_the_run_lacks_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], complaint: str
) -> None:
    code, out, errors = said(capsys, "show", *arguments)
    assert (code, out) == (2, "")
    assert complaint in errors and errors.count("\n") == 1


def test_compare_says_what_differs_and_then_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "compare", "reports/tiny/1", "reports/tiny/2")
    assert code == 0
    differs, _, rest = out.partition("90 items asked alike")
    assert "template qa: cdcdcdcdcdcdcdcd  →  efefefefefefefef" in differs
    assert "    -Answer:\n    +Reply:\n" in differs
    assert "machine processor: nothing  →  another" in differs
    assert "5 arms with the very same requests" in rest
    assert "0 / 20 / 70" in rest
    assert "base/F16/qa: 20 lost" in rest and "... and 10 more" in rest
    assert "worse: B passes fewer items than A in base/F16/qa (of 1 arm)." in rest
    assert "\x1b" not in out and "\u202e" not in out


def test_every_form_of_a_comparison_says_the_same_and_none_of_it_is_live(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ("compare", "reports/tiny/1", "reports/tiny/2", "--format")
    texts = {name: said(capsys, *arguments, name)[1] for name in ("md", "html", "json")}
    value = json.loads(texts["json"])
    sentence = value["decision"]["sentence"]
    assert value["decision"]["verdict"] == "worse"
    assert sentence in texts["html"]
    (arm,) = value["arms"]
    assert (arm["wins"], arm["losses"], arm["ties"]) == (0, 20, 70)
    assert len(arm["flips"]) == 20 and arm["high"] < 0
    markup = cmarkgfm.github_flavored_markdown_to_html(texts["md"])
    for form in (markup, texts["html"]):
        assert sentence in form.replace("<!-- raw HTML omitted -->", "")
        assert "<script" not in form and "<a " not in form and "\x1b" not in form
        assert "default-src 'none'" in form or form is markup
    figure = f"−{-100 * arm['delta']:.1f} points [−{-100 * arm['low']:.1f}, −"
    assert figure in texts["html"] and figure in markup
    code, _, errors = said(capsys, *arguments, "pdf")
    assert code == 2 and "text, md, html, json" in errors


def test_a_run_compared_with_itself_is_the_same_and_a_smaller_one_is_matched(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, out, _ = said(capsys, "compare", "reports/tiny/1", "reports/tiny/1")
    assert "The manifests say the same." in out
    assert "equivalent: B is A: all 6 arms put the very same requests on 90 items" in out
    _, out, _ = said(capsys, "compare", "reports/tiny/1", "other")
    assert "only in A, left out." in out
