"""Checks on the shape of an answer: lengths, lines, bullets, JSON, CSV."""

from __future__ import annotations

import csv
import io
import json
import re
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from harness.checks.registry import Context, Example, Outcome, always, between, check
from harness.checks.text.patterns import pattern
from harness.checks.text.spans import MOST, line_spans
from harness.errors import CheckError
from harness.hashing import canonical_json
from harness.intake import DEPTH, too_deep

Bound = Annotated[int, Field(ge=0)] | None
_BOUNDS = ("exactly", "at_least", "at_most")
_FENCED = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)


def fenced(text: str) -> str:
    """What stands in the answer's first code fence; the stripped answer when there is none."""
    match = _FENCED.search(text) if text.count("```") > 1 else None
    return match[1].strip() if match else text.strip()


def _bounded(found: int, what: str, exactly: Bound, at_least: Bound, at_most: Bound) -> Outcome:
    """A verdict on a number with its bounds in words: ``3 bullets, wanted exactly 4``."""
    wishes = {"exactly": exactly, "at least": at_least, "at most": at_most}
    given = {wish: number for wish, number in wishes.items() if number is not None}
    value = (
        found == given.get("exactly", found)
        and found >= given.get("at least", found)
        and found <= given.get("at most", found)
    )
    wanted = " and ".join(f"{wish} {number}" for wish, number in given.items())
    return Outcome(value, f"{found} {what}, wanted {wanted}")


@check(
    "length_words",
    passes=[Example("three short words", {"at_most": 3})],
    fails=[Example("three short words", {"at_least": 4})],
    one_of=_BOUNDS,
)
def length_words(
    context: Context, *, exactly: Bound = None, at_least: Bound = None, at_most: Bound = None
) -> Outcome:
    """So many words (runs of letters, digits and underscores)."""
    return _bounded(len(context.derived.words), "words", exactly, at_least, at_most)


@check(
    "length_sentences",
    passes=[Example("Dr. Smith left. Who knew?", {"exactly": 2})],
    fails=[Example("One. Two. Three.", {"at_most": 2})],
    requires=["punkt"],
    one_of=_BOUNDS,
)
def length_sentences(
    context: Context, *, exactly: Bound = None, at_least: Bound = None, at_most: Bound = None
) -> Outcome:
    """So many sentences (Punkt's English model)."""
    return _bounded(len(context.derived.sentences), "sentences", exactly, at_least, at_most)


@check(
    "length_chars",
    passes=[Example(" tea ", {"exactly": 3})],
    fails=[Example("a cup of tea", {"at_most": 10})],
    one_of=_BOUNDS,
)
def length_chars(
    context: Context, *, exactly: Bound = None, at_least: Bound = None, at_most: Bound = None
) -> Outcome:
    """So many characters, not counting white space around the answer."""
    return _bounded(len(context.text.strip()), "characters", exactly, at_least, at_most)


@check(
    "lines",
    passes=[Example("one\n\ntwo\n", {"exactly": 2})],
    fails=[Example("one", {"at_least": 2})],
    one_of=_BOUNDS,
    demands=between("\n", "exactly", "at_least"),
)
def lines(
    context: Context, *, exactly: Bound = None, at_least: Bound = None, at_most: Bound = None
) -> Outcome:
    """So many lines that are not blank."""
    found = sum(1 for line in context.derived.lines if line.strip())
    return _bounded(found, "lines", exactly, at_least, at_most)


_BULLET = re.compile(r"[-*+•–]\s+\S")
_NUMBERED = re.compile(r"\d{1,4}[.)]\s+\S")


@check(
    "bullets",
    passes=[
        Example("Tea:\n- green\n* black", {"exactly": 2}),
        Example("1. green\n2) black", {"exactly": 2, "numbered": True}),
    ],
    fails=[Example("- green\n---\n**black**", {"exactly": 2})],
    one_of=_BOUNDS,
    demands=between("\n", "exactly", "at_least"),
)
def bullets(
    context: Context,
    *,
    exactly: Bound = None,
    at_least: Bound = None,
    at_most: Bound = None,
    numbered: bool = False,
) -> Outcome:
    """So many list items: a mark, white space and text on one line; numbers when ``numbered``."""
    mark = _NUMBERED if numbered else _BULLET
    found = list(line_spans(context.derived.lines, _begins(mark)))
    verdict = _bounded(len(found), "bullets", exactly, at_least, at_most)
    return verdict._replace(spans=tuple(found[:MOST]))


def _begins(mark: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda line: mark.match(line.lstrip()) is not None


def read_json(text: str) -> tuple[Any, str | None]:
    """The JSON value of an answer (or of its first code fence), and what is wrong otherwise."""
    try:
        return json.loads(fenced(text)), None
    except RecursionError:
        return None, "not JSON that can be read: nested too deep"
    except ValueError as error:
        return None, f"not JSON: {error}"


SCHEMA_SIZE = 65_536
"""Characters of the largest schema a check takes."""
SCHEMA_STEPS = 100_000
"""Keywords looked at before judging one answer is given up: a schema's parts may multiply."""
_UNSUPPORTED = ("patternProperties", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef")


def _usable_schema(schema: dict[str, Any]) -> dict[str, Any]:
    import jsonschema

    if len(canonical_json(schema)) > SCHEMA_SIZE:
        raise ValueError(f"a schema has at most {SCHEMA_SIZE} characters")
    if too_deep(schema):
        raise ValueError(f"a schema is nested at most {DEPTH} deep")
    for part in _parts(schema):
        reference = part.get("$ref", "#")
        if not (isinstance(reference, str) and reference.startswith("#")):
            raise ValueError(f"$ref {reference!r} leads outside the schema")
        for name in _UNSUPPORTED:
            if name in part:
                raise ValueError(f"{name} is not supported, list the properties or items")
        if "$id" in part and part is not schema:
            raise ValueError("$id inside a schema is not supported, refer to #/$defs/name")
        if isinstance(part.get("pattern"), str):
            try:
                pattern(part["pattern"])
            except CheckError as error:
                raise ValueError(str(error)) from error
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ValueError(f"not a JSON Schema: {error.message:.200}") from error
    _resolve_references(schema)
    return schema


def _resolve_references(schema: dict[str, Any]) -> None:
    """Raise when a ``$ref`` leads to nothing: it would fail every answer."""
    import referencing
    from referencing.jsonschema import DRAFT202012

    resource = DRAFT202012.create_resource(schema)
    base = str(schema.get("$id", ""))
    resolver = referencing.Registry().with_resource(base, resource).resolver(base)
    for part in _parts(schema):
        if isinstance(part.get("$ref"), str):
            try:
                resolver.lookup(part["$ref"])
            except Exception as error:  # referencing's own tree, and what a strange pointer raises
                raise ValueError(f"$ref {part['$ref']!r:.80} leads to nothing") from error


def _parts(value: Any) -> list[dict[str, Any]]:
    """Every object inside a JSON value, itself included."""
    found, waiting = [], [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            found.append(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return found


@lru_cache(maxsize=1024)
def _validator(schema: str) -> Any:
    """A validator that fetches nothing and gives a schema's patterns a time limit."""
    import jsonschema
    import referencing

    def unique(validator: Any, wanted: bool, instance: Any, _: Any) -> Any:
        if wanted and isinstance(instance, list):
            seen = {canonical_json(_by_value(item)) for item in instance}
            if len(seen) < len(instance):
                yield jsonschema.ValidationError("the items are not all different")

    def timed(validator: Any, source: str, instance: Any, _: Any) -> Any:
        if isinstance(instance, str) and not pattern(source).found(instance):
            yield jsonschema.ValidationError(f"{instance[:80]!r} does not match {source!r}")

    own = {**jsonschema.Draft202012Validator.VALIDATORS, "pattern": timed, "uniqueItems": unique}
    counted = {name: _counted(keyword) for name, keyword in own.items()}
    kind = jsonschema.validators.extend(jsonschema.Draft202012Validator, counted)
    return kind(json.loads(schema), registry=referencing.Registry())


def _by_value(value: Any) -> Any:
    """A JSON value in which 1 and 1.0 are one, as JSON Schema compares them."""
    if isinstance(value, dict):
        return {name: _by_value(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_by_value(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _TooManySteps(Exception):
    """A schema looked at more keywords than one answer is worth."""


_steps = threading.local()


def _counted(keyword: Any) -> Any:
    def judge(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        _steps.left = getattr(_steps, "left", SCHEMA_STEPS) - 1
        if _steps.left < 0:
            raise _TooManySteps
        return keyword(validator, value, instance, schema)

    return judge


@check(
    "json_schema",
    passes=[
        Example('{"a": 3}', {"schema": {"type": "object", "required": ["a"]}}),
        Example(
            'Here:\n```json\n["x"]\n```', {"schema": {"type": "array", "items": {"type": "string"}}}
        ),
    ],
    fails=[
        Example('{"b": 3}', {"schema": {"type": "object", "required": ["a"]}}),
        Example("a: 3", {"schema": {"type": "object"}}),
    ],
)
def json_schema(
    context: Context, *, schema: Annotated[dict[str, Any], AfterValidator(_usable_schema)]
) -> Outcome:
    """The answer (or its first code fence) is JSON that fits the schema (draft 2020-12)."""
    value, problem = read_json(context.text)
    if problem:
        return Outcome(False, problem)
    _steps.left = SCHEMA_STEPS
    try:
        error = next(_validator(canonical_json(schema)).iter_errors(value), None)
    except _TooManySteps:
        return Outcome(False, f"not judged in {SCHEMA_STEPS} steps: the schema's parts multiply")
    except RecursionError:
        return Outcome(False, "nested too deep to be checked")
    if error is None:
        return Outcome(True, "fits the schema")
    where = ".".join(str(part) for part in error.absolute_path) or "the value"
    return Outcome(False, f"{where}: {error.message[:200]}")


_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\[(-?\d+)\]|\[(?:'([^']*)'|\"([^\"]*)\")\]")


def _is_path(path: str) -> str:
    rest = _STEP.sub("", path)
    if rest != "$":
        raise ValueError(f"{path!r} is not a path such as $.items[0].name (left over: {rest!r})")
    return path


@check(
    "json_path",
    passes=[
        Example('{"city": "Lima"}', {"path": "$.city", "equals": "Lima"}),
        Example('{"a": [1, {"b c": null}]}', {"path": "$.a[-1]['b c']"}),
    ],
    fails=[
        Example('{"city": "Lima"}', {"path": "$.city", "equals": "Quito"}),
        Example('{"city": "Lima"}', {"path": "$.land"}),
    ],
)
def json_path(
    context: Context,
    *,
    path: Annotated[str, AfterValidator(_is_path)],
    equals: str | float | bool | list[Any] | dict[str, Any] | None = None,
) -> Outcome:
    """The answer is JSON with a value at the path (``$.a[0]['b']``), ``equals`` if given."""
    value, problem = read_json(context.text)
    if problem:
        return Outcome(False, problem)
    for name, index, single, double in _STEP.findall(path):
        try:
            value = value[int(index)] if index else _member(value, name or single or double)
        except (KeyError, IndexError, TypeError):
            return Outcome(False, f"there is nothing at {path}")
    if equals is None:
        return Outcome(True, f"there is a value at {path}")
    same = value == equals and isinstance(value, bool) == isinstance(equals, bool)
    return Outcome(same, f"{path} is {str(value)[:80]!r}, wanted {str(equals)[:80]!r}")


def _member(value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        raise KeyError(name)
    return value[name]


@check(
    "csv_table",
    passes=[Example("tea,price\ngreen,3\nblack,4", {"columns": ["tea", "price"], "rows": 2})],
    fails=[
        Example("tea,price\ngreen\n", {"columns": ["tea", "price"]}),
        Example("tea;price\ngreen;3", {"rows": 2, "delimiter": ";"}),
    ],
    one_of=("columns", "rows"),
    demands=always("\n"),
)
def csv_table(
    context: Context,
    *,
    columns: list[str] | None = None,
    rows: Bound = None,
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ",",
) -> Outcome:
    """The answer (or its first code fence) is CSV with the header, and so many rows as wide."""
    try:
        table = list(csv.reader(io.StringIO(fenced(context.text)), delimiter=delimiter))
    except csv.Error as error:
        return Outcome(False, f"not CSV: {error}")
    table = [row for row in table if row]
    header = [name.strip() for name in table[0]] if table else []
    if columns is not None and header != columns:
        return Outcome(False, f"the header is {str(header)[:120]}, wanted {columns}")
    for number, row in enumerate(table[1:], 1):
        if len(row) != len(header):
            return Outcome(False, f"row {number} has {len(row)} fields, wanted {len(header)}")
    found = max(0, len(table) - 1)
    if rows is not None and found != rows:
        return Outcome(False, f"{found} rows, wanted exactly {rows}")
    return Outcome(True, f"{found} rows of {len(header)} fields")
