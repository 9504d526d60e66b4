"""`harness shift`: the instruct model's answers put to the base, without any check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.reporting import read_run
from harness.reporting.shift import shift_table
from tests.support import tinygguf
from tests.support.browser import chromium, opened

MODELS = Path(__file__).parent.parent.parent / "models"
DPO = MODELS / "tiny-dpo-F16.gguf"
FEW = ["--suite", "tiny", "--limit", 8, "--max-tokens", 16, "-q"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["shift", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.slow
def test_the_instruct_model_as_its_own_base_is_not_shifted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behind its own template nothing is apart; behind the raw prompt its own answers are."""
    experiment = tmp_path / "same.yaml"
    experiment.write_text(
        f"name: same\nstages: {{base: {DPO}, instruct: {DPO}}}\n"
        "strategies: {base: [raw, native], instruct: [native]}\n",
        "utf-8",
    )
    code, out, _ = told(capsys, experiment, *FEW, "-o", tmp_path / "out", "--json")
    assert code == 0
    shifts = {item["arm"].rpartition("/")[2]: item for item in json.loads(out)["shifts"]}
    assert shifts["native"]["mean_kld"] == 0
    assert shifts["native"]["unshifted"] > 0.95  # greedy; prefill and decode round differently
    assert shifts["raw"]["mean_kld"] > 0.1
    assert shifts["raw"]["sizes"] == shifts["native"]["sizes"]


@pytest.mark.slow
def test_the_terminal_and_the_reports_have_the_same_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ["--base", MODELS / "tiny-base-F16.gguf", "--instruct", DPO, "--strategies", "qa"]
    code, out, _ = told(capsys, *pair, *FEW, "-o", tmp_path / "out")
    assert code == 0
    assert out.startswith("shift (")
    run = read_run(tmp_path / "out")
    table = shift_table(run.analysis)
    assert table is not None
    assert [row[0] for row in table.rows] == ["raw", "qa"]
    markdown, page = (
        (tmp_path / "out" / f"report.{form}").read_text("utf-8") for form in ("md", "html")
    )
    assert "## Token distribution shift" in markdown
    for cell in (*table.heads, *table.rows[1]):
        assert cell in out
        assert cell in markdown
        assert cell in page


@pytest.mark.slow
def test_pairs_with_different_tokenizers_are_refused_with_the_first_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tinygguf.write_llama(tmp_path / "other.gguf")
    code, _, errors = told(capsys, "--base", other, "--instruct", DPO, *FEW, "-o", tmp_path / "out")
    assert code == 2
    assert "have different tokenizers: tokens: 26" in errors
    assert "texts differ from id 0 on" in errors


@pytest.mark.slow
def test_the_page_marks_what_the_base_would_not_have_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ["--base", MODELS / "tiny-base-F16.gguf", "--instruct", DPO, "--strategies", "qa"]
    assert told(capsys, *pair, *FEW, "-o", tmp_path / "out")[0] == 0
    measured = read_run(tmp_path / "out").measured
    first = measured.shifts[0]
    assert [len(marks) for marks in first.marks] == list(first.sizes)
    joined = "".join(first.marks)
    assert joined.count("u") == pytest.approx(first.unshifted * first.tokens)
    assert joined.count("s") == pytest.approx(first.shifted * first.tokens)
    with chromium(tmp_path / "browser") as driver:
        for item, marks in list(zip(first.items, first.marks, strict=True))[:3]:
            opened(driver, tmp_path / "out" / "report.html", item)
            seen = driver.execute_script(
                "const [box] = document.querySelectorAll('.taken'); const [line] ="
                " box.querySelectorAll('pre'); return [line.textContent,"
                " line.querySelectorAll('.near').length, line.querySelectorAll('.far').length]"
            )
            assert seen == ["".join(measured.pieces[item]), marks.count("m"), marks.count("s")]
