"""When contrasts were declared, as a run's report says it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import harness

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = """\
name: declared
stages: {{base: {{model: {root}/models/tiny-base-F16.gguf}}}}
strategies: {{base: [raw, qa, icl_3]}}
suites: [items.jsonl]
controls: []
sampling: {{max_tokens: 4}}
contrasts:
  - {{name: asked, a: base/as-is/raw, b: base/as-is/{b}}}
"""


@pytest.mark.slow
def test_contrasts_are_declared_before_the_run_or_in_the_file(tmp_path: Path) -> None:
    rows = (ROOT / "datasets" / "tiny.jsonl").read_text(encoding="utf-8").splitlines(True)
    (tmp_path / "items.jsonl").write_text("".join(rows[:3]), encoding="utf-8")

    def declared(b: str, folder: str) -> str:
        text = EXPERIMENT.format(root=ROOT, b=b)
        (tmp_path / "e.yaml").write_text(text, encoding="utf-8")
        done = harness("run", "e.yaml", "-q", "-o", folder, cache=tmp_path / "cache", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        report = (tmp_path / folder / "report.md").read_text(encoding="utf-8")
        said = str(json.loads((tmp_path / folder / "manifest.json").read_text())["declared"])
        assert f"Declared {said}; p adjusted" in report
        return said

    assert declared("qa", "one") == "before the run"
    assert declared("qa", "again") == "before the run"  # the very same, asked a second time
    assert declared("icl_3", "after") == "in the file"  # chosen once the answers were there
    assert declared("qa", "back") == "before the run"
