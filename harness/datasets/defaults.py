"""The first line of a suite that speaks for all its rows: ``{"defaults": {...}}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEY = "defaults"

_JOINED = ("checks", "tags")
_MERGED = ("variables", "metadata")
_INSTEAD = {"prompt": "messages", "messages": "prompt"}
"""Of these two a row has one."""


def speaks_for_all(row: Any) -> bool:
    """Whether a row holds the defaults of the others."""
    return isinstance(row, dict) and KEY in row


def with_defaults(row: Any, defaults: Mapping[str, Any]) -> Any:
    """A row with what it leaves out; checks and tags of both, variables and metadata of both.

    Where both name one variable the row's own holds.
    """
    if not isinstance(row, dict) or not defaults:
        return row
    usual = {key: value for key, value in defaults.items() if _INSTEAD.get(key) not in row}
    joined: dict[str, Any] = {**usual, **row}
    for key in (*_JOINED, *_MERGED):
        ours, theirs = usual.get(key), row.get(key)
        if isinstance(ours, list) and isinstance(theirs, list):
            joined[key] = [*ours, *theirs]
        elif isinstance(ours, dict) and isinstance(theirs, dict):
            joined[key] = {**ours, **theirs}
    return joined
