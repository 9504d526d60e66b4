"""What a check is: a function of one context, registered under an id with a version and examples.

A check is written as a plain function whose keyword-only parameters are its arguments::

    @check("custom:shouts", version=1, passes=[Example("HI")], fails=[Example("hi")])
    def shouts(context: Context) -> Outcome:
        \"\"\"The answer is in capitals.\"\"\"
        return Outcome(context.text.isupper(), "all capitals" ...)

The parameters' annotations are the published types of the arguments: pydantic checks them when
a suite is loaded, so a wrong row fails before a model is asked anything. Bump ``version`` when a
change can turn a verdict: stored verdicts carry it, and ``harness score`` shows what changed.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pydantic

from harness.checks.annotations import build_arguments, type_words
from harness.checks.text.plain import Text
from harness.errors import CheckError
from harness.hashing import canonical_json, file_sha256
from harness.intake import near, plainly, shown
from harness.records import CheckSpec, Sample, Span

Demands = Callable[[Mapping[str, Any]], Sequence[str]]
"""From a check's arguments to texts that every answer passing it contains, word for word."""

Inner = Callable[[Mapping[str, Any]], Sequence[CheckSpec]]
"""From a composed check's arguments to the checks inside it."""

Refuses = Callable[[Mapping[str, Any]], str]
"""From a check's arguments to why no answer could be judged by them; empty where they are good."""

IFEVAL_EXTRA = "pip install 'gguf-pair-harness[ifeval]'"


class Outcome(NamedTuple):
    """A verdict and why; ``value`` None means that this check cannot be done here.

    ``spans`` are the places in the answer that decided it, for a reader to be shown: what was found
    where it was wanted, or what stands where it must not. They change no verdict.
    """

    value: bool | None
    reason: str
    spans: tuple[Span, ...] = ()


class Unsupported(Exception):
    """Raised inside a check when what it needs is not installed or not allowed; says the cure."""


CodeMode = typing.Literal["off", "sandboxed", "unsafe"]


@dataclass(frozen=True, slots=True)
class CodeSettings:
    """Whether ``code_passes`` may run the answer's Python, and how. Off unless asked for.

    ``sandboxed`` needs bubblewrap; ``unsafe`` runs with resource limits only.
    """

    mode: CodeMode = "off"


@dataclass(frozen=True, slots=True)
class Context:
    """What a check looks at: one view of the answer, with what was derived from it, and the item.

    ``text`` is the answer as a plain string; ``derived`` computes words, sentences and language
    once however many checks ask; ``tokens`` are those that the model generated for it, None where
    no model did.
    """

    derived: Text
    sample: Sample
    code: CodeSettings = field(default_factory=CodeSettings)
    tokens: int | None = None

    @property
    def text(self) -> str:
        """The answer."""
        return self.derived.value


@dataclass(frozen=True, slots=True)
class Example:
    """One answer with the arguments it is judged by, shown by ``harness list checks NAME``.

    ``prompt`` is the item's question where the check looks at it; ``needs_code`` marks examples
    that run code and are tried only where that is possible; ``tokens`` is how many the answer took.
    """

    text: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    prompt: str = ""
    needs_code: bool = False
    tokens: int | None = None


@dataclass(frozen=True)
class Check:
    """A registered check: its function, version, what it needs and its examples."""

    id: str
    version: int
    run: Callable[..., Outcome]
    family: str
    passes: tuple[Example, ...]
    fails: tuple[Example, ...]
    requires: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    demands: Demands | None = None
    inner: Inner | None = None
    refuses: Refuses | None = None

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.run) or "").split("\n")[0]

    @cached_property
    def arguments(self) -> type[pydantic.BaseModel]:
        """A pydantic model of the keyword arguments: strict types, nothing unknown.

        Raises CheckError for a function that is no check.
        """
        try:
            return build_arguments(self.id, self.run)
        except ValueError as error:
            raise CheckError(f"check {self.id!r}: {error}") from error

    @cached_property
    def source(self) -> str:
        """sha256 of the file that somebody's own check is written in; empty for one of ours."""
        run = written(self.run)
        if (getattr(run, "__module__", None) or "").startswith("harness.checks."):
            return ""
        place = Path(run.__code__.co_filename)
        return file_sha256(place) if place.is_file() else ""

    def missing(self) -> str | None:
        """What must be installed before this check can run, with the command; None if nothing."""
        lacking = [name for name in self.requires if not _importable(name)]
        if not lacking:
            return None
        return f"{self.id} needs {', '.join(lacking)}: {IFEVAL_EXTRA}"


@dataclass(frozen=True, slots=True)
class Verifier:
    """A check bound to validated arguments; one instance serves strict and loose."""

    check: Check
    kwargs: Mapping[str, Any]
    version: int
    """The check's version, raised by whatever the checks inside it are above their first one."""

    def __call__(self, context: Context) -> Outcome:
        """Judge one view of an answer."""
        return self.check.run(context, **self.kwargs)


_REGISTRY: dict[str, Check] = {}


def check(
    id: str,
    *,
    version: int = 1,
    passes: Sequence[Example] = (),
    fails: Sequence[Example] = (),
    family: str = "custom",
    requires: Sequence[str] = (),
    one_of: Sequence[str] = (),
    demands: Demands | None = None,
    inner: Inner | None = None,
    refuses: Refuses | None = None,
) -> Callable[[Callable[..., Outcome]], Callable[..., Outcome]]:
    """Register the decorated function under ``id``; raises CheckError when the id is taken.

    ``requires`` names modules of the ``ifeval`` extra that it imports; ``one_of`` arguments of
    which at least one has to be given. ``demands`` says which texts an answer has to contain to
    pass, so that no strategy stops at one of them (:func:`arguments_in_full`, :func:`always`);
    ``inner`` which checks a composed one is made of: its version rises with theirs; ``refuses`` why
    arguments that fit their types do not fit each other.
    """

    def register(run: Callable[..., Outcome]) -> Callable[..., Outcome]:
        known = _REGISTRY.get(id)
        if known is not None and not _same_source(known.run, run):
            raise CheckError(
                f"two checks are called {id!r}: {known.run.__module__} and {run.__module__}; "
                "give yours another id"
            )
        _REGISTRY[id] = Check(
            id,
            version,
            run,
            family,
            tuple(passes),
            tuple(fails),
            tuple(requires),
            tuple(one_of),
            demands,
            inner,
            refuses,
        )
        _bind.cache_clear()
        return run

    return register


Decider = Callable[..., "bool | None"]
"""From a context that holds the beginning of an answer, and a check's arguments, to its verdict.

True or False only where every answer that begins so gets that verdict, the beginning itself
included; None where it is still open. The beginning is never blank.
"""

_DECIDERS: dict[str, Decider] = {}


def decides(*ids: str) -> Callable[[Decider], Decider]:
    """Register the decorated function as the :data:`Decider` of these checks."""

    def register(decide: Decider) -> Decider:
        _DECIDERS.update(dict.fromkeys(ids, decide))
        return decide

    return register


def decider(id: str) -> Decider | None:
    """A check's decider, None where its verdict needs the whole answer."""
    return _DECIDERS.get(id)


def all_checks() -> Mapping[str, Check]:
    """Every registered check by id, in order of registration."""
    return dict(_REGISTRY)


def find_check(id: str) -> Check:
    """The check of that id; raises CheckError with the nearest names when there is none."""
    if id in _REGISTRY:
        return _REGISTRY[id]
    import difflib

    near = difflib.get_close_matches(id, _REGISTRY, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "see `harness list checks`"
    raise CheckError(f"there is no check {id!r}; {hint}")


def resolve(spec: CheckSpec) -> Verifier:
    """The verifier of a check, refusing an IFEval type whose libraries are not installed.

    Its published metrics have no room for a missing verdict. Raises CheckError.
    """
    verifier = bind(spec)
    if verifier.check.family == "ifeval" and (lacking := verifier.check.missing()):
        raise CheckError(lacking)
    return verifier


def bind(spec: CheckSpec) -> Verifier:
    """The verifier of a row's check; raises CheckError on an unknown id or wrong arguments.

    Equal specs share one verifier, so that patterns are compiled once for a whole suite.
    """
    try:
        return _bind(spec.id, canonical_json(dict(spec.kwargs)))
    except (TypeError, ValueError) as error:
        raise CheckError(f"{spec.id}: its arguments are not JSON: {error}") from error


@lru_cache(maxsize=16_384)
def _bind(id: str, kwargs_json: str) -> Verifier:
    import json

    found = find_check(id)
    try:
        model = found.arguments.model_validate(json.loads(kwargs_json))
    except pydantic.ValidationError as error:
        # A union reports every branch: the one that got deepest is the one meant.
        # A misspelt name comes before the required one that it leaves missing.
        first = max(
            error.errors(), key=lambda item: (len(item["loc"]), item["type"] == "extra_forbidden")
        )
        where = ".".join(str(part) for part in first["loc"] if not _is_branch(part)) or "arguments"
        raise CheckError(
            f"{id}: {where}: {_complaint(first, found)}; it takes {describe_arguments(found)}"
        ) from error
    if found.one_of and all(getattr(model, name) is None for name in found.one_of):
        raise CheckError(f"{id}: give one of {', '.join(found.one_of)}")
    given = {name: getattr(model, name) for name in type(model).model_fields}
    _refuse_empty_range(id, given)
    if found.refuses and (why := found.refuses(given)):
        raise CheckError(f"{id}: {why}")
    inside = found.inner(given) if found.inner else ()
    version = found.version + sum(bind(spec).version - 1 for spec in inside)
    return Verifier(found, given, version)


def demanded(spec: CheckSpec) -> list[str]:
    """Texts that any answer passing this check contains; none for a check nobody knows."""
    try:
        verifier = bind(spec)
    except CheckError:
        return []
    demands = verifier.check.demands
    return list(demands(verifier.kwargs)) if demands else []


def arguments_in_full(*names: str) -> Demands:
    """The texts that these arguments hold, one each or a list of them."""

    def texts(given: Mapping[str, Any]) -> Sequence[str]:
        found: list[str] = []
        for name in names:
            value = given.get(name) or ()
            found += [value] if isinstance(value, str) else list(value)
        return found

    return texts


def always(text: str) -> Demands:
    """A text that the check asks for whatever its arguments are."""
    return lambda given: (text,)


def between(text: str, *counts: str) -> Demands:
    """What stands between two of the parts that are counted, where more than one is wanted."""
    return lambda given: (text,) if any((given.get(name) or 0) > 1 for name in counts) else ()


def _is_branch(part: object) -> bool:
    """Whether a location's part is pydantic's name of a union's branch."""
    return isinstance(part, str) and ("[" in part or part.startswith("constrained-"))


def _complaint(first: Any, found: Check) -> str:
    """A pydantic error in words: what was found where, and the near miss."""
    if first["type"] == "extra_forbidden":
        return f"unknown argument; {near(first['loc'][-1], found.arguments.model_fields)}".strip()
    said = plainly(first["msg"].removeprefix("Value error, "))
    return (
        said
        if first["type"] in {"missing", "value_error"}
        else (f"{said}, found {shown(first['input'])}")
    )


def _refuse_empty_range(id: str, given: Mapping[str, Any]) -> None:
    """Raise when the bounds of a count leave no number that fits."""
    low, high, exactly = (given.get(name) for name in ("at_least", "at_most", "exactly"))
    if low is not None and high is not None and low > high:
        raise CheckError(f"{id}: at_least {low} is above at_most {high}: no answer can pass")
    if exactly is None:
        return
    for name, bound, fits in (
        ("at_least", low, low is None or exactly >= low),
        ("at_most", high, high is None or exactly <= high),
    ):
        if not fits:
            raise CheckError(f"{id}: exactly {exactly} does not fit {name} {bound}")


def describe_arguments(found: Check) -> str:
    """``num_words: integer >= 0; relation: 'less than' or 'at least'``, or ``no arguments``."""
    parts = []
    for name, info in found.arguments.model_fields.items():
        words = type_words(info.annotation, info.metadata)
        if not info.is_required():
            words += ", optional" if info.default is None else f", default {shown(info.default)}"
        parts.append(f"{name}: {words}")
    return "; ".join(parts) or "no arguments"


def written(run: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """The function that somebody wrote, where arguments were bound to it."""
    return written(run.func) if isinstance(run, partial) else run


def _same_source(one: Callable[..., Outcome], other: Callable[..., Outcome]) -> bool:
    return (one.__code__.co_filename, one.__qualname__) == (
        other.__code__.co_filename,
        other.__qualname__,
    )


@lru_cache(maxsize=64)
def _importable(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None
