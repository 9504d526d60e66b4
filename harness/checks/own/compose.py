"""Checks made of checks: ``not``, ``any`` and ``all``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from harness.checks.registry import (
    Context,
    Example,
    Outcome,
    Unsupported,
    check,
    demanded,
    resolve,
)
from harness.errors import CheckError
from harness.records import CheckSpec


def _known(item: dict[str, Any]) -> dict[str, Any]:
    try:
        resolve(CheckSpec.written(item))
    except CheckError as error:
        raise ValueError(str(error)) from error
    return item


Inner = Annotated[dict[str, Any], AfterValidator(_known)]
Inners = Annotated[list[Inner], Field(min_length=1)]


def _judge(context: Context, item: dict[str, Any]) -> Outcome:
    verifier = resolve(CheckSpec.written(item))
    if lacking := verifier.check.missing():
        raise Unsupported(lacking)
    return verifier(context)


def _inside(given: Mapping[str, Any]) -> Sequence[CheckSpec]:
    """The checks inside a composed one."""
    return [CheckSpec.written(item) for item in given.get("checks") or [given["check"]]]


def _demanded_by_all(given: Mapping[str, Any]) -> Sequence[str]:
    return [text for spec in _inside(given) for text in demanded(spec)]


def _demanded_by_any(given: Mapping[str, Any]) -> Sequence[str]:
    """What every alternative demands."""
    first, *others = [demanded(spec) for spec in _inside(given)]
    return [text for text in first if all(text in other for other in others)]


_TEA = {"id": "contains", "kwargs": {"text": "tea"}}
_CAKE = {"id": "contains", "kwargs": {"text": "cake"}}


@check(
    "not",
    passes=[Example("coffee", {"check": _TEA}), Example("tea", {"check": {"not": _TEA}})],
    fails=[Example("tea", {"check": _TEA})],
    inner=_inside,
)
def negation(context: Context, *, check: Inner) -> Outcome:
    """The inner check fails."""
    inner = _judge(context, check)
    return Outcome(not inner.value, f"not: {inner.reason}", inner.spans)


@check(
    "any",
    passes=[Example("tea", {"checks": [_TEA, _CAKE]})],
    fails=[Example("jam", {"checks": [_TEA, _CAKE]})],
    inner=_inside,
    demands=_demanded_by_any,
)
def disjunction(context: Context, *, checks: Inners) -> Outcome:
    """One of the inner checks passes."""
    reasons = []
    for item in checks:
        inner = _judge(context, item)
        if inner.value:
            return inner
        reasons.append(inner.reason)
    return Outcome(False, "none of them: " + "; ".join(reasons))


@check(
    "all",
    passes=[Example("tea and cake", {"checks": [_TEA, _CAKE]})],
    fails=[Example("tea", {"checks": [_TEA, {"any": [_CAKE]}]})],
    inner=_inside,
    demands=_demanded_by_all,
)
def conjunction(context: Context, *, checks: Inners) -> Outcome:
    """Every inner check passes."""
    for item in checks:
        inner = _judge(context, item)
        if not inner.value:
            return inner
    return Outcome(True, "all of them")
