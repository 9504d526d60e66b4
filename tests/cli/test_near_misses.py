"""Wherever a name is typed, a near miss is answered with the name that was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import main
from harness.resources import resource_dir


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("run tinny", "tiny"),
        ("plan tinny", "tiny"),
        ("ask hi -e tinny", "tiny"),
        ("run tiny --suite startr", "starter"),
        ("suite check startr", "starter"),
        ("suite show starter --category fact", "facts"),
        ("run tiny --strategies qaa --dry-run", "qa"),
        ("run tiny --quants Q8_1 --dry-run", "Q8_0"),
        ("run --pair smollm2-135 --dry-run", "smollm2-135m"),
        ("run tiny --format cvs", "csv"),
        ("list cheks", "checks"),
        ("list checks contans", "contains"),
        ("template show qaa -q x", "qa"),
        ("inspect models/tiny-bas-F16.gguf", "tiny-base-F16.gguf"),
        ("show latst", "latest"),
        ("export latest --as preference -o x", "preferences"),
        ("score --responses a.jsonl --suite ifevl", "ifeval"),
    ],
)
def test_a_near_miss_names_what_was_meant(
    typed: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    Path("a.jsonl").write_text('{"key": "1", "response": "x"}\n', encoding="utf-8")
    assert resource_dir("models").is_dir()
    assert main(typed.split()) == 2
    said = capsys.readouterr().err
    assert f"did you mean {meant}" in said.replace("'", ""), said
    assert said.count("\n") == 1
