from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks import CodeSettings, judge, judge_many, metrics, validate
from harness.checks.registry import Context, Outcome, bind, check
from harness.checks.text.plain import loose_variants
from harness.errors import CheckError
from harness.records import CheckResult, CheckSpec, Message, Sample


def sample(*specs: CheckSpec, target: tuple[str, ...] = ()) -> Sample:
    return Sample("x", (Message("user", "Name a tea."),), specs, target=target)


def contains(text: str) -> CheckSpec:
    return CheckSpec("contains", {"text": text})


@check("test:raises")
def raises(context: Context) -> Outcome:
    """Fails on purpose."""
    raise KeyError("oh")


@check("test:counts_words", version=7)
def counts(context: Context, *, bounds: dict[str, int]) -> Outcome:
    """Has a version."""
    return Outcome(len(context.derived.words) == bounds["wanted"], "counted")


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (CheckSpec("contain", {"text": "a"}), "did you mean contains"),
        (CheckSpec("contains", {"texts": "a"}), "contains: text"),
        (CheckSpec("contains", {"text": "a", "fuzzy": True}), "fuzzy"),
        (CheckSpec("lines", {"exactly": "3"}), "lines: exactly"),
        (CheckSpec("lines", {}), "give one of exactly, at_least, at_most"),
        (CheckSpec("regex", {"pattern": "("}), "not a regular expression"),
        (CheckSpec("json_path", {"path": "a..b"}), "is not a path"),
        (CheckSpec("json_schema", {"schema": {"type": "thing"}}), "not a JSON Schema"),
        (CheckSpec("json_schema", {"schema": {"$ref": "http://x.invalid/y"}}), "leads outside"),
        (CheckSpec("not", {"check": {"id": "nothing"}}), "there is no check 'nothing'"),
        (CheckSpec("any", {"checks": []}), "checks"),
        (CheckSpec("contains", {"text": {1, 2}}), "not JSON"),
        (
            CheckSpec("length_constraints:number_words", {"num_words": 3, "relation": "exactly"}),
            "'less than' or 'at least'",
        ),
    ],
)
def test_a_wrong_check_is_refused_when_a_suite_is_loaded(spec: CheckSpec, complaint: str) -> None:
    with pytest.raises(CheckError, match=complaint):
        validate(spec)


def test_a_check_that_raises_is_a_failed_verdict_with_its_reason() -> None:
    (result,) = judge(sample(CheckSpec("test:raises")), "tea")
    assert (result.strict, result.loose) == (False, False)
    assert result.reason == "the check failed: KeyError: 'oh'"


def test_a_verdict_carries_version_index_and_request_key() -> None:
    found = judge(
        sample(contains("tea"), CheckSpec("test:counts_words", {"bounds": {"wanted": 2}})),
        "green tea",
        request_key="k",
    )
    assert [(r.index, r.check_id, r.version, r.request_key) for r in found] == [
        (0, "contains", 1, "k"),
        (1, "test:counts_words", 7, "k"),
    ]


def test_one_verifier_serves_every_row_that_asks_the_same() -> None:
    assert bind(contains("tea")) is bind(contains("tea"))
    assert bind(contains("tea")) is not bind(contains("cake"))


def test_a_blank_answer_fails_even_a_negated_check() -> None:
    (result,) = judge(sample(CheckSpec("not", {"check": {"id": "refusal"}})), " \n ")
    assert (result.strict, result.loose) == (False, False)


def test_a_target_of_the_sample_is_looked_for() -> None:
    (result,) = judge(sample(CheckSpec("target"), target=("Darjeeling",)), "It is darjeeling!")
    assert result.strict
    (result,) = judge(sample(CheckSpec("target"), target=("tea",)), "teapot")
    assert not result.strict


@given(st.text(max_size=200))
def test_loose_is_never_stricter_than_strict(text: str) -> None:
    specs = (contains("*"), CheckSpec("lines", {"exactly": 1}), CheckSpec("format:no_whitespace"))
    for result in judge(sample(*specs), text):
        assert result.loose or not result.strict


@given(st.text(alphabet="ab*\n \r", max_size=40))
def test_the_first_loose_variant_is_the_text_and_none_is_longer(text: str) -> None:
    variants = loose_variants(text)
    assert variants[0] == text
    assert len(variants) <= 8
    assert all(len(variant) <= len(text) for variant in variants)


def test_a_pattern_that_never_ends_is_stopped_once() -> None:
    spec = CheckSpec("regex", {"pattern": "(a|aa)+$"})
    (result,) = judge(sample(spec), "\n".join(["a" * 60 + "!"] * 5))
    assert (result.strict, result.loose) == (False, False)
    assert "more than a second" in result.reason


def test_code_is_not_run_unless_it_was_asked_for() -> None:
    spec = CheckSpec("code_passes", {"tests": ""})
    (result,) = judge(sample(spec), "print('tea')")
    assert (result.strict, result.loose) == (None, None)
    assert "--code" in result.reason


@pytest.mark.skipif("sys.platform == 'win32'")
def test_code_runs_with_limits_only_when_the_user_says_so() -> None:
    spec = CheckSpec("code_passes", {"tests": "assert add(1, 2) == 3", "timeout": 20})
    settings = CodeSettings("unsafe")
    (good,) = judge(sample(spec), "def add(a, b): return a + b", code=settings)
    (bad,) = judge(sample(spec), "def add(a, b): return a - b", code=settings)
    assert (good.strict, bad.strict) == (True, False), good.reason
    assert "AssertionError" in bad.reason


def result(strict: bool | None, loose: bool | None) -> CheckResult:
    return CheckResult("k", 0, "c", 1, strict, loose, "r")


def test_metrics_are_ifevals_and_leave_unsupported_verdicts_out() -> None:
    found = metrics(
        [
            [result(True, True), result(None, None)],
            [result(True, True), result(False, True)],
            [result(False, False)],
            [result(None, None)],
        ]
    )
    assert found == {
        "prompt_level_strict_acc": 1 / 3,
        "inst_level_strict_acc": 2 / 4,
        "prompt_level_loose_acc": 2 / 3,
        "inst_level_loose_acc": 3 / 4,
        "n_prompts": 3,
        "n_instructions": 4,
        "n_unsupported": 2,
    }


def test_metrics_of_nothing_are_missing_not_zero() -> None:
    assert metrics([])["prompt_level_strict_acc"] is None


def test_many_answers_are_judged_in_order_and_alike_in_parallel() -> None:
    items = [(sample(contains("7")), f"answer {number}", str(number)) for number in range(100)]
    alone = list(judge_many(items, jobs=1))
    assert [rows[0].request_key for rows in alone] == [str(number) for number in range(100)]
    assert [rows[0].strict for rows in alone] == ["7" in str(number) for number in range(100)]
    assert list(judge_many(iter(items), jobs=2)) == alone


def test_threads_detect_a_language_once_per_text() -> None:
    language = pytest.importorskip("harness.checks.text.language")
    pytest.importorskip("langdetect", reason="needs the ifeval extra")
    text = "Das Wetter ist heute sehr schön und wir gehen im Park spazieren."
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(language.detect_language(text)))
        for _ in range(8)
    ]
    before = len(language._KNOWN)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["de"] * 8
    assert len(language._KNOWN) - before <= 1


def test_languages_are_langdetects_own_answers() -> None:
    pytest.importorskip("langdetect", reason="needs the ifeval extra")
    from pathlib import Path

    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory
    from langdetect.lang_detect_exception import LangDetectException

    from harness.checks.text.language import detect_language

    factory = DetectorFactory()
    factory.seed = 0
    profiles = sorted(path for path in Path(PROFILES_DIRECTORY).iterdir() if path.is_file())
    factory.load_json_profile([path.read_text(encoding="utf-8") for path in profiles])

    def official(text: str) -> str | None:
        detector = factory.create()
        detector.append(text)
        try:
            return str(detector.detect())
        except LangDetectException:
            return None

    texts = [
        "The weather is lovely today.", "Il fait beau aujourd'hui.", "今日はいい天気です。",
        "Сегодня хорошая погода", "날씨가 좋네요", "TEA AND CAKE", "AbC dEf  g", "12, 34!", "",
        "see http://example.org/x?y=1 or a@b.org", "tiếng Việt e\u0302\u0301", "cafe\u0301 \u0219i",
        "mixed 日本語 and English words in one line", "ok", "\ud800 lone", "x\n\ny  z\t",
    ]  # fmt: skip
    assert [detect_language(text) for text in texts] == [official(text) for text in texts]
