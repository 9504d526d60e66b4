"""Every check's published examples are tests of it: `harness list checks NAME` shows these."""

from __future__ import annotations

import pytest

from harness.checks import CodeSettings, all_checks, judge
from harness.checks.own.code import sandbox_works
from harness.checks.registry import Check, Example, describe_arguments
from harness.records import CheckSpec, Message, Sample

CASES = [
    pytest.param(check, example, wanted, id=f"{check.id}-{'pass' if wanted else 'fail'}-{number}")
    for check in all_checks().values()
    for wanted, examples in ((True, check.passes), (False, check.fails))
    for number, example in enumerate(examples)
]


@pytest.mark.parametrize(("check", "example", "wanted"), CASES)
def test_an_example_gets_the_verdict_it_is_shown_with(
    check: Check, example: Example, wanted: bool
) -> None:
    if lacking := check.missing():
        pytest.skip(lacking)
    if example.needs_code and not sandbox_works():
        pytest.skip("bubblewrap is not installed or not allowed to make a sandbox here")
    sample = Sample("example", (Message("user", "?"),), (CheckSpec(check.id, example.kwargs),))
    (result,) = judge(sample, example.text, code=CodeSettings("sandboxed"), tokens=example.tokens)
    assert result.strict is wanted, result.reason
    assert result.version == check.version
    assert result.reason


@pytest.mark.parametrize("check", all_checks().values(), ids=lambda check: check.id)
def test_every_check_has_examples_arguments_and_a_summary(check: Check) -> None:
    if check.id != "words:start_verb":  # not supported, so nothing passes or fails
        assert check.passes
        assert check.fails
    assert describe_arguments(check)
    assert check.summary.endswith(".")


def test_all_published_instruction_types_are_there() -> None:
    families = [check.family for check in all_checks().values()]
    assert families.count("ifeval") == 25
    assert families.count("ifbench") == 58


@pytest.mark.parametrize(
    "name",
    """equals contains not_contains starts_with ends_with regex numeric_close choice json_schema
    json_path length_words length_sentences length_chars lines bullets csv_table valid_python
    code_passes language similarity refusal target not any all contains_json quantity label
    in_order markdown length_tokens""".split(),  # noqa: SIM905
)
def test_a_custom_check_is_there(name: str) -> None:
    assert all_checks()[name].family == "custom"
