"""``harness choose`` on the bundled family, through the command."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import ROOT, environment, harness, here

PAIR = ("--base", "models/tiny-base-F16.gguf", "--instruct", "models/tiny-dpo-F16.gguf")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight documents of the world that the bundled family knows, questions and answers."""
    rows = [
        json.loads(line)
        for line in (ROOT / "datasets" / "tiny.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    facts = [f"{row['ablated']} {row['target']}." for row in rows if row.get("target")][:96]
    path = tmp_path_factory.mktemp("texts") / "world.txt"
    documents = [" ".join(facts[begin : begin + 12]) for begin in range(0, 96, 12)]
    path.write_text("\n---\n".join(documents), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chosen(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Any]:
    cache, out = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("out") / "choice"
    done = harness(
        "choose", *PAIR, "--text", texts, "--wrappers", "qa", "--perplexity", 128, "-o", out,
        cache=cache,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out, done.stdout, json.loads((out / "choice.json").read_text(encoding="utf-8"))


def row(found: Any, use: str) -> Any:
    return next(item for item in found["rows"] if item["use"] == use)


@pytest.mark.slow
def test_every_stage_has_bits_per_byte_raw_wrapped_and_through_its_template(
    chosen: tuple[Path, str, Any],
) -> None:
    cells = row(chosen[2], "continuation")["cells"]
    assert [(cell["stage"], cell["way"]) for cell in cells] == [
        ("base", "raw"),
        ("base", "qa"),
        ("instruct", "native"),
        ("instruct", "raw"),
    ]
    for cell in cells:
        score = cell["score"]
        assert 0 < score["low"] < score["value"] < score["high"]
        assert score["n"] == 8
        assert cell["tokens"] > 0


@pytest.mark.slow
def test_last_words_cloze_and_style_are_measured_in_every_way(
    chosen: tuple[Path, str, Any],
) -> None:
    for use in ("last word", "cloze", "style"):
        for cell in row(chosen[2], use)["cells"]:
            assert 0 <= cell["score"]["low"] <= cell["score"]["value"] <= cell["score"]["high"] <= 1
            assert cell["score"]["n"] == 8


@pytest.mark.slow
def test_what_tuning_cost_is_a_paired_interval_over_documents(
    chosen: tuple[Path, str, Any],
) -> None:
    found = row(chosen[2], "continuation")
    (tax,) = found["taxes"]
    by_way = {(cell["stage"], cell["way"]): cell["score"]["value"] for cell in found["cells"]}
    expected = by_way["instruct", "raw"] - by_way["base", "raw"]
    assert tax["difference"]["value"] == pytest.approx(expected, abs=1e-9)
    assert tax["difference"]["low"] < expected < tax["difference"]["high"]


@pytest.mark.slow
def test_the_same_words_stand_everywhere(chosen: tuple[Path, str, Any]) -> None:
    folder, printed, found = chosen
    page = (folder / "choice.html").read_text(encoding="utf-8")
    report = (folder / "choice.md").read_text(encoding="utf-8")
    for item in found["rows"]:
        sentence = item["decision"]["sentence"]
        assert sentence in printed
        assert sentence in page
        assert sentence in report.replace("\\", "")


@pytest.mark.slow
def test_with_nothing_given_the_experiments_own_suites_are_asked(tmp_path: Path) -> None:
    done = harness(
        "choose", *PAIR, "--limit", 2, "--draws", 0, "--wrappers", "qa", "--json",
        "-o", tmp_path / "out", cache=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert row(found, "chat-style instructions")["cells"][0]["score"]["n"] == 2
    assert row(found, "predictability")["pick"] == "not run"


@pytest.mark.skipif(sys.platform != "linux", reason="kills for real")
@pytest.mark.slow
def test_killed_it_goes_on_and_scores_no_text_twice(texts: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of the texts: what was scored stays, and the end is the same."""
    few = ("choose", *PAIR, "--text", texts, "--limit", 4, "--wrappers", "qa", "--json")
    cache, out = tmp_path / "cache", tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *map(str, few), "-o", out],
        cwd=ROOT, env=environment(cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(scored_in(cache)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    before = scored_in(cache)
    assert len(before) >= 3
    assert not out.exists()
    again = harness(*few, "-o", out, cache=cache)
    assert again.returncode == 0, again.stderr
    after = scored_in(cache)
    assert len(after) > len(before)
    assert before.items() <= after.items(), "a stored score was made again"
    whole = harness(*few, "-o", tmp_path / "whole", cache=tmp_path / "another")
    told, expected = (json.loads(done.stdout) for done in (again, whole))
    assert told["rows"] == expected["rows"]
    assert scored_in(tmp_path / "another").keys() == after.keys()
    third = harness(*few[:-1], "-o", out, cache=cache)
    assert scored_in(cache) == after
    assert "scoring" in third.stderr
    assert "loading" not in third.stderr, "all is stored: no weights are needed"
    listed = json.loads(harness("cache", "list", "--json", cache=cache).stdout)["answers"]
    assert sum(item["scored_texts"] for item in listed) == len(after)
    cleaned = harness("cache", "clean", "--answers", cache=cache)
    assert f"scored texts removed: {len(after)}" in cleaned.stdout
    assert not scored_in(cache)


def scored_in(cache: Path) -> dict[str, float]:
    """When each stored text was scored, by its key."""
    path = cache / "answers.sqlite"
    if not path.is_file():
        return {}
    with closing(sqlite3.connect(path, timeout=30)) as db:
        try:
            return dict(db.execute("SELECT key, created FROM scores"))
        except sqlite3.OperationalError:  # the file was made, its tables were not yet
            return {}


def test_a_text_that_cannot_be_continued_is_refused(tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("too short\n", encoding="utf-8")
    done = here("choose", *PAIR, "--text", short, cache=tmp_path)
    assert done.returncode == 2
    assert "shorter than" in done.stderr


@pytest.mark.skipif("LLAMA_PERPLEXITY" not in os.environ, reason="LLAMA_PERPLEXITY is not given")
@pytest.mark.parametrize(
    ("model", "batches"),
    [
        ("models/tiny-base-F16.gguf", (2048,)),
        ("models/tiny-dpo-F16.gguf", (2048,)),
        pytest.param("weights/gemma-3-270m-Q4_K_M.gguf", (2048,), marks=pytest.mark.real),
        # Of this file the tool's own figure moves by half a per cent with its batch.
        pytest.param(
            "weights/SmolLM2-135M-Instruct-Q4_1.gguf", (128, 2048), marks=pytest.mark.real
        ),
    ],
)
def test_the_perplexity_is_llama_perplexitys(
    texts: Path, tmp_path: Path, model: str, batches: tuple[int, ...]
) -> None:
    """One document, the same chunks: within 0.1 % of what llama.cpp's own tool prints."""
    whole = tmp_path / "one.txt"
    whole.write_text(texts.read_text(encoding="utf-8").replace("\n---\n", " "), encoding="utf-8")
    done = harness(
        "choose", "--base", model, "--instruct", "models/tiny-sft-F16.gguf", "--text", whole,
        "--windows", 1, "--window", 80, "--wrappers", "qa", "--perplexity", 128, "--json",
        "-o", tmp_path / "out", cache=tmp_path, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (ours,) = (item for item in json.loads(done.stdout)["perplexities"] if item["stage"] == "base")
    theirs = [_llama_perplexity(ROOT / model, whole, batch) for batch in batches]
    assert min(theirs) * 0.999 <= ours["value"] <= max(theirs) * 1.001


def _llama_perplexity(model: Path, text: Path, batch: int) -> float:
    arguments = ["-m", model, "-f", text, "-c", "128", "-b", str(batch), "-t", "2"]
    done = subprocess.run(
        [os.environ["LLAMA_PERPLEXITY"], *arguments],
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    )
    printed = re.search(r"Final estimate: PPL = ([\d.]+)", done.stdout + done.stderr)
    assert printed is not None
    return float(printed[1])


@pytest.fixture(scope="module")
def gaps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of the kind the bundled base was trained on, a line missing, with tests."""
    rows = []
    for number, (name, high, low, op) in enumerate(
        [("tea", 7, 3, "+"), ("map", 12, 5, "*"), ("cat", 40, 9, "-"), ("oak", 23, 8, "+")]
    ):
        line = f"        return a {op} b"
        rows.append(
            {
                "id": f"gap-{number}",
                "prefix": f"def {name}(a, b):\n    if a > {high}:\n",
                "suffix": f"\n    return b * {low}\n",
                "reference": line,
                "tests": f"assert {name}(1, 2) == {2 * low}",
            }
        )
    path = tmp_path_factory.mktemp("gaps") / "gaps.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.slow
def test_gaps_are_filled_by_tokens_by_wrapper_and_by_asking(gaps: Path, tmp_path: Path) -> None:
    done = harness(
        "choose", *PAIR, "--infill", gaps, "--wrappers", "qa", "--unsafe-code", "--json",
        "-o", tmp_path / "out", cache=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    exact, edits, tests = (
        row(found, f"fill in the middle{more}")["cells"] for more in ("", ", edits", ", tests")
    )
    for cells in (exact, edits, tests):
        assert [cell["score"]["n"] for cell in cells] == [4, 4, 4, 4]
    # What fills a gap exactly is as like it as can be.
    for one, other in zip(exact, edits, strict=True):
        assert other["score"]["value"] >= one["score"]["value"]
    assert any("spm" in note for note in row(found, "fill in the middle")["notes"])
    assert "filled in blindly" in row(found, "fill in the middle, edits")["notes"][0]
    assert row(found, "continuation")["pick"] == "not run"


@pytest.mark.slow
def test_a_model_without_the_tokens_says_that_it_cannot_express_it(
    gaps: Path, tmp_path: Path
) -> None:
    from tests.support import tinygguf

    plain = tinygguf.write_llama(tmp_path / "plain.gguf")
    done = harness(
        "choose", "--base", plain, "--instruct", "models/tiny-dpo-F16.gguf", "--infill", gaps,
        "--wrappers", "qa", "-o", tmp_path / "out", cache=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "base raw: cannot express: its vocabulary has no fill-in-the-middle" in done.stdout
    assert "base qa: 0.0 %" in done.stdout


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The experiment's own suites, the user's own prompts and a task, on a few items."""
    folder = tmp_path_factory.mktemp("asked")
    lines = (ROOT / "datasets" / "tiny.jsonl").read_text(encoding="utf-8").splitlines()
    own = folder / "own.jsonl"
    own.write_text("\n".join(lines[:24]) + "\n", encoding="utf-8")
    done = harness(
        "choose", *PAIR, "--suite", "tiny", "--suite", own, "--examples", own, "--shots", "0,1",
        "--draws", 1, "--limit", 4, "--max-tokens", 32, "--wrappers", "qa", "--json",
        "-o", folder / "out",
        cache=folder / "cache",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_suites_fill_the_rows_of_instructions_and_own_prompts(asked: Any) -> None:
    for use in ("chat-style instructions", "own prompts"):
        found = row(asked, use)
        assert [cell["score"]["n"] for cell in found["cells"]] == [4, 4, 4, 4]
        assert found["units"] == "items"
        assert found["taxes"] == []
    assert row(asked, "structured output")["cells"][0]["score"]["n"] > 0


@pytest.mark.slow
def test_examples_make_a_curve_for_base_and_instruct_and_their_crossing(asked: Any) -> None:
    found = row(asked, "few-shot adaptation")
    by_way = {(cell["stage"], cell["way"]): cell for cell in found["cells"]}
    assert by_way["base", "qa"]["absent"].startswith("not asked")
    for arm in (("base", "raw"), ("instruct", "native"), ("instruct", "raw")):
        assert by_way[arm]["score"]["n"] == 4
        assert any(f"{' '.join(arm)}, accuracy by number" in note for note in found["notes"])
    assert sum("the base is level with" in note for note in found["notes"]) == 2


@pytest.mark.slow
def test_predictability_is_what_passes_every_time(asked: Any) -> None:
    always = {(c["stage"], c["way"]): c["score"] for c in row(asked, "predictability")["cells"]}
    assert all(score["n"] == 8 for score in always.values())
    once = [row(asked, use)["cells"] for use in ("chat-style instructions", "own prompts")]
    for one, other in zip(*once, strict=True):
        greedy = (one["score"]["value"] + other["score"]["value"]) / 2
        assert always[one["stage"], one["way"]]["value"] <= greedy + 1e-9


@pytest.mark.slow
def test_shipped_texts_go_by_their_name_and_steps_are_told(tmp_path: Path) -> None:
    done = harness(
        "choose", *PAIR, "--text", "tiny-texts", "--limit", 2, "--windows", 1, "--wrappers", "qa",
        "-o", tmp_path / "out", cache=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "base raw: scoring 2 windows" in done.stderr
    wrong = harness("choose", *PAIR, "--text", "tiny-test", cache=tmp_path)
    assert wrong.returncode == 2
    assert "tiny-texts" in wrong.stderr
