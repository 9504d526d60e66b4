"""No answer, however hostile, stops a check or takes it more than a straight line's time.

Time is not asserted: each test has a limit far above what linear work takes on a slow machine
and far below what quadratic work would (20,000 brackets cost the official code 3 seconds, so
100,000 would cost it 75, in one of eight views).
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks import all_checks, health, judge, views
from harness.checks.registry import Check
from harness.records import CheckSpec, Generation, Message, Sample

N = 100_000

HOSTILE = {
    "opening brackets": "[" * N,
    "round brackets": "()" * (N // 2),
    "angle brackets": "<<x" * (N // 3),
    "newlines": "\n" * N + "x",
    "carriage returns": "\r" * N + "x",
    "spaces": " " * N + "x",
    "asterisks": "*" * N,
    "lone stars": "*\n" * (N // 2),
    "deep json": "[" * (N // 2) + "]" * (N // 2),
    "deep objects": '{"a":' * (N // 6) + "1" + "}" * (N // 6),
    "lone surrogates": "\ud800" * (N // 4) + "\udc00",
    "nuls": "\x00" * N,
    "quotes": "\"'" * (N // 2),
    "fences": "```\n" * (N // 4),
    "open fence": "```" + " " * N,
    "long number": "1" * N,
    "minus signs": "-" * N + "1",
    "nested calls": "f(" * (N // 2),
    "combining marks": "e\u0301" * (N // 2),
    "addresses": "a@" * (N // 2),
    "quoted csv": 'ProductID,Category,Brand,Price,Stock\n"' + 'x"' * (N // 2),
    "letters": "a" * N,
}
MILLION = {
    "one letter": "a" * 1_000_000,
    "one capital": "A" * 1_000_000,
    "one bracket": "[" * 1_000_000,
    "one newline": "\n" * 999_999 + "x",
}
CHECKS = [check for check in all_checks().values() if not check.id.startswith("test:")]


def judged(check: Check, text: str) -> str:
    example = next(iter(check.passes or check.fails), None)
    spec = CheckSpec(check.id, example.kwargs if example else {})
    (result,) = judge(Sample("x", (Message("user", "?"),), (spec,)), text)
    return result.reason


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", HOSTILE)
def test_ifeval_survives(name: str) -> None:
    for check in CHECKS:
        if check.family == "ifeval":
            assert "the check failed" not in judged(check, HOSTILE[name]), check.id


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", HOSTILE)
def test_every_other_check_survives(name: str) -> None:
    for check in CHECKS:
        if check.family != "ifeval":
            assert "the check failed" not in judged(check, HOSTILE[name]), check.id


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MILLION)
def test_every_check_survives_a_megabyte_of_one_character(name: str) -> None:
    for check in CHECKS:
        assert "the check failed" not in judged(check, MILLION[name]), check.id


@given(
    st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=60)
    | st.text(alphabet="*-[]<>\"'{}():, \n\t`.!?aA1P.S", max_size=120)
)
def test_no_check_raises_on_any_text(text: str) -> None:
    for check in CHECKS:
        assert "the check failed" not in judged(check, text), check.id


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", HOSTILE)
def test_text_health_survives(name: str) -> None:
    text = HOSTILE[name]
    found = health(text[:500], text, text, "length", wants_language=None)
    assert all(value >= 0 for value in found.values())
    assert set(views(Generation("k", text, text, (), "length", 1, 1))) == {
        "untrimmed",
        "stop_trimmed",
        "first_turn",
    }
