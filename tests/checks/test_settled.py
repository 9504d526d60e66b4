"""What a beginning settles is so whatever follows: every decider, random texts, random cuts."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import checks
from harness.checks.registry import (
    _DECIDERS,
    _REGISTRY,
    Check,
    Context,
    Outcome,
    all_checks,
    decider,
    decides,
)
from harness.checks.registry import check as register
from harness.checks.settled import is_settled, judge_cut, settle
from harness.records import CheckSpec, Message, Sample

DECIDED = [check for check in all_checks().values() if decider(check.id)]
# Whatever checks look at, and what makes a character's meaning depend on the next one.
PIECES = [
    *"aA.,!?'\"*#-_()[]{}<>`|&:;0129 \n\t",
    *("\n\n", "***", "******", "**", "* ", "- ", "1. ", "```", "```json\n", '{"a": 1}', "[1, 2]"),
    *("<<", ">>", "P.S.", "P.P.S", "Section 1", "My answer is yes.", "Dr. ", "etc. ", "U.S. "),
    *("Σ", "ς", "İ", "ß", "ﬁ", "e\u0301", "\u0301", "🍵", "寿司", "\u2028", "\r", "\x1f"),
    *("I cannot help", "As an AI", "yes", "no", "not sure", "Emma ", "and ", "true", "null", "42"),
]


def cases(check: Check) -> list[tuple[str, dict[str, object], str]]:
    """The check's own examples: an answer, its arguments, the item's question."""
    if check.id == "regex":  # its own examples time out on purpose
        plain: list[dict[str, object]] = [{"pattern": "tea"}, {"pattern": "tea", "at_least": 2}]
        return [("tea or cake", kwargs, "") for kwargs in plain]
    return [
        (found.text, dict(found.kwargs), found.prompt)
        for found in (*check.passes, *check.fails)
        if not found.needs_code
    ]


def words_of(value: object) -> list[str]:
    if isinstance(value, str):
        return [value, *value.split()] if value else []
    if isinstance(value, dict):
        value = list(value.values())
    return [word for item in value for word in words_of(item)] if isinstance(value, list) else []


def sample_of(check: Check, kwargs: dict[str, object], prompt: str) -> Sample:
    spec = CheckSpec(check.id, kwargs)
    return Sample("i", (Message("user", prompt or "?"),), (spec,), target=("Paris", "tea"))


def agrees(sample: Sample, text: str, cut: int) -> None:
    """What is settled at the cut is the verdict of the whole text, and of the cut one itself."""
    known = settle(sample, text[:cut])[0]
    if known.unsupported:
        return
    for whole in (text, text[:cut]):
        result = checks.judge(sample, whole)[0]
        if known.strict is not None:
            assert known.strict == result.strict, (text[:cut], whole, result)
        if known.loose is not None:
            assert known.loose == result.loose, (text[:cut], whole, result)


@pytest.mark.parametrize("check", DECIDED, ids=lambda check: check.id)
@settings(suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_decider_speaks_for_every_continuation(check: Check, data: st.DataObject) -> None:
    text, kwargs, prompt = data.draw(st.sampled_from(cases(check)))
    own = [text, *text.split(" "), *words_of(list(kwargs.values()))]
    pieces = st.lists(st.sampled_from(PIECES) | st.sampled_from(own), max_size=24)
    drawn = "".join(data.draw(pieces))
    whole = data.draw(st.sampled_from([drawn, text + drawn, f"{text}\n{drawn}", drawn + text]))
    cut = data.draw(st.integers(0, len(whole)))
    sample = sample_of(check, kwargs, prompt)
    agrees(sample, whole, cut)


@pytest.mark.parametrize("check", DECIDED, ids=lambda check: check.id)
def test_every_cut_of_every_example(check: Check) -> None:
    rng = random.Random(0)
    for text, kwargs, prompt in cases(check):
        more = "".join(rng.choices(PIECES, k=6))
        for whole in (text, text + more, f"x, Y\n{text}\n{more}"):
            for cut in range(len(whole) + 1):
                agrees(sample_of(check, kwargs, prompt), whole, cut)


def test_each_decider_decides_something_and_belongs_to_a_check() -> None:
    assert set(_DECIDERS) <= set(all_checks())
    idle = []
    for check in DECIDED:
        texts = [
            (text + more, kwargs, prompt)
            for text, kwargs, prompt in cases(check)
            for more in (
                "",
                " and so on. And on.\n\nAnd then\nmore. Really, it goes on here, too.",
                "\n******\n- a\n- b\n- c\n* d\n* e\n******\n1. f\n2. g\n3. h\n",
            )
        ]
        settled = [settle(sample_of(check, kw, prompt), text)[0] for text, kw, prompt in texts]
        if all(item.strict is None for item in settled):
            idle.append(check.id)
    assert idle == []


def item(*specs: tuple[str, dict[str, object]]) -> Sample:
    return Sample("i", (Message("user", "?"),), tuple(CheckSpec(name, kw) for name, kw in specs))


NO_COMMA, THREE = ("punctuation:no_comma", {}), ("length_words", {"at_least": 3})
GERMAN = ("language:response_language", {"language": "de"})


def test_an_item_is_settled_by_its_pass_or_by_each_check() -> None:
    both = item(NO_COMMA, GERMAN)
    assert not is_settled(both, "Tea and cake", "prompt")
    assert is_settled(both, "Tea, cake", "prompt")
    assert not is_settled(both, "Tea, cake", "check")
    assert is_settled(item(THREE), "one two three", "check")
    assert not is_settled(item(), "anything", "prompt")
    assert not is_settled(item(("equals", {"text": "x"})), "  ", "prompt")
    # The comma of the first line is not there in the loose reading without it.
    assert not is_settled(item(NO_COMMA), "Tea, cake", "check")
    assert is_settled(item(NO_COMMA), "Tea\na, b\nc", "check")


def test_what_is_open_has_no_verdict() -> None:
    sample = item(NO_COMMA, GERMAN, THREE)
    found = judge_cut(sample, "Tea, cake and jam")
    assert [(row.strict, row.loose) for row in found] == [
        (False, None),
        (None, None),
        (True, True),
    ]
    assert "cut" in found[1].reason


def test_a_check_of_ones_own_may_decide() -> None:
    @register("own:short")
    def short(context: Context, *, most: int) -> Outcome:
        return Outcome(len(context.text) <= most, "length")

    @decides("own:short")
    def too_long(context: Context, *, most: int) -> bool | None:
        return False if len(context.text) > most else None

    try:
        assert is_settled(item(("own:short", {"most": 3})), "abcd", "prompt")
    finally:
        del _DECIDERS["own:short"]
        del _REGISTRY["own:short"]
