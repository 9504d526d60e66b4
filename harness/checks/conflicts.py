"""Checks of one item that no answer can pass together, as far as that can be proved.

Three kinds: bounds on one count that leave no number, a text that one check demands and another
forbids wherever it stands, and a JSON Schema that nothing fits. Whatever is said here is so; what
is not said may still contradict itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from harness.checks.judging import judge
from harness.checks.registry import Context, bind, decider, demanded
from harness.checks.text.plain import Text
from harness.errors import CheckError
from harness.hashing import canonical_json
from harness.records import CheckSpec, Sample

Placed = tuple[str, CheckSpec]
"""A check and where it stands: ``checks.2``, ``checks.2.checks.0``."""


def conflicts(sample: Sample) -> list[str]:
    """Why no answer can pass all checks of the item, each contradiction in one sentence."""
    placed = list(_flat([(f"checks.{n}", spec) for n, spec in enumerate(sample.checks)]))
    return list(
        dict.fromkeys(
            [
                *_hopeless(placed),
                *_negated(placed),
                *_bounds_apart(placed),
                *_demanded_and_forbidden(placed, sample),
                *_equal_to_what_fails(placed, sample),
            ]
        )
    )


def _flat(placed: Sequence[Placed]) -> Iterator[Placed]:
    """The checks that all have to pass: those inside ``all`` stand for it."""
    for place, spec in placed:
        if spec.id == "all":
            inner = [CheckSpec.written(item) for item in spec.kwargs.get("checks", ())]
            yield from _flat([(f"{place}.checks.{n}", item) for n, item in enumerate(inner)])
        else:
            yield place, spec


def _pair(one: Placed, other: Placed, why: str) -> str:
    return (
        f"{one[0]} ({one[1].id}) and {other[0]} ({other[1].id}) contradict each other: {why}, "
        "so no answer can pass"
    )


class Bounds(NamedTuple):
    """What is counted, and the least and most of it that passes."""

    what: str
    low: float
    high: float


_COUNTED = {
    "length_words": "words",
    "length_sentences": "sentences",
    "length_chars": "characters",
    "length_tokens": "tokens",
    "lines": "lines",
    "bullets": "bullets",
}
_RELATED = {  # IFEval's counts with a relation: argument of the number, argument of the relation
    "length_constraints:number_words": ("words", "num_words", "relation"),
    "length_constraints:number_sentences": ("sentences", "num_sentences", "relation"),
    "keywords:frequency": ("keyword {keyword}", "frequency", "relation"),
    "keywords:letter_frequency": ("letter {letter}", "let_frequency", "let_relation"),
    "change_case:capital_word_frequency": ("capitals", "capital_frequency", "capital_relation"),
}


def counted(spec: CheckSpec) -> Bounds | None:
    """The bounds that a check sets on a count; None where it counts nothing we know."""
    given = spec.kwargs
    if spec.id in _COUNTED:
        exactly = given.get("exactly")
        low = given.get("at_least", 0) if exactly is None else exactly
        high = given.get("at_most", math.inf) if exactly is None else exactly
        what = "numbered items" if given.get("numbered") else _COUNTED[spec.id]
        return Bounds(what, low, high)
    if spec.id in _RELATED:
        what, number, relation = _RELATED[spec.id]
        value, least = given.get(number), given.get(relation) == "at least"
        if isinstance(value, int):
            what = what.format_map({"keyword": "", "letter": "", **given})
            return Bounds(what, value if least else 0, math.inf if least else value - 1)
    if spec.id == "length_constraints:number_paragraphs" and "num_paragraphs" in given:
        return Bounds("paragraphs", given["num_paragraphs"], given["num_paragraphs"])
    return None


# So many of the first take so many of the second at least: words, lines and items are apart.
_NEEDS: Mapping[tuple[str, str], Callable[[float], float]] = {
    ("words", "characters"): lambda n: 2 * n - 1,
    ("lines", "characters"): lambda n: 2 * n - 1,
    ("bullets", "characters"): lambda n: 4 * n - 1,
    ("bullets", "lines"): lambda n: n,
    ("numbered items", "lines"): lambda n: n,
}


def _bounds_apart(placed: Sequence[Placed]) -> Iterator[str]:
    known = [(item, bounds) for item in placed if (bounds := counted(item[1]))]
    for one, ours in known:
        for other, theirs in known:
            if one is other or ours.low <= 0:
                continue
            least = _NEEDS.get((ours.what, theirs.what))
            needs = ours.low if ours.what == theirs.what else least(ours.low) if least else 0
            if needs > theirs.high:
                why = f"at least {ours.low:g} {ours.what}, at most {theirs.high:g} {theirs.what}"
                yield _pair(one, other, why)


def _hopeless(placed: Sequence[Placed]) -> Iterator[str]:
    """Checks that nothing passes by itself."""
    for place, spec in placed:
        bounds = counted(spec)
        if bounds and bounds.what in {"characters", "lines", "tokens"} and bounds.high < 1:
            yield f"{place} ({spec.id}): at most {bounds.high:g}: a blank answer fails every check"
        if spec.id in {"json_schema", "contains_json"} and spec.kwargs.get("schema"):
            flaw = schema_flaw(spec.kwargs["schema"])
            if flaw:
                yield f"{place} ({spec.id}): schema: {flaw}, so nothing fits it"


def _negated(placed: Sequence[Placed]) -> Iterator[str]:
    named = {canonical_json([spec.id, dict(spec.kwargs)]): (p, spec) for p, spec in placed}
    for place, spec in placed:
        if spec.id == "not":
            inner = CheckSpec.written(spec.kwargs["check"])
            other = named.get(canonical_json([inner.id, dict(inner.kwargs)]))
            if other:
                yield _pair(other, (place, spec), "one is the other's opposite")


def _demanded_and_forbidden(placed: Sequence[Placed], sample: Sample) -> Iterator[str]:
    for one in placed:
        for texts in _wanted(one[1], sample):
            for other in placed:
                if (
                    other is not one
                    and texts
                    and all(_forbids(other[1], one[1], text, sample) for text in texts)
                ):
                    yield _pair(
                        one, other, f"{' or '.join(map(repr, texts))[:80]} is wanted and not"
                    )


def _wanted(spec: CheckSpec, sample: Sample) -> list[list[str]]:
    """Alternatives of which an answer that passes contains one, for each thing wanted."""
    given = spec.kwargs
    if spec.id == "target":
        return [list(given.get("answers") or sample.target)]
    if spec.id == "label":
        name = given.get("answer")
        return [[name, *given["labels"].get(name, ())]] if name else []
    if spec.id == "choice":
        return [[given["answer"]]] if given.get("answer") else []
    if spec.id in {"contains", "equals", "starts_with", "ends_with"} and given.get("mode") != "all":
        texts = given["text"] if isinstance(given["text"], list) else [given["text"]]
        one_of = spec.id != "contains" or given.get("mode") == "any"
        return [texts] if one_of else [[text] for text in demanded(spec)]
    return [[text] for text in demanded(spec) if text.strip()]


_EXACT = {"contains", "equals", "starts_with", "ends_with", "choice"}
_WHEREVER = {
    "not_contains",
    "keywords:forbidden_words",
    "punctuation:no_comma",
    "change_case:english_capital",
    "change_case:english_lowercase",
}
"""Checks that fail because of a text wherever it stands."""


def _forbids(spec: CheckSpec, by: CheckSpec, text: str, sample: Sample) -> bool:
    """Whether every answer with this text in it fails the check."""
    if spec.id not in _WHEREVER:
        return False
    try:
        verifier = bind(spec)
    except CheckError:
        return False
    decide = decider(spec.id)
    loose = by.kwargs.get("ignore_case", by.id not in _EXACT) or by.kwargs.get("normalise")
    forms = {text, text.upper(), text.lower(), text.title()} if loose else {text}
    whole = by.kwargs.get("whole_words") or by.id in {"target", "choice", "label"}
    # Digits have no case and no comma; beside a word they make another word of it.
    views = [f"{form} 1" for form in forms]
    views += [] if whole else [f"1{form}1 1" for form in forms]
    return decide is not None and all(
        decide(Context(Text(view), sample), **verifier.kwargs) is False for view in views
    )


def _equal_to_what_fails(placed: Sequence[Placed], sample: Sample) -> Iterator[str]:
    """An answer that has to be a text is judged by the other checks as that text."""
    for place, spec in placed:
        given = spec.kwargs
        if spec.id != "equals" or given.get("ignore_case") or given.get("collapse_whitespace"):
            continue
        texts = given["text"] if isinstance(given["text"], list) else [given["text"]]
        others = [item for item in placed if item[1] is not spec and item[1].id != "code_passes"]
        failing = [_first_failing(others, text, sample) for text in texts]
        if failing and all(failing):
            other, reason = failing[0] or (others[0], "")
            yield _pair((place, spec), other, f"{texts[0]!r:.80} fails it ({reason:.80})")


def _first_failing(
    others: Sequence[Placed], text: str, sample: Sample
) -> tuple[Placed, str] | None:
    results = judge(replace(sample, checks=tuple(spec for _, spec in others)), text)
    for other, result in zip(others, results, strict=True):
        if result.strict is False:
            return other, result.reason
    return None


_MINIMUMS = (
    ("minimum", "maximum", {"integer", "number"}),
    ("minLength", "maxLength", {"string"}),
    ("minItems", "maxItems", {"array"}),
    ("minProperties", "maxProperties", {"object"}),
)


def schema_flaw(schema: Mapping[str, Any], place: str = "") -> str:
    """Why nothing fits a JSON Schema, as far as its bounds, enums and required keys show it."""
    at, kinds = f"{place}: " if place else "", set(_types(schema))
    for low, high, of in _MINIMUMS:
        least, most = schema.get(low), schema.get(high)
        if least is not None and most is not None and least > most and kinds and kinds <= of:
            return f"{at}{low} {least:g} is above {high} {most:g}"
    listed = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(listed, list) and not any(_allowed(value, schema) for value in listed):
        return f"{at}none of the listed values is of the wanted type"
    return _required_flaw(schema, place) if kinds == {"object"} else ""


def _required_flaw(schema: Mapping[str, Any], place: str) -> str:
    at, properties = f"{place}: " if place else "", schema.get("properties", {})
    for name in schema.get("required", ()):
        inner = properties.get(name)
        if inner is False:
            return f"{at}{name!r} is required and may not be there"
        if inner is None and schema.get("additionalProperties") is False:
            return f"{at}{name!r} is required and not among the properties"
        flaw = schema_flaw(inner, f"{place}.{name}".lstrip(".")) if isinstance(inner, dict) else ""
        if flaw:
            return flaw
    return ""


def _types(schema: Mapping[str, Any]) -> list[str]:
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _allowed(value: object, schema: Mapping[str, Any]) -> bool:
    import jsonschema

    kinds = {"type": schema["type"]} if "type" in schema else {}
    return bool(jsonschema.Draft202012Validator(kinds).is_valid(value))
