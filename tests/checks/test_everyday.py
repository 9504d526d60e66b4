"""Checks for everyday tasks, where they are easily wrong."""

from __future__ import annotations

import time
from typing import Any

import pytest

from harness.checks import judge, majority_answers, metrics, validate
from harness.checks.own.everyday import listed_items
from harness.checks.own.json_values import embedded_json
from harness.errors import CheckError
from harness.records import CheckSpec, Message, Sample


def verdict(id: str, said: str, tokens: int | None = None, **kwargs: Any) -> bool | None:
    spec = CheckSpec(id, kwargs)
    validate(spec)
    (result,) = judge(Sample("x", (Message("user", "?"),), (spec,)), said, tokens=tokens)
    return result.strict


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ('As {so} said: {"a": [1]} and [2]', "any", {"a": [1]}),
        ('As {so} said: {"a": [1]} and [2]', "array", [1]),
        ('see [1] and {"a": 2}', "object", {"a": 2}),
        ("[NaN] then [3]", "any", [3]),
        ("{" * 3000, "any", None),
        ("[" * 100_000, "any", None),
        ("no value: 3", "any", None),
    ],
)
def test_the_first_whole_value_is_found_in_prose(text: str, kind: str, value: object) -> None:
    found, place = embedded_json(text, kind)
    assert found == value
    assert (place is None) == (value is None)


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("It is 1,5 km.", False),  # a comma is no decimal point here
        ("5 km²", False),
        ("about 5-km walk", True),
        ("5 KM", False),
        ("x5 km", False),
        ("5 km, then 7 mi", True),
        ("5 kma", False),
    ],
)
def test_an_amount_has_its_unit_and_no_other(text: str, passes: bool) -> None:
    assert verdict("quantity", text, value=5, unit="km") is passes


def test_amounts_are_read_with_their_own_signs() -> None:
    assert verdict("quantity", "−3 °C", value=-3, unit="°C")
    assert verdict("quantity", "1.234,5 kg", value=1234.5, unit="kg", decimal=",")
    assert verdict("quantity", "12%", value=0.12, unit={"%": 0.01})
    assert verdict("quantity", "USD 20", value=20, unit=["$", "USD"])
    assert verdict("quantity", "20 usd", value=20, unit="USD", ignore_case=True)


@pytest.mark.parametrize(
    ("id", "kwargs", "complaint"),
    [
        ("choice", {"options": ["yes", "no"], "answer": "yess"}, "did you mean 'yes'"),
        ("label", {"labels": {"high": [], "low": []}, "answer": "hihg"}, "did you mean 'high'"),
        ("label", {"labels": {"high": ["x"], "low": ["X"]}}, "'X' stands for both 'high' and"),
        ("markdown", {"part": "list", "level": 2}, "level: goes with part 'heading'"),
        ("markdown", {"part": "heading", "at_least": 3, "at_most": 2}, "no answer can pass"),
        ("quantity", {"value": 3, "unit": {"km": 0}}, "greater than 0"),
        ("contains", {"text": "x", "mode": 0}, "mode"),
        ("length_tokens", {}, "give one of"),
    ],
)
def test_arguments_by_which_nothing_passes_are_refused(
    id: str, kwargs: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(CheckError, match=complaint):
        validate(CheckSpec(id, kwargs))


def test_a_list_is_read_in_every_form() -> None:
    for text in (
        "- a\n- b c",
        "1. a\n2) b c",
        "a\nb c",
        "a, b c.",
        "a and b c",
        "Here:\n\n* a\n* b c",
    ):
        assert listed_items(text) == ["a", "b c"]


def test_no_answer_takes_long_to_be_read() -> None:
    kwargs: dict[str, dict[str, Any]] = {
        "in_order": {"items": ["a", "b"], "only": True},
        "quantity": {"value": 1, "unit": ["km", "$"]},
        "contains_json": {},
        "label": {"labels": {"high": [], "low": []}},
        "markdown": {"part": "link"},
    }
    spaces = "a" + " " * 90_000 + "x"
    for text in (spaces, "1," * 40_000, '{"' * 40_000, "[a](" * 20_000, "and " * 20_000):
        for id, given in kwargs.items():
            begin = time.process_time()
            assert verdict(id, text, **given) is False
            assert time.process_time() - begin < 20, (id, text[:9])


def test_names_are_found_in_order_whatever_their_accents() -> None:
    assert verdict("in_order", "Zürich,  GENÈVE", items=["Zurich", ["Genf", "Geneve"]])
    assert not verdict("in_order", "Geneva lies west of Zurich", items=["Zurich", "Geneva"])
    assert verdict("not_contains", "naïve", text="naive")
    assert not verdict("not_contains", "naïve", text="naive", normalise=True)


def test_tokens_are_those_the_model_counted_or_nobody_knows() -> None:
    assert verdict("length_tokens", "tea", tokens=3, at_most=3)
    assert verdict("length_tokens", "tea", at_most=3) is None
    spec = CheckSpec("length_tokens", {"at_most": 3})
    sample = Sample("x", (Message("user", "?"),), (spec,))
    assert metrics([judge(sample, "tea")])["n_unsupported"] == 1


def test_the_majority_is_counted_by_suite_over_items_with_a_right_answer() -> None:
    def item(suite: str, answer: str) -> Sample:
        labels: dict[str, list[str]] = {"high": [], "low": []}
        spec = CheckSpec("label", {"labels": labels, "answer": answer})
        return Sample("x", (Message("user", "?"),), (spec,), suite=suite)

    found = majority_answers(
        [
            *(item("a", name) for name in ("low", "high", "high")),
            item("b", "low"),
            Sample("y", (Message("user", "?"),), (), suite="a"),
        ]
    )
    assert found == {"a": ("high", 2, 3), "b": ("low", 1, 1)}
