"""Suites: files of prompts, with the checks their answers have to pass where they have any.

A suite is named (``starter``: a file in ``datasets/``), given by its path, or published
(``ifeval``, ``ifbench``: fetched from the hub into its cache, or read from ``{"ifeval": path}``).
The format of a row is ``datasets/schema.json``.
A row needs no id (one is made of its text) and no checks: nothing is judged then.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

from harness.datasets.ablate import ablated_prompt
from harness.datasets.files import parse_line, rows, text_lines
from harness.errors import CheckError, FetchError, SuiteError
from harness.hashing import file_sha256, tagged_hash
from harness.intake import near, shown, unknown_key
from harness.records import CheckSpec, Message, Sample, plain_arguments
from harness.resources import find_resource, resource_dir

__all__ = [
    "HUB",
    "PIN",
    "TARGET",
    "Source",
    "load_suite",
    "locate",
    "parse_line",
    "parse_row",
    "published_checks",
    "suite_name",
    "suite_sha256",
    "text_lines",
]

Source = str | Path | Mapping[str, str | None]
Validate = Callable[[CheckSpec], None]

HUB: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "ifeval": ("google/IFEval", ("ifeval_input_data.jsonl",)),
    "ifbench": (
        "allenai/IFBench_test",
        ("data/train-00000-of-00001.parquet", "IFBench_test.jsonl"),
    ),
}
"""Published suites: the hub's dataset repository, and the names its one file has had."""

PIN = "sha256"
"""Key of a suite's entry that says which file it must be: ``{suite: starter, sha256: ...}``."""

TARGET = "target"
"""Id of the check that a row's ``target`` becomes."""


def load_suite(
    source: Source, *, validate: Validate, limit: int | None = None
) -> tuple[Sample, ...]:
    """The samples of a suite in file order, the first ``limit`` of them when one is given.

    Every row is checked against the schema and every check by ``validate`` before anything is
    cut, so a suite is good or refused as a whole. Raises SuiteError naming file, line and field,
    FetchError when a published suite cannot be fetched.
    """
    name, path = locate(source)
    _refuse_another_file(source, path)
    samples = []
    seen: dict[str, int] = {}
    for number, row in rows(path):
        where = f"{path}:{number}"
        sample = parse_row(row, suite=name, where=where, validate=validate)
        if sample.id in seen:
            raise SuiteError(f"{where}: id: {sample.id!r} is already on line {seen[sample.id]}")
        seen[sample.id] = number
        samples.append(sample)
    if not samples:
        raise SuiteError(f"{path}: the suite has no rows")
    return tuple(samples[:limit])


def suite_sha256(source: Source) -> str:
    """sha256 of the suite's file as it lies on disk (what ``sha256sum`` says)."""
    return file_sha256(locate(source)[1])


def _refuse_another_file(source: Source, path: Path) -> None:
    """Raise when the suite is pinned and its file is not the pinned one."""
    pin = source.get(PIN) if isinstance(source, Mapping) else None
    if pin is None:
        return
    found = file_sha256(path)
    if found != pin.lower():
        raise SuiteError(
            f"suites: {path} has sha256 {found}, pinned is {pin:.64}: the suite has changed; "
            "restore the pinned file, or change the pin and say that scores are of another suite"
        )


def suite_name(source: Source) -> str:
    """The name a suite goes by in reports: ``starter``, ``ifeval``, a file's stem."""
    if isinstance(source, Mapping):
        plain = _unpinned(source)
        return suite_name(plain) if isinstance(plain, str) else _published(plain)[0]
    return Path(source).stem


def locate(source: Source) -> tuple[str, Path]:
    """A suite's name and its file, fetched first when it is a published one without a path."""
    if isinstance(source, Mapping):
        plain = _unpinned(source)
        if isinstance(plain, str):
            return locate(plain)
        name, given = _published(plain)
        if given is None:
            return name, _fetch(name)
        if find_resource("datasets", given, "") is None:
            raise SuiteError(f"suite {name}: there is no file {given:.200}")
        return name, Path(given)
    found = find_resource("datasets", str(source), ".jsonl")
    if found is not None:
        return found.stem, found
    if str(source) in HUB:
        return str(source), _fetch(str(source))
    shipped = ", ".join(sorted(path.stem for path in resource_dir("datasets").glob("*.jsonl")))
    raise SuiteError(
        f"there is no suite or file {str(source)!r}; shipped: {shipped or 'none'}; "
        f"published: {', '.join(HUB)}"
    )


def _unpinned(source: Mapping[str, str | None]) -> str | Mapping[str, str | None]:
    """A suite's entry without its pin: ``{suite: starter, sha256: ...}`` -> ``starter``."""
    rest = {key: value for key, value in source.items() if key != PIN}
    if list(rest) == ["suite"] and isinstance(rest["suite"], str):
        return rest["suite"]
    return rest


def _published(source: Mapping[str, str | None]) -> tuple[str, str | None]:
    if len(source) != 1 or next(iter(source)) not in HUB:
        known = " or ".join(f"{{{name}: path}}" for name in HUB)
        raise SuiteError(
            f"suites: a suite is a name, a path, {known}, or {{suite: name, sha256: digest}}; "
            f"found {shown(source)}"
        )
    return next(iter(source.items()))


def _fetch(name: str) -> Path:
    """The suite's file from the hub's cache, downloaded if need be."""
    import huggingface_hub
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
    )

    repository, filenames = HUB[name]
    cure = f"or give a local file: {{{name}: path}}"
    problem: Exception | None = None
    endpoint = os.environ.get("HF_ENDPOINT") or None
    for filename in filenames:  # what was fetched once stays what it is, whatever the hub has now
        with contextlib.suppress(LocalEntryNotFoundError):
            return Path(
                huggingface_hub.hf_hub_download(
                    repository, filename, repo_type="dataset", local_files_only=True
                )
            )
    for filename in filenames:
        try:
            if problem is None and not huggingface_hub.is_offline_mode():
                # Asked once and quickly: the download would try for half a minute to connect.
                with contextlib.suppress(HfHubHTTPError):  # it answered, whatever it said
                    huggingface_hub.HfApi(endpoint=endpoint).dataset_info(repository, timeout=10)
            return Path(
                huggingface_hub.hf_hub_download(
                    repository, filename, repo_type="dataset", endpoint=endpoint
                )
            )
        except LocalEntryNotFoundError as error:
            problem = error
        except EntryNotFoundError as error:
            problem = problem or error
        except Exception as error:  # every other way the hub, the network or the disk says no
            raise FetchError(f"suite {name}: cannot fetch {repository}: {error}; {cure}") from error
    raise FetchError(
        f"suite {name}: {repository} has none of {', '.join(filenames)} within reach; "
        f"check the network and HF_HUB_OFFLINE, {cure}"
    ) from problem


def parse_row(row: Any, *, suite: str, where: str, validate: Validate) -> Sample:
    """A row as a Sample; raises SuiteError that begins with ``where`` and names the field."""
    _check_schema(row, where)
    build = _published_sample if "instruction_id_list" in row else _own_sample
    sample = build(row, suite, where)
    for number, spec in enumerate(sample.checks):
        try:
            validate(spec)
        except CheckError as error:
            field = "instruction_id_list" if "instruction_id_list" in row else "checks"
            raise SuiteError(f"{where}: {field}.{number}: {error}") from error
    return sample


def _check_schema(row: Any, where: str) -> None:
    # The deepest complaint is the one about the field at fault.
    if not isinstance(row, dict):
        raise SuiteError(f"{where}: row: wanted an object with id and prompt, found {shown(row)}")
    # A misspelt key comes before the required key it leaves missing.
    error = max(
        _validator().iter_errors(row),
        key=lambda error: (len(error.absolute_path), error.validator == "additionalProperties"),
        default=None,
    )
    if error is not None:
        field = ".".join(str(part) for part in error.absolute_path) or "row"
        raise SuiteError(f"{where}: {field}: {_complaint(error)}")


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
    message = str(error.message)
    return message if len(message) < 300 else message[:300] + " ..."


@lru_cache(maxsize=1)
def _validator() -> Any:
    import jsonschema

    schema = json.loads((resource_dir("datasets") / "schema.json").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema)


def _own_sample(row: Mapping[str, Any], suite: str, where: str) -> Sample:
    target = row.get("target", ())
    targets = (target,) if isinstance(target, str) else tuple(target)
    messages = _messages(row, where)
    checks = [CheckSpec.written(item) for item in row.get("checks", ())]
    if targets and all(spec.id != TARGET for spec in checks):
        checks.append(CheckSpec(TARGET))
    if not targets and any(spec.id == TARGET and not spec.kwargs for spec in checks):
        raise SuiteError(f"{where}: target: the check target needs a target to look for")
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
    )


def _id_of(messages: Sequence[Message]) -> str:
    """An id made of the text, for a row without one: the same wherever the row stands."""
    said = [[message.role, message.content] for message in messages]
    return f"p-{tagged_hash('item', said)[:10]}"


def _messages(row: Mapping[str, Any], where: str) -> tuple[Message, ...]:
    turns = [Message(turn["role"], turn["content"]) for turn in row.get("messages", ())]
    if "prompt" in row:
        turns = [Message("user", row["prompt"])]
    if "system" in row:
        turns.insert(0, Message("system", row["system"]))
    if turns[-1].role != "user":
        raise SuiteError(f"{where}: messages: the last one is {turns[-1].role}, wanted user")
    if any(turn.role == "system" for turn in turns[1:]):
        raise SuiteError(f"{where}: messages: a system message can only stand first")
    return tuple(turns)


def _published_sample(row: Mapping[str, Any], suite: str, where: str) -> Sample:
    return Sample(
        id=str(row["key"]),
        messages=(Message("user", row["prompt"]),),
        checks=published_checks(row["instruction_id_list"], row["kwargs"], where),
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
    if len(ids) != len(kwargs):
        raise SuiteError(
            f"{where}: kwargs: {len(kwargs)} entries for {len(ids)} instructions; give one each"
        )
    pairs = zip(ids, kwargs, strict=True)
    return tuple(CheckSpec(id, plain_arguments(given)) for id, given in pairs)
