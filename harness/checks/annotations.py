"""A check's arguments: read off its function, and in the words of whoever writes a suite."""

from __future__ import annotations

import inspect
import types
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pydantic


def build_arguments(id: str, run: Callable[..., Any]) -> type[pydantic.BaseModel]:
    """A pydantic model of a function's keyword-only parameters: strict types, nothing unknown.

    Raises ValueError for a function that is no check: it takes one context, and keyword-only
    arguments whose types are annotated.
    """
    parameters = list(inspect.signature(run).parameters.values())
    named = [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    plain = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    if inspect.iscoroutinefunction(run) or inspect.isgeneratorfunction(run):
        raise ValueError("a check is a plain function: no async, no yield")
    if not plain:
        raise ValueError("its function takes no context: def name(context: Context) -> Outcome")
    if extra := [p.name for p in plain[1:] if p.default is p.empty]:
        raise ValueError(
            f"the argument {extra[0]!r} is not keyword-only: put a * behind the context"
        )
    try:
        hints = typing.get_type_hints(run, include_extras=True)
    except Exception as error:  # an annotation may be any expression
        raise ValueError(f"an annotation cannot be read: {error}") from error
    fields: dict[str, Any] = {}
    for parameter in named:
        if parameter.name not in hints:
            raise ValueError(f"the argument {parameter.name!r} has no type: annotate it")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    config = pydantic.ConfigDict(extra="forbid", strict=True, protected_namespaces=())
    with warnings.catch_warnings():
        # An argument may be called ``schema`` or ``copy``; the model is only ever read.
        warnings.simplefilter("ignore", UserWarning)
        try:
            return pydantic.create_model(id, __config__=config, **fields)
        except (pydantic.errors.PydanticUserError, NameError, TypeError, ValueError) as error:
            first = str(error).split("\n")[0]
            raise ValueError(f"an argument's type cannot be checked: {first}") from error


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
