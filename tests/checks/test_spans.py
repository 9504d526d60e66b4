"""The places that decided a verdict: what a reader is shown of an answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks import all_checks, judge
from harness.checks.registry import Context, Outcome, check
from harness.checks.text.spans import MOST
from harness.records import CheckSpec, Message, Sample


def shown(answer: str, check_id: str, kwargs: dict[str, Any]) -> list[str]:
    item = Sample("x", (Message("user", "?"),), (CheckSpec(check_id, kwargs),))
    (result,) = judge(item, answer)
    return [answer[start:end] for start, end in result.spans]


@pytest.mark.parametrize(
    ("check_id", "kwargs", "text", "places"),
    [
        ("punctuation:no_comma", {}, "Tea, cake, jam", [",", ","]),
        ("keywords:forbidden_words", {"forbidden_words": ["tea"]}, "Teapot TEA", ["TEA"]),
        ("keywords:existence", {"keywords": ["tea", "jam"]}, "Teapot", ["Tea"]),
        (
            "keywords:frequency",
            {"keyword": "tea", "frequency": 3, "relation": "at least"},
            "tea Tea",
            ["tea", "Tea"],
        ),
        (
            "keywords:letter_frequency",
            {"letter": "a", "let_frequency": 1, "let_relation": "at least"},
            "bA",
            ["A"],
        ),
        (
            "detectable_format:number_bullet_lists",
            {"num_bullets": 1},
            "So:\n* tea\n* jam",
            ["* tea", "* jam"],
        ),
        (
            "detectable_content:number_placeholders",
            {"num_placeholders": 2},
            "to [you] by [me]",
            ["[you]", "[me]"],
        ),
        (
            "detectable_content:postscript",
            {"postscript_marker": "P.S."},
            "Hi\nP. S. tea",
            ["P. S."],
        ),
        ("detectable_format:title", {}, "a\n<<On tea>> b", ["<<On tea>>"]),
        ("startend:end_checker", {"end_phrase": "the end"}, "the end, The End", ["The End"]),
        ("change_case:english_lowercase", {}, "so IT is", ["IT"]),
        (
            "contains",
            {"text": "green  tea", "collapse_whitespace": True},
            "green\ntea",
            ["green\ntea"],
        ),
        ("not_contains", {"text": ["tea", "jam"], "whole_words": True}, "teapot jam", ["jam"]),
        ("regex", {"pattern": r"\d+"}, "a 12 b 3", ["12", "3"]),
        ("numeric_close", {"value": 5}, "First 5, then 7", ["7"]),
        ("choice", {"options": ["A", "B"], "answer": "B"}, "A or B", ["A", "B"]),
        ("refusal", {"refuses": False}, "I'm sorry, no", ["I'm sorry"]),
        ("target", {"answers": ["New York"]}, "In new\nYORK.", ["new\nYORK"]),
        ("bullets", {"at_least": 1}, "- tea\nno\n- jam", ["- tea", "- jam"]),
        ("not", {"check": {"id": "contains", "kwargs": {"text": "tea"}}}, "tea", ["tea"]),
    ],
)
def test_a_check_shows_what_decided(
    check_id: str, kwargs: dict[str, Any], text: str, places: list[str]
) -> None:
    assert shown(text, check_id, kwargs) == places


@given(st.text(alphabet="Aa,İß \n*-[]<>1tea.", max_size=60))
def test_places_lie_inside_the_answer_in_order_and_are_few(text: str) -> None:
    for found in all_checks().values():
        for example in (*found.passes[:1], *found.fails[:1]):
            if found.family == "ifbench" or example.needs_code or found.requires:
                continue
            item = Sample(
                "x", (Message("user", "?"),), (CheckSpec(found.id, dict(example.kwargs)),)
            )
            spans = judge(item, text)[0].spans
            assert len(spans) <= MOST
            assert all(0 <= start < end <= len(text) for start, end in spans)


def test_places_outside_the_answer_are_left_out() -> None:
    @check("test:anything")
    def anything(context: Context) -> Outcome:
        """Says places that are none."""
        return Outcome(False, "no", ((0, 2), (-1, 1), (2, 2), (1, 99)))

    assert shown("tea", "test:anything", {}) == ["te"]
