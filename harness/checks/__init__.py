"""Checks: verdicts with reasons on answers, the health of a text, and control responders.

One family of checks stands in each file; :mod:`harness.checks.registry` says what a check is.
"""

from harness.checks.controls import (
    CONTROLS,
    MAJORITY,
    is_common,
    majority_answers,
    respond,
)
from harness.checks.judging import in_parallel, judge, judge_many, metrics, validate
from harness.checks.own import amounts, code, compose, content, everyday, json_values, structure
from harness.checks.plugins import load_plugins, own_digests
from harness.checks.published import ifbench_format, ifbench_words, ifeval
from harness.checks.registry import Check, CodeMode, CodeSettings, all_checks, find_check
from harness.checks.settled import (
    EARLY_FORMS,
    early_digest,
    is_settled,
    judge_cut,
    settle,
)
from harness.checks.text.health import health, views

__all__ = [
    "CONTROLS",
    "EARLY_FORMS",
    "MAJORITY",
    "Check",
    "CodeMode",
    "CodeSettings",
    "all_checks",
    "amounts",
    "code",
    "compose",
    "content",
    "early_digest",
    "everyday",
    "find_check",
    "health",
    "ifbench_format",
    "ifbench_words",
    "ifeval",
    "in_parallel",
    "is_common",
    "is_settled",
    "json_values",
    "judge",
    "judge_cut",
    "judge_many",
    "load_plugins",
    "majority_answers",
    "metrics",
    "own_digests",
    "respond",
    "settle",
    "structure",
    "validate",
    "views",
]
