"""Checks on amounts: numbers, and numbers with a unit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field

from harness.checks.own.content import Filled, Texts, _listed
from harness.checks.registry import Context, Example, Outcome, check
from harness.checks.text.spans import spans

_DIGITS = {
    ".": r"[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3})?",
    ",": r"[-+−]?(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d+)?(?:[eE][-+]?\d{1,3})?",
}
_NUMBER = re.compile(_DIGITS["."])


@check(
    "numeric_close",
    passes=[
        Example("So the total is 1,234.5.", {"value": 1234.5}),
        Example("About 3.14 or so", {"value": 3.14159, "relative": 0.01}),
    ],
    fails=[
        Example("First 5, then 7", {"value": 5}),
        Example("none", {"value": 0}),
        Example("4 or 5", {"value": 5, "which": "only"}),
    ],
)
def numeric_close(
    context: Context,
    *,
    value: float,
    absolute: Annotated[float, Field(ge=0)] = 1e-9,
    relative: Annotated[float, Field(ge=0)] = 0.0,
    which: Literal["last", "first", "any", "only"] = "last",
) -> Outcome:
    """The last number (or the first, any, the only one) is as near to the value as wanted."""
    matches = list(_NUMBER.finditer(context.text))
    if not matches:
        return Outcome(False, "no number in the answer")
    if which == "only" and len(matches) > 1:
        return Outcome(False, f"{len(matches)} numbers, wanted only one", spans(matches))
    looked_at = {"first": matches[:1], "any": matches}.get(which, matches[-1:])
    numbers = [float(match[0].replace(",", "").replace("−", "-")) for match in looked_at]
    room = max(absolute, relative * abs(value))
    near = [abs(number - value) <= room for number in numbers]
    decided = [match for match, ok in zip(looked_at, near, strict=True) if ok] or looked_at
    return Outcome(any(near), f"{numbers[-1]:g}, wanted {value:g} ± {room:g}", spans(decided))


Units = Texts | Annotated[dict[Filled, Annotated[float, Field(gt=0)]], Field(min_length=1)]


@check(
    "quantity",
    passes=[
        Example("About 2.5 km away", {"value": 2.5, "unit": ["km", "kilometres"]}),
        Example("2500m", {"value": 2.5, "unit": {"km": 1, "m": 0.001}}),
        Example("It costs $1,200.", {"value": 1200, "unit": "$"}),
        Example("98,6 Grad", {"value": 98.6, "unit": "Grad", "decimal": ","}),
        Example("4.9 kg", {"value": 5, "unit": "kg", "relative": 0.05}),
    ],
    fails=[
        Example("2.5 miles", {"value": 2.5, "unit": "km"}),
        Example("2.5", {"value": 2.5, "unit": "km"}),
        Example("2.5 km/h", {"value": 2.5, "unit": "km"}),
        Example("3 km or 4 km", {"value": 4, "unit": "km", "which": "only"}),
    ],
)
def quantity(
    context: Context,
    *,
    value: float,
    unit: Units,
    absolute: Annotated[float, Field(ge=0)] = 1e-9,
    relative: Annotated[float, Field(ge=0)] = 0.0,
    which: Literal["last", "first", "any", "only"] = "last",
    decimal: Literal[".", ","] = ".",
    ignore_case: bool = False,
) -> Outcome:
    """The last amount in one of the units (or the first, any, the only one) is as near as wanted.

    ``unit`` is a spelling, several, or ``{"km": 1, "m": 0.001}``: what one of each is worth.
    """
    given = unit if isinstance(unit, Mapping) else dict.fromkeys(_listed(unit), 1.0)
    worth = {name.casefold() if ignore_case else name: factor for name, factor in given.items()}
    matches = list(_amounts(tuple(worth), decimal, ignore_case).finditer(context.text))
    if not matches:
        return Outcome(False, f"no number with {' or '.join(map(repr, given))}")
    if which == "only" and len(matches) > 1:
        return Outcome(False, f"{len(matches)} amounts, wanted only one", spans(matches))
    looked_at = {"first": matches[:1], "any": matches}.get(which, matches[-1:])
    room = max(absolute, relative * abs(value))
    found = [_amount(match, worth, decimal, ignore_case) for match in looked_at]
    near = [abs(amount - value) <= room for amount in found]
    decided = [match for match, ok in zip(looked_at, near, strict=True) if ok] or looked_at
    shown = f"{found[-1]:g} {next(iter(given))}, wanted {value:g} ± {room:g}"
    return Outcome(any(near), shown, spans(decided))


@lru_cache(maxsize=1024)
def _amounts(units: tuple[str, ...], decimal: str, ignore_case: bool) -> re.Pattern[str]:
    """A number with a unit behind it, or a sign such as $ in front."""
    names = "|".join(re.escape(name) for name in sorted(units, key=len, reverse=True))
    number = _DIGITS[decimal]
    behind = rf"(?P<a>{number})[\s-]?(?P<b>{names})(?![\w²³^]|/\w)"
    before = rf"(?<!\w)(?P<c>{names})\s?(?P<d>{number})"
    return re.compile(rf"(?<![\w.,])(?:{behind}|{before})", re.IGNORECASE if ignore_case else 0)


def _amount(
    match: re.Match[str], worth: Mapping[str, float], decimal: str, ignore_case: bool
) -> float:
    number, name = match["a"] or match["d"], match["b"] or match["c"]
    plain = number.replace("." if decimal == "," else ",", "").replace(decimal, ".")
    return float(plain.replace("−", "-")) * worth[name.casefold() if ignore_case else name]
