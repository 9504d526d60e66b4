"""``{{name}}`` in a row's texts, filled from its ``variables``, strictly and once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harness.intake import near, shown

NAME = r"[^\W\d][\w -]*"
"""What a variable may be called: a letter, then letters, digits, spaces, hyphens, underscores."""

PLACE = re.compile(rf"\{{\{{\s*({NAME}?)\s*\}}\}}")
"""``{{ name }}`` in a text."""

_TEXTS = ("prompt", "system", "messages", "ablated", "target", "checks")
_NAMES = {"id", "role"}
"""Keys of a message or a check that name something."""


def filled(row: Mapping[str, Any], fields: tuple[str, ...]) -> tuple[dict[str, Any], list[str]]:
    """A row with its variables in its texts, and what does not fit: a name without a value, a
    value without a name.

    Filled are ``prompt``, ``system``, ``ablated``, ``target``, each message, and the texts in the
    checks' arguments. What a value holds is never filled again. A row without ``variables`` stands
    as it is. ``fields`` are the keys of a row, for near misses.
    """
    row = dict(row)
    given: Mapping[str, Any] = row.pop("variables", {})
    if not given:
        return row, []
    used: set[str] = set()
    problems: list[str] = []

    def fill(text: str, field: str) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            used.add(name)
            if name in given:
                return str(given[name])
            problems.append(
                f"{field}: {{{{{name}}}}} has no value; {near(name, given)}"
                f"the row's variables: {', '.join(given)}"
            )
            return match[0]

        return PLACE.sub(value, text)

    def inside(value: Any, field: str) -> Any:
        if isinstance(value, str):
            return fill(value, field)
        if isinstance(value, list):
            return [inside(item, f"{field}.{number}") for number, item in enumerate(value)]
        if isinstance(value, dict):
            return {
                name: item if name in _NAMES and isinstance(item, str) else inside(item, field)
                for name, item in value.items()
            }
        return value

    row |= {field: inside(row[field], field) for field in _TEXTS if field in row}
    # A misspelt name has left its value unused: that is not said a second time.
    absent = used - {*given}
    problems += [
        _unused(name, fields) for name in given if name not in used and not near(name, absent)
    ]
    return row, problems


def _unused(name: str, fields: tuple[str, ...]) -> str:
    hint = near(name, fields).replace("did you mean", "did you mean the key").strip()
    return f"variables: no text of the row holds {{{{{shown(name)[1:-1]}}}}}" + (
        f"; {hint}" if hint else ""
    )
