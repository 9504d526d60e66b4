"""Checks on JSON: the whole answer, or the first value that stands in its prose."""

from __future__ import annotations

import json
import re
import threading
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from harness.checks.own.structure import fenced
from harness.checks.registry import Context, Example, Outcome, check
from harness.checks.text.patterns import pattern
from harness.errors import CheckError
from harness.hashing import canonical_json
from harness.intake import DEPTH, too_deep
from harness.records import Span


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


Schema = Annotated[dict[str, Any], AfterValidator(_usable_schema)]


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
def json_schema(context: Context, *, schema: Schema) -> Outcome:
    """The answer (or its first code fence) is JSON that fits the schema (draft 2020-12)."""
    value, problem = read_json(context.text)
    return Outcome(False, problem) if problem else _fits(value, schema)


def _fits(value: Any, schema: dict[str, Any]) -> Outcome:
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


Path = Annotated[str, AfterValidator(_is_path)]
Wanted = str | float | bool | list[Any] | dict[str, Any] | None


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
def json_path(context: Context, *, path: Path, equals: Wanted = None) -> Outcome:
    """The answer is JSON with a value at the path (``$.a[0]['b']``), ``equals`` if given."""
    value, problem = read_json(context.text)
    return Outcome(False, problem) if problem else _holds(value, path, equals)


def _holds(value: Any, path: str, equals: Wanted) -> Outcome:
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


OPENINGS = 1000
"""Brackets of one answer that are tried as the opening of a value."""

_DECODER = json.JSONDecoder(parse_constant=lambda name: _no_constant(name))


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def embedded_json(text: str, kind: str = "any") -> tuple[Any, Span | None]:
    """The first JSON object or array that stands whole in a text, and where; None: there is none.

    ``kind`` may ask for an ``object`` or an ``array``; values inside another one are no candidates.
    At most :data:`OPENINGS` brackets are tried.
    """
    opening = re.compile({"object": r"\{", "array": r"\["}.get(kind, r"[{\[]"))
    position = 0
    for _ in range(OPENINGS):
        match = opening.search(text, position)
        if match is None:
            break
        try:
            value, end = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            position = match.end()
            continue
        return value, (match.start(), end)
    return None, None


@check(
    "contains_json",
    passes=[
        Example('Sure! Here it is: {"a": 3}. Anything else?', {"path": "$.a", "equals": 3}),
        Example(
            'See [the list].\n```json\n{"a": [1]}\n```',
            {"schema": {"type": "object", "required": ["a"]}},
        ),
        Example("It is [1, 2] in short.", {"equals": [1, 2]}),
    ],
    fails=[
        Example("The value of a is 3."),
        Example('{"a": 3} or rather {"b": 3}', {"path": "$.b"}),
        Example('{"a": 3', {"kind": "object"}),
    ],
)
def contains_json(
    context: Context,
    *,
    schema: Schema | None = None,
    path: Path | None = None,
    equals: Wanted = None,
    kind: Literal["any", "object", "array"] = "any",
) -> Outcome:
    """The first JSON object or array in the prose fits the schema, has a value at the path."""
    value, place = embedded_json(context.text, kind)
    if place is None:
        return Outcome(False, f"no JSON {'value' if kind == 'any' else kind} in the answer")
    tried = [Outcome(True, "JSON in the answer")]
    if schema is not None:
        tried.append(_fits(value, schema))
    if path is not None or equals is not None:
        tried.append(_holds(value, path or "$", equals))
    outcome = next((found for found in tried if not found.value), tried[-1])
    return outcome._replace(spans=(place,))
