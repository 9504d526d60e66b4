"""`harness levels`: one model, or a pair, is told how far it may be quantized."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import ConfigError
from harness.experiment.verify import verify
from harness.models.imatrix.compute import compute_imatrix
from harness.records import Condition
from harness.reporting import read_run
from harness.reporting.levels import level_tables

MODELS = Path(__file__).parent.parent.parent / "models"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(cache))


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str], str]:
    code = main(["levels", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err


@pytest.mark.slow
def test_the_first_line_names_a_level_and_the_margin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--suite", "tiny", "--limit", 12, "--max-tokens", 16, "--levels", "Q8_0,Q2_K", "-q"]
    more += ["--no-speed", "--tokens", 0]
    model = MODELS / "tiny-dpo-F16.gguf"
    code, lines, _ = told(capsys, model, *more, "--margin", 40, "-o", tmp_path / "out")
    assert code == 0
    # Twelve items of a model this small lose at most a few at Q2_K: forty points bear any of that.
    assert lines[0].startswith("level (equivalent): model native: take Q")
    assert "within 40.0 points of F16" in lines[0]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert set(manifest["models"]) == {"model/F16", "model/Q8_0", "model/Q2_K"}
    assert manifest["experiment"]["margin"] == 40
    sentence = lines[0].split(": ", 1)[1]
    assert sentence in (tmp_path / "out" / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_a_pair_is_told_for_the_wrapped_base_and_the_instruct_model_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--suite", "tiny", "--limit", 10, "--max-tokens", 16, "--levels", "Q8_0", "-q"]
    more += ["--no-speed"]
    code, lines, _ = told(
        capsys,
        MODELS / "tiny-base-F16.gguf",
        "--instruct",
        MODELS / "tiny-dpo-F16.gguf",
        *more,
        "-o",
        tmp_path / "out",
    )
    assert code == 0
    subjects = [line.split(": ")[1] for line in lines if line.startswith("level (")]
    assert "instruct native" in subjects
    assert any(subject.startswith("base ") for subject in subjects)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["none.gguf"], "no file"),
        ([MODELS / "tiny-dpo-F16.gguf", "--levels", "Q9_9"], "Q9_9"),
        ([MODELS / "tiny-dpo-F16.gguf", "--levels", ","], "names no level"),
        ([MODELS / "tiny-dpo-F16.gguf", "--margin", "0"], "margin"),
        ([MODELS / "tiny-dpo-F16.gguf", "--suite", "nope"], "nope"),
        ([MODELS / "tiny-dpo-F16.gguf", "--ngl", "many"], "--ngl"),
    ],
    ids=str,
)
def test_a_wrong_request_is_one_line(
    arguments: list[object], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, errors = told(capsys, *arguments, "-q", "-o", tmp_path / "out")
    assert code == 2
    assert complaint in errors
    assert errors.count("\n") == 1


@pytest.mark.slow
def test_levels_are_compared_over_their_own_answers_and_over_a_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "own.txt"
    text.write_text("A town by the river has a bridge, a market and a mill. " * 12, "utf-8")
    more = ["--suite", "tiny", "--limit", 6, "--max-tokens", 16, "--levels", "Q8_0,Q2_K", "-q"]
    out = tmp_path / "out"
    code, _, _ = told(
        capsys, MODELS / "tiny-dpo-F16.gguf", *more, "--text", text, "--window", 64, "-o", out
    )
    assert code == 0
    measured = json.loads((out / "measured.json").read_text("utf-8"))
    assert set(measured["speeds"]) == {"model/F16", "model/Q8_0", "model/Q2_K"}
    assert measured["notes"] == []
    assert set(measured["texts"]) == {"own.txt"}
    found = {(item["cell"], item["over"]): item for item in measured["divergences"]}
    for over in ("own answers", "text own.txt"):
        near, far = found["model/Q8_0", over], found["model/Q2_K", over]
        assert near["reference"] == "model/F16"
        assert 0 < near["mean_kld"] < far["mean_kld"]
        assert near["tokens"] == far["tokens"] > 50
    assert found["model/Q2_K", "own answers"]["texts"] == 6
    before = read_run(out)
    assert before.measured.speeds["model/F16"].decode > 0
    assert verify(before).mismatches == ()
    # A folder that somebody damaged is refused with its place.
    measured["divergences"][0]["mean_kld"] = "much"
    (out / "measured.json").write_text(json.dumps(measured), "utf-8")
    with pytest.raises(ConfigError, match=r"measured\.json.*mean_kld"):
        read_run(out)


@pytest.mark.slow
def test_every_presentation_has_the_same_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    more = ["--suite", "tiny", "--limit", 12, "--max-tokens", 16, "--levels", "Q8_0,Q2_K", "-q"]
    more += ["--margin", 40, "--no-speed", "-o", tmp_path / "out"]
    model = MODELS / "tiny-dpo-F16.gguf"
    code, lines, _ = told(capsys, model, *more)
    assert code == 0
    assert max(map(len, lines[1:-2])) <= 100  # sentences and paths are not cut
    run = read_run(tmp_path / "out")
    markdown, page = (
        (tmp_path / "out" / f"report.{form}").read_text("utf-8") for form in ("md", "html")
    )
    costs, distances = level_tables(run.analysis)
    assert costs.title == "model native by level"
    for cell in (*costs.heads, *costs.rows[2], *distances.rows[1]):
        assert any(cell in line for line in lines)
        assert cell in markdown.replace("\\", "")
        assert cell in page
    for note in costs.notes:
        assert note in page
        assert note in " ".join(lines).replace("  ", " ")
    code, lines, _ = told(capsys, model, *more, "--json")
    values = json.loads("\n".join(lines))
    assert [item["level"] for item in values["levels"]] == ["F16", "Q8_0", "Q2_K"]
    last = values["levels"][2]
    verdict = run.analysis.equivalences[1]
    assert (last["verdict"], last["flips"]) == (verdict.verdict, verdict.flips)
    assert last["lost"] == [list(item) for item in verdict.lost]
    assert last["divergences"][0]["mean_kld"] == run.measured.divergences[1].mean_kld
    assert last["bits_per_weight"] < 5
    assert [item["sentence"] for item in values["decisions"]] == [
        item.sentence for item in run.decisions
    ]


@pytest.mark.slow
def test_levels_with_and_without_an_importance_matrix_stand_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = MODELS / "tiny-dpo-F16.gguf"
    matrix = compute_imatrix(model, ["Name a town by the river."], tmp_path / "i.gguf", dataset="x")
    more = ["--suite", "tiny", "--limit", 6, "--max-tokens", 12, "--levels", "Q2_K", "-q"]
    more += ["--no-speed", "--margin", 60, "-o", tmp_path / "out", "--json"]
    code, lines, _ = told(capsys, model, *more, "--imatrix", matrix, "--both")
    assert code == 0
    rows = {item["level"]: item for item in json.loads("\n".join(lines))["levels"]}
    assert list(rows) == ["F16", "Q2_K", "Q2_K+imatrix"]
    plain, helped = (rows[name]["divergences"][0]["mean_kld"] for name in list(rows)[1:])
    assert plain != helped
    assert rows["Q2_K"]["bits_per_weight"] == rows["Q2_K+imatrix"]["bits_per_weight"]
    code, _, errors = told(capsys, model, *more, "--both")
    assert (code, "--both compares" in errors) == (2, True)


@pytest.mark.slow
def test_the_instruct_model_may_stay_at_the_reference_level(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = [MODELS / "tiny-base-F16.gguf", "--instruct", MODELS / "tiny-dpo-F16.gguf"]
    more = ["--suite", "tiny", "--limit", 40, "--max-tokens", 24, "--levels", "Q2_K", "-q"]
    more += ["--no-speed", "--tokens", 0, "-o", tmp_path / "out"]
    code, _, _ = told(capsys, *pair, *more, "--fixed-instruct")
    assert code == 0
    run = read_run(tmp_path / "out")
    assert set(run.manifest.models) == {"base/F16", "base/Q2_K", "instruct/F16"}
    report = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert "instruct `native` at `F16`, whatever the level" in report
    best = run.analysis.best_at("Q2_K")
    assert best is not None
    # The instruct side is the same; raw is the level's own, as in any share.
    raw = run.analysis.summary(Condition("base", "Q2_K", "raw"))
    instruct = run.analysis.summary(Condition("instruct", "F16", "native"))
    assert raw and instruct and raw.headline.prompt_strict.value is not None
    gap = (instruct.headline.prompt_strict.value or 0) - raw.headline.prompt_strict.value
    assert best.recovery.gap.value == pytest.approx(gap)
