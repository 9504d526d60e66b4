"""What a user hands us as text, read once and with bounds: files, YAML, JSON.

Every experiment, suite, template, answer file and file of a chat template comes through here. A
file somebody sent may be a pipe that never ends, a YAML of aliases that grow into gigabytes, or a
number of a hundred thousand digits: each is refused in one line, with the error class of the room
that asked.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from harness.errors import ConfigError, HarnessError

Refusal = type[HarnessError]

TEXT_BYTES = 128 << 20
"""Largest file read as text: a suite of a hundred thousand items is smaller."""
YAML_BYTES = 1 << 18
YAML_NODES = 50_000
"""Most values in a YAML file, aliases counted as what they stand for."""
DEPTH = 64
"""Deepest nesting of lists and mappings, in YAML and JSON."""
DIGITS = 40
"""Most digits of an integer in YAML."""


def read_text(path: Path, refusal: Refusal = ConfigError, *, limit: int = TEXT_BYTES) -> str:
    """A regular file's UTF-8 text, without the mark that Windows editors put first.

    Raises ``refusal`` naming the file: missing, a folder, a pipe or device, too large, not UTF-8.
    """
    with opened(path, refusal) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > limit:
            raise refusal(f"{path}: {size} bytes; at most {limit} are read")
        try:
            return stream.read(limit + 1).decode("utf-8-sig").replace("\r\n", "\n")
        except OSError as error:
            raise refusal(f"{path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise refusal(
                f"{path}: not UTF-8 text (byte {error.start} is 0x{error.object[error.start]:02x})"
            ) from error


@contextlib.contextmanager
def opened(path: Path, refusal: Refusal = ConfigError) -> Iterator[BinaryIO]:
    """A regular file's bytes as a stream; raises ``refusal`` naming a missing file, a folder, a
    pipe or a device.
    """
    try:
        # Opened without waiting, and asked what it is afterwards: a pipe would hang the first
        # open, and what is asked before it is opened can be another file by then.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError as error:
        raise refusal(f"{path}: there is no such file") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise refusal(f"{str(path)!r:.200}: cannot be read: {why}") from error
    with os.fdopen(handle, "rb") as stream:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
            raise refusal(f"{path}: {kind}, wanted a file")
        yield stream


def load_yaml(text: str, where: str, refusal: Refusal = ConfigError) -> Any:
    """The value of one YAML document, bounded in size, depth and aliases.

    Refused, each with its line: a key written twice, a merge key (``<<``), values past the limits
    above, and everything that is not plain YAML. Dates stay the text they are.
    """
    if len(text) > YAML_BYTES:
        raise refusal(f"{where}: {len(text)} characters of YAML; at most {YAML_BYTES} are read")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise refusal(f"{where}: {place}not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise refusal(f"{where}: not valid YAML: {error}") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        # What a tag such as !!int or !!bool makes of a text it does not fit.
        raise refusal(f"{where}: not valid YAML: {type(error).__name__}: {error}") from error


def _refused(event: Any, why: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=why, problem_mark=event.start_mark)


class _Bounds:
    """Counts what a stream of events stands for and refuses what would grow while it is built."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._opened: list[tuple[str | None, int]] = []
        self._total = 0

    def pass_on(self, event: Any) -> None:
        """Take the next event into account; raises MarkedYAMLError past a limit."""
        if isinstance(event, yaml.CollectionStartEvent):
            self._opened.append((event.anchor, self._total))
            self._total += 1
            if len(self._opened) > DEPTH:
                raise _refused(event, f"nested more than {DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self._opened.pop()
            if anchor:
                self._sizes[anchor] = self._total - before
        elif isinstance(event, yaml.ScalarEvent):
            self._total += 1
            if event.anchor:
                self._sizes[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._sizes:
                raise _refused(event, f"the alias *{event.anchor} stands for nothing before it")
            self._total += self._sizes[event.anchor]
        if self._total > YAML_NODES:
            raise _refused(event, f"more than {YAML_NODES} values, aliases written out")


class _Loader(yaml.SafeLoader):
    """The safe loader within bounds, without merges, double keys, dates and endless integers."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._bounds = _Bounds()

    def get_event(self) -> Any:
        """The next event, before anything is built of it."""
        event = super().get_event()  # type: ignore[no-untyped-call]  # the stubs leave it out
        self._bounds.pass_on(event)
        return event

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge"}
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are all different."""
        if isinstance(node, yaml.MappingNode):
            seen: set[tuple[str, str]] = set()
            for key, _ in node.value:
                if key.value == "<<":
                    raise yaml.MarkedYAMLError(
                        problem="merge keys (<<) are not supported: write the keys out",
                        problem_mark=key.start_mark,
                    )
                if isinstance(key, yaml.ScalarNode):
                    name = (key.tag, key.value)
                    if name in seen:
                        raise yaml.MarkedYAMLError(
                            problem=f"the key {key.value!r:.80} is written twice",
                            problem_mark=key.start_mark,
                        )
                    seen.add(name)
        return super().construct_mapping(node, deep=deep)

    def construct_scalar(self, node: Any) -> Any:
        """A scalar's text, which must be text: no half of a surrogate pair."""
        value = super().construct_scalar(node)
        if isinstance(value, str):
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                raise yaml.MarkedYAMLError(
                    problem="half a surrogate pair, which is no text",
                    problem_mark=node.start_mark,
                ) from None
        return value

    def construct_yaml_int(self, node: Any) -> int:
        """An integer of at most :data:`DIGITS` digits."""
        if len(node.value) > DIGITS:
            raise yaml.MarkedYAMLError(
                problem=f"an integer of {len(node.value)} characters; at most {DIGITS} are read",
                problem_mark=node.start_mark,
            )
        return int(super().construct_yaml_int(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def load_json(
    text: str, where: str, refusal: Refusal = ConfigError, *, surrogates: bool = False
) -> Any:
    """The value of one JSON text, bounded in depth, with every key once and finite numbers.

    Half a surrogate pair is refused unless ``surrogates``: a prompt cannot hold one, while an
    answer is judged whatever it holds.
    """
    try:
        value = json.loads(
            text,
            parse_constant=_no_constant,
            parse_float=_finite,
            object_pairs_hook=_different_keys,
        )
        if too_deep(value):
            raise ValueError(f"nested more than {DEPTH} deep")
        if not surrogates:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise refusal(f"{where}: holds half a surrogate pair, which is no text") from error
    except RecursionError as error:
        raise refusal(f"{where}: not JSON: nested more than {DEPTH} deep") from error
    except ValueError as error:
        raise refusal(f"{where}: not JSON: {error}") from error
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _different_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r:.80} is written twice")
    return found


def too_deep(value: Any, limit: int = DEPTH) -> bool:
    """Whether lists and objects are nested deeper than the limit."""
    level = [value]
    for _ in range(limit):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def near(name: object, accepted: Iterable[str]) -> str:
    """``did you mean 'prompt'? `` when one of the accepted names is close; else nothing."""
    close = difflib.get_close_matches(str(name), list(accepted), 1)
    return f"did you mean {close[0]!r}? " if close else ""


def meant(name: object, accepted: Iterable[str]) -> str:
    """``; did you mean 'prompt'?`` behind a message, when an accepted name is close."""
    return f"; {hint.strip()}" if (hint := near(name, accepted)) else ""


def unknown_key(name: object, accepted: Sequence[str]) -> str:
    """``unknown key 'promt'; did you mean 'prompt'? accepted: ...``"""
    return f"unknown key {str(name)!r:.80}; {near(name, accepted)}accepted: {', '.join(accepted)}"


def shown(value: object, limit: int = 80) -> str:
    """A value as a message quotes it: JSON-like, on one line, cut."""
    if isinstance(value, str):
        text = repr(value)
    elif isinstance(value, int | float | bool | list | tuple | Mapping) or value is None:
        try:
            text = json.dumps(value, ensure_ascii=False, default=str)
        except (TypeError, ValueError, RecursionError):
            text = type(value).__name__
    else:
        text = str(value)
    return text if len(text) <= limit else text[:limit] + "…"


_PLAIN = (
    ("Input should be ", "wanted "),
    ("a valid tuple", "a list"),
    ("a valid dictionary", "a mapping"),
    ("a valid integer, unable to parse string as an integer", "an integer"),
    ("a valid number, unable to parse string as a number", "a number"),
    ("a valid integer, got a number with a fractional part", "an integer"),
    ("a valid ", "a "),
    ("a integer", "an integer"),
    ("a string", "a text"),
    ("String should", "a text should"),
    ("Tuple should", "a list should"),
    ("Field required", "this key is required and missing"),
)


def plainly(message: str) -> str:
    """pydantic's words in ours, without the names of classes."""
    message = re.sub(r"a valid dictionary or (instance|object) .*", "a valid dictionary", message)
    for theirs, ours in _PLAIN:
        message = message.replace(theirs, ours)
    return message
