"""One row of a suite as a Sample, or everything that is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, cast

from harness.datasets.ablate import ablated_prompt
from harness.datasets.variables import PLACE, filled
from harness.errors import CheckError, SuiteError
from harness.hashing import tagged_hash
from harness.intake import near, shown, unknown_key
from harness.records import CheckSpec, Message, Sample, plain_arguments
from harness.resources import resource_dir

Validate = Callable[[CheckSpec], None]

TARGET = "target"
"""Id of the check that a row's ``target`` becomes."""


def parse_row(row: Any, *, suite: str, where: str, validate: Validate) -> Sample:
    """A row as a Sample; raises SuiteError that begins with ``where`` and names the field."""
    sample, problems = read_row(row, suite=suite, validate=validate)
    if sample is None:
        raise SuiteError(f"{where}: {problems[0]}")
    return sample


def read_row(
    row: Any, *, suite: str, validate: Validate, category: str | None = None
) -> tuple[Sample | None, tuple[str, ...]]:
    """A row as a Sample, or None and everything that is wrong with it, each with its field.

    ``category`` is that of a row which names none. The gravest complaint comes first.
    """
    if not isinstance(row, dict):
        return None, (f"row: wanted an object with id and prompt, found {shown(row)}",)
    published = "instruction_id_list" in row
    errors = _schema_errors(row)
    problems = [f"{_field(error)}: {_complaint(error)}" for error in errors]
    wrong = {tuple(error.absolute_path)[:2] for error in errors}
    sample = None
    if not errors:
        texts, problems = (row, []) if published else filled(row, _fields())
        if not problems:
            try:
                sample = _published_sample(row, suite) if published else _own_sample(texts, suite)
            except _RowError as error:
                return None, (str(error),)
    field = "instruction_id_list" if published else "checks"
    for number, spec in enumerate(sample.checks if sample else _judging(row, wrong)):
        try:
            if spec is not None:
                validate(spec)
        except CheckError as error:
            problems.append(f"{field}.{number}: {error}")
    if sample is None or problems:
        return None, tuple(problems)
    if category and "category" not in row and not published:
        sample = replace(sample, category=category)
    return sample, ()


def defaults_problems(
    row: Mapping[str, Any], *, first: bool, validate: Validate
) -> tuple[str, ...]:
    """What is wrong with the row that speaks for all others."""
    if not first:
        return ("defaults: only the first row may speak for the others",)
    errors = sorted(_validator("defaults").iter_errors(row), key=lambda e: -len(e.absolute_path))
    problems = [f"{_field(error)}: {_complaint(error)}" for error in errors]
    if errors:
        return tuple(problems)
    given = row["defaults"]
    for number, item in enumerate(given.get("checks", ())):
        try:
            # With variables a check's arguments are only known in each row.
            if not PLACE.search(json.dumps(item)):
                validate(CheckSpec.written(item))
        except CheckError as error:
            problems.append(f"defaults.checks.{number}: {error}")
    return tuple(problems)


def _judging(row: Mapping[str, Any], wrong: set[tuple[Any, ...]]) -> Iterator[CheckSpec | None]:
    """The checks of a row that is wrong elsewhere; None for one that is wrong itself."""
    given = row.get("checks")
    for number, item in enumerate(given if isinstance(given, list) else ()):
        good = isinstance(item, dict) and ("checks", number) not in wrong
        yield CheckSpec.written(item) if good else None


class _RowError(Exception):
    """What no schema can say of a row."""


def _schema_errors(row: Mapping[str, Any]) -> list[Any]:
    """jsonschema's errors, the one about the field at fault first.

    The deepest is about the field itself; a misspelt key comes before the required key that it
    leaves missing, which is then not said a second time.
    """
    errors = sorted(
        _validator().iter_errors(row),
        key=lambda error: (len(error.absolute_path), error.validator == "additionalProperties"),
        reverse=True,
    )
    odd = [
        (list(error.absolute_path), name)
        for error in errors
        if error.validator == "additionalProperties"
        for name in error.instance
        if name not in error.schema.get("properties", {})
    ]

    def misspelt(error: Any) -> bool:
        wanted = _wanted(error)
        return any(place == list(error.absolute_path) and near(name, wanted) for place, name in odd)

    return [error for error in errors if not misspelt(error)]


def _wanted(error: Any) -> list[str]:
    """The keys that an error says are missing."""
    if error.validator == "required":
        return [name for name in error.validator_value if name not in error.instance]
    if error.validator in {"oneOf", "anyOf"}:
        return [name for part in error.validator_value for name in part.get("required", ())]
    return []


def _field(error: Any) -> str:
    return ".".join(str(part) for part in error.absolute_path) or "row"


_TYPES = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "integer": "an integer",
    "number": "a number",
}


def _complaint(error: Any) -> str:
    """jsonschema's message, cut to a line; "needs one of" where the schema offers fields."""
    if error.validator in {"oneOf", "anyOf"}:
        names = [name for part in error.validator_value for name in part.get("required", ())]
        if names:
            return f"needs {'exactly ' * (error.validator == 'oneOf')}one of {', '.join(names)}"
    if error.validator == "additionalProperties":
        accepted = list(error.schema.get("properties", {}))
        odd = next(name for name in error.instance if name not in accepted)
        return unknown_key(odd, accepted)
    if error.validator == "type":
        wanted = error.validator_value
        names = [wanted] if isinstance(wanted, str) else wanted
        words = " or ".join(_TYPES.get(name, name) for name in names)
        return f"wanted {words}, found {shown(error.instance)}"
    if error.validator == "enum":
        accepted = [str(value) for value in error.validator_value]
        hint = near(error.instance, accepted)
        return f"{shown(error.instance)} is unknown; {hint}accepted: {', '.join(accepted)}"
    if error.validator == "required":
        absent = next(name for name in error.validator_value if name not in error.instance)
        odd = [name for name in error.instance if near(absent, [name])]
        hint = f"; did you mean {absent!r} by {odd[0]!r}?" if odd else ""
        return f"the key {absent!r} is required and missing{hint}"
    if error.validator == "pattern":
        return f"{shown(error.instance)} is no name: letters, digits, spaces, - and _ make one"
    message = str(error.message)
    return message if len(message) < 300 else message[:300] + " ..."


@lru_cache(maxsize=1)
def _schema() -> Any:
    return json.loads((resource_dir("datasets") / "schema.json").read_text(encoding="utf-8"))


@lru_cache(maxsize=2)
def _validator(part: str = "") -> Any:
    """The validator of a row, or of one of the schema's parts."""
    import jsonschema

    schema = _schema()
    if part:
        schema = {"$ref": f"#/$defs/{part}", "$defs": schema["$defs"]}
    return jsonschema.Draft202012Validator(schema)


def _fields() -> tuple[str, ...]:
    """The keys of a row of ours."""
    return tuple(_schema()["$defs"]["own"]["properties"])


def _own_sample(row: Mapping[str, Any], suite: str) -> Sample:
    target = row.get("target", ())
    targets = (target,) if isinstance(target, str) else tuple(target)
    messages = _messages(row)
    checks = [CheckSpec.written(item) for item in row.get("checks", ())]
    if targets and all(spec.id != TARGET for spec in checks):
        checks.append(CheckSpec(TARGET))
    if not targets and any(spec.id == TARGET and not spec.kwargs for spec in checks):
        raise _RowError("target: the check target needs a target to look for")
    return Sample(
        id=row.get("id") or _id_of(messages),
        messages=messages,
        checks=tuple(checks),
        target=targets,
        kind=cast(Literal["instruction", "continuation", "fim"], row.get("kind", "instruction")),
        category=row.get("category", "uncategorised"),
        tags=tuple(row.get("tags", ())),
        needs=tuple(row.get("needs", ())),
        group=row.get("group"),
        suite=suite,
        ablated=row.get("ablated"),
        metadata=row.get("metadata", {}),
        max_tokens=row.get("max_tokens"),
    )


def _id_of(messages: Sequence[Message]) -> str:
    """An id made of the text, for a row without one: the same wherever the row stands."""
    said = [[message.role, message.content] for message in messages]
    return f"p-{tagged_hash('item', said)[:10]}"


def _messages(row: Mapping[str, Any]) -> tuple[Message, ...]:
    turns = [Message(turn["role"], turn["content"]) for turn in row.get("messages", ())]
    if "prompt" in row:
        turns = [Message("user", row["prompt"])]
    if "system" in row:
        turns.insert(0, Message("system", row["system"]))
    if turns[-1].role != "user":
        raise _RowError(f"messages: the last one is {turns[-1].role}, wanted user")
    if any(turn.role == "system" for turn in turns[1:]):
        raise _RowError("messages: a system message can only stand first")
    return tuple(turns)


def _published_sample(row: Mapping[str, Any], suite: str) -> Sample:
    return Sample(
        id=str(row["key"]),
        messages=(Message("user", row["prompt"]),),
        checks=_published_checks(row["instruction_id_list"], row["kwargs"]),
        category=str(row["instruction_id_list"][0]).split(":")[0],
        suite=suite,
        ablated=ablated_prompt(row["prompt"], row["instruction_id_list"], row["kwargs"]),
    )


def published_checks(
    ids: Sequence[str], kwargs: Sequence[Mapping[str, Any]], where: str
) -> tuple[CheckSpec, ...]:
    """The checks of an IFEval or IFBench row; raises SuiteError when the lists do not pair up.

    Their files fill every argument a type does not take with null, and write integers as 3.0.
    """
    try:
        return _published_checks(ids, kwargs)
    except _RowError as error:
        raise SuiteError(f"{where}: {error}") from error


def _published_checks(
    ids: Sequence[str], kwargs: Sequence[Mapping[str, Any]]
) -> tuple[CheckSpec, ...]:
    if len(ids) != len(kwargs):
        raise _RowError(f"kwargs: {len(kwargs)} entries for {len(ids)} instructions; give one each")
    pairs = zip(ids, kwargs, strict=True)
    return tuple(CheckSpec(id, plain_arguments(given)) for id, given in pairs)
