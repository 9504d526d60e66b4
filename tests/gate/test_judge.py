from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.gate import (
    Arm,
    Baseline,
    Gated,
    Item,
    Source,
    Verdicts,
    changed_files,
    default_margin,
    judge,
    read_baseline,
    write_baseline,
)
from harness.gate.outputs import FORMATS
from harness.gate.sources import template_diff
from harness.gate.watch import stamps
from harness.records import Message, Sample

NAMES = [f"i{number:03}" for number in range(300)]
SAMPLES = {
    name: Sample(name, (Message("user", "?"),), (), tags=("key",) if name == "i000" else ())
    for name in NAMES
}


def arm(passing: int, answer: str = "yes", missing: int = 0, first: int = 0) -> Arm:
    """An arm in which ``passing`` items from ``first`` on pass and the last have no answer."""
    items = {}
    for place, name in enumerate(NAMES):
        score = float(first <= place < first + passing)
        gone = place >= len(NAMES) - missing
        items[name] = Item(name, None if gone else score, f"{answer}-{place}", answer)
    return Arm("base/F16/qa", "qa", {"model": "m"}, items)


def verdict(before: Arm, after: Arm, margin: float = 0.05, **more: object) -> str:
    found = judge(before, after, margin=margin, samples=SAMPLES, asked=300, **more)  # type: ignore[arg-type]
    return found.verdict


@pytest.mark.slow
def test_the_rule_is_non_inferiority_by_one_sided_bounds() -> None:
    assert verdict(arm(150), arm(150)) == "pass"
    assert verdict(arm(150), arm(160)) == "pass"
    assert verdict(arm(150), arm(120)) == "regress"
    # 8 points lost could be 6 or 11: beyond a margin of 5, within one of 12, open at 8.
    assert verdict(arm(150), arm(126), margin=0.05) == "regress"
    assert verdict(arm(150), arm(126), margin=0.08) == "inconclusive"
    assert verdict(arm(150), arm(126), margin=0.12) == "pass"


def test_a_must_pass_item_that_fails_is_a_regression_whatever_the_rest() -> None:
    assert verdict(arm(150), arm(150, first=1), must_pass=["key"]) == "regress"
    assert verdict(arm(150), arm(150, first=1)) == "pass"
    assert verdict(arm(150), arm(151), must_pass=["key"]) == "pass"


def test_answers_that_go_missing_never_pass() -> None:
    assert verdict(arm(150), arm(150, missing=10), margin=0.2) == "regress"
    assert verdict(arm(150, missing=10), arm(150, missing=10)) == "pass"


def test_what_was_not_asked_again_passes_without_a_statistic() -> None:
    found = judge(arm(1), arm(1), margin=0.001, samples=SAMPLES, asked=0)
    assert found.verdict == "pass"


def test_248_items_resolve_five_points_and_687_three() -> None:
    assert default_margin(248) == pytest.approx(0.05, abs=2e-4)
    assert default_margin(687) == pytest.approx(0.03, abs=2e-4)


def test_a_baseline_is_the_same_bytes_whatever_the_order_and_reads_back(tmp_path: Path) -> None:
    source = Source("qa", "templates/qa.j2", "d", ("---", 'a "quoted" line', "Üser: {{ query }}"))
    one = Baseline("x", {"qa": source}, {"base/F16/qa": arm(3, "a\nb \u2028 ]")})
    turned = dict(reversed(one.arms["base/F16/qa"].items.items()))
    other = Baseline(
        "x", {"qa": source}, {"base/F16/qa": Arm("base/F16/qa", "qa", {"model": "m"}, turned)}
    )
    write_baseline(tmp_path / "one", one)
    write_baseline(tmp_path / "other", other)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    back = read_baseline(tmp_path / "one", "x")
    assert dict(back.arms["base/F16/qa"].items) == dict(one.arms["base/F16/qa"].items)
    assert list(back.templates["qa"].lines) == list(source.lines)


def test_a_missing_edited_or_foreign_baseline_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "gate.jsonl"
    with pytest.raises(ConfigError, match=r"no such file.*--update"):
        read_baseline(path, "x")
    write_baseline(path, Baseline("x", {}, {"base/F16/qa": arm(3)}))
    with pytest.raises(ConfigError, match="made for experiment 'x', not 'y'"):
        read_baseline(path, "y")
    path.write_text(path.read_text(encoding="utf-8").replace('["i299",0', '["i299",1'), "utf-8")
    with pytest.raises(ConfigError, match="edited by hand"):
        read_baseline(path, "x")
    path.write_text("hello", "utf-8")
    with pytest.raises(ConfigError, match="no baseline"):
        read_baseline(path, "x")


def hostile() -> Gated:
    """A failing gate in which answers try to act on whoever shows them."""
    attack = "\x1b[31m\n::error::x ]]> <b>|`\x00 % \u2028"
    before, after = arm(150), arm(100, attack)
    found = judge(before, after, margin=None, samples=SAMPLES, asked=300, reasons={"i149": attack})
    old = Source("qa", "templates/q,a.j2", "1", ("---", "Answer:"))
    new = Source("qa", "templates/q,a.j2", "2", ("---", "Reply:"))
    diff = template_diff(old, new)
    assert diff is not None
    return Gated("x", Verdicts((found,)), ("a note",), {"qa": diff}, 300)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_form_says_the_verdict_and_lets_no_answer_act(name: str) -> None:
    text = FORMATS[name](hostile())
    assert "regress" in text and "base/F16/qa" in text.replace("\\", "")
    assert "\x1b" not in text and "\x00" not in text and "\u2028" not in text
    assert "-16.7 points" in text.replace("\\", "")


def test_an_annotation_stands_at_the_changed_line_and_commands_stay_ours() -> None:
    lines = FORMATS["github"](hostile()).splitlines()
    assert lines[0].startswith("::error file=templates/q%2Ca.j2,line=2,title=prompt gate regress::")
    assert all(line.startswith(("::error file=", "::notice title=prompt gate")) for line in lines)
    root = ET.fromstring(FORMATS["junit"](hostile()).encode())
    assert root.find(".//failure[@type='regress']") is not None
    assert json.loads(FORMATS["json"](hostile()))["verdict"] == "regress"


def test_the_page_escapes_answers_and_needs_nothing_from_elsewhere() -> None:
    page = FORMATS["html"](hostile())
    assert "<b>" not in page and "&lt;b&gt;" in page
    assert "<script" not in page and "default-src &#39;none&#39;" in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert "50 items flipped" in page and "+Reply:" in page


def test_a_saved_file_is_noticed(tmp_path: Path) -> None:
    before = stamps([tmp_path])
    (tmp_path / "qa.j2").write_text("x", encoding="utf-8")
    assert changed_files(before, stamps([tmp_path])) == [tmp_path / "qa.j2"]
