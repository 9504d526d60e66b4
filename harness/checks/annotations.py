"""A check's argument types in the words of whoever writes a suite."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

_WORDS: Mapping[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    dict: "object",
    list: "list",
    Any: "anything",
}
_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def type_words(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """An annotation as a suite's author would say it: ``integer >= 0``, ``list of text``."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        bounds = [part for item in inner[1:] for part in getattr(item, "metadata", [item])]
        return type_words(inner[0], [*bounds, *metadata])
    if origin is typing.Literal:
        return " or ".join(repr(value) for value in inner)
    if origin is typing.Union or origin is types.UnionType:
        return " or ".join(type_words(part) for part in inner if part is not type(None))
    words = _WORDS.get(origin or annotation, getattr(annotation, "__name__", str(annotation)))
    if origin is list and inner:
        words = f"list of {type_words(inner[0])}"
    for item in metadata:
        for name, sign in _BOUNDS.items():
            if (bound := getattr(item, name, None)) is not None:
                words += f" {sign} {bound}"
        if getattr(item, "min_length", None):
            words += ", not empty" if item.min_length == 1 else f", at least {item.min_length} long"
    return words
