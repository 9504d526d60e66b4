"""Checks made of checks: ``not``, ``any`` and ``all``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from harness.checks.registry import Context, Example, Outcome, Unsupported, check, resolve
from harness.errors import CheckError
from harness.records import CheckSpec


def nested(item: Mapping[str, Any]) -> CheckSpec:
    """A check written inside another one; ``{"not": c}``, ``{"any": [..]}`` are short forms."""
    if "not" in item:
        return CheckSpec("not", {"check": item["not"]})
    for name in ("any", "all"):
        if name in item:
            return CheckSpec(name, {"checks": item[name]})
    if not isinstance(item.get("id"), str):
        raise CheckError(f"a check inside a check needs an id; found {dict(item)!r}")
    return CheckSpec(item["id"], item.get("kwargs") or {})


def _known(item: dict[str, Any]) -> dict[str, Any]:
    try:
        resolve(nested(item))
    except CheckError as error:
        raise ValueError(str(error)) from error
    return item


Inner = Annotated[dict[str, Any], AfterValidator(_known)]
Inners = Annotated[list[Inner], Field(min_length=1)]


def _judge(context: Context, item: dict[str, Any]) -> Outcome:
    verifier = resolve(nested(item))
    if lacking := verifier.check.missing():
        raise Unsupported(lacking)
    return verifier(context)


_TEA = {"id": "contains", "kwargs": {"text": "tea"}}
_CAKE = {"id": "contains", "kwargs": {"text": "cake"}}


@check(
    "not",
    passes=[Example("coffee", {"check": _TEA}), Example("tea", {"check": {"not": _TEA}})],
    fails=[Example("tea", {"check": _TEA})],
)
def negation(context: Context, *, check: Inner) -> Outcome:
    """The inner check fails."""
    inner = _judge(context, check)
    return Outcome(not inner.value, f"not: {inner.reason}")


@check(
    "any",
    passes=[Example("tea", {"checks": [_TEA, _CAKE]})],
    fails=[Example("jam", {"checks": [_TEA, _CAKE]})],
)
def disjunction(context: Context, *, checks: Inners) -> Outcome:
    """One of the inner checks passes."""
    reasons = []
    for item in checks:
        inner = _judge(context, item)
        if inner.value:
            return Outcome(True, inner.reason)
        reasons.append(inner.reason)
    return Outcome(False, "none of them: " + "; ".join(reasons))


@check(
    "all",
    passes=[Example("tea and cake", {"checks": [_TEA, _CAKE]})],
    fails=[Example("tea", {"checks": [_TEA, {"any": [_CAKE]}]})],
)
def conjunction(context: Context, *, checks: Inners) -> Outcome:
    """Every inner check passes."""
    for item in checks:
        inner = _judge(context, item)
        if not inner.value:
            return inner
    return Outcome(True, "all of them")
