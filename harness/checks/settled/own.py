"""When a beginning settles the verdicts of the project's own checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harness.checks.own.amounts import _NUMBER
from harness.checks.own.compose import Inner, Inners
from harness.checks.own.content import (
    _OPENING,
    _REFUSAL,
    _fold,
    _listed,
    _normal,
    _whole_words,
    needed,
)
from harness.checks.own.structure import _BULLET, _NUMBERED
from harness.checks.registry import Context, bind, decider, decides
from harness.checks.settled.parts import (
    can_begin,
    complete,
    complete_sentences,
    counted,
    is_plain,
)
from harness.checks.text.patterns import pattern as compile_pattern
from harness.records import CheckSpec

Texts = str | list[str]


@decides("equals")
def equals(
    context: Context,
    *,
    text: Texts,
    ignore_case: bool,
    collapse_whitespace: bool,
    strip: bool,
) -> bool | None:
    """The answer can become none of the texts any more."""
    found = _fold(context.text, ignore_case, collapse_whitespace)
    wanted = [_fold(item, ignore_case, collapse_whitespace) for item in _listed(text)]
    if strip:
        found, wanted = found.strip(), [item.strip() for item in wanted]
    return None if any(item.startswith(found) for item in wanted) else False


def _present(
    context: Context, texts: Texts, ignore_case: bool, collapse: bool, whole: bool
) -> list[bool]:
    """Of each text whether it occurs and will go on to."""
    body = _fold(context.text, ignore_case, collapse)
    found = []
    for item in _listed(texts):
        wanted = _fold(item, ignore_case, collapse)
        if whole:
            matches = re.finditer(rf"(?<!\w){re.escape(wanted)}(?!\w)", body)
            found.append(any(match.end() < len(body) for match in matches))
        else:
            found.append(wanted in body)
    return found


@decides("contains")
def contains(
    context: Context,
    *,
    text: Texts,
    mode: str | int,
    ignore_case: bool,
    collapse_whitespace: bool,
    whole_words: bool,
    normalise: bool,
) -> bool | None:
    """What occurs stays there; normalised, an accent to come may change a letter."""
    if normalise:
        return None
    found = _present(context, text, ignore_case, collapse_whitespace, whole_words)
    return True if sum(found) >= needed(text, mode) else None


@decides("not_contains")
def not_contains(
    context: Context,
    *,
    text: Texts,
    ignore_case: bool,
    collapse_whitespace: bool,
    whole_words: bool,
    normalise: bool,
) -> bool | None:
    """One of the texts occurs."""
    if normalise:
        return None
    found = _present(context, text, ignore_case, collapse_whitespace, whole_words)
    return False if any(found) else None


@decides("starts_with")
def starts_with(
    context: Context,
    *,
    text: Texts,
    ignore_case: bool,
    collapse_whitespace: bool,
    strip: bool,
) -> bool | None:
    """The beginning is one of the texts, or can be none of them."""
    body = _fold(context.text, ignore_case, collapse_whitespace)
    body = body.lstrip() if strip else body
    wanted = [_fold(item, ignore_case, collapse_whitespace) for item in _listed(text)]
    if body.startswith(tuple(wanted)):
        return True
    return None if any(can_begin(item, body) for item in wanted) else False


@decides("regex")
def regex(
    context: Context,
    *,
    pattern: str,
    mode: str,
    ignore_case: bool,
    multiline: bool,
    at_least: int,
) -> bool | None:
    """A literal text that is searched and found often enough."""
    if mode == "full" or not is_plain(pattern):
        return None
    found = compile_pattern(pattern, ignore_case=ignore_case, multiline=multiline)
    return counted(found.count(context.text), at_least=at_least)


@decides("numeric_close")
def numeric_close(
    context: Context, *, value: float, absolute: float, relative: float, which: str
) -> bool | None:
    """The first number, any near one, or more than the only one; complete ones count."""
    found = [float(m[0].replace(",", "").replace("−", "-")) for m in _complete_numbers(context)]
    room = max(absolute, relative * abs(value))
    near = [abs(number - value) <= room for number in found]
    if which == "only":
        return False if len(near) > 1 else None
    if which == "first":
        return near[0] if near else None
    return True if which == "any" and any(near) else None


def _complete_numbers(context: Context) -> list[re.Match[str]]:
    return list(_NUMBER.finditer(complete(context.text)))


@decides("choice")
def choice(
    context: Context, *, options: list[str], answer: str | None, ignore_case: bool
) -> bool | None:
    """More than one of the options is named, none of which may become a longer one."""
    text = context.text
    flags = re.IGNORECASE if ignore_case else 0
    ordered = sorted(options, key=len, reverse=True)
    alternatives = "|".join(map(re.escape, ordered))
    matches = re.finditer(rf"(?<!\w)(?:{alternatives})(?!\w)", text, flags)
    room = len(text) - len(ordered[0])
    named = {_fold(m[0], ignore_case, False) for m in matches if m.start() < room}
    return False if len(named) > 1 else None


@decides("refusal")
def refusal(context: Context, *, refuses: bool) -> bool | None:
    """The characters that are looked at are there, or one of the phrases is."""
    opening = context.text[:_OPENING]
    match = _REFUSAL.search(opening.replace("’", "'"))
    if len(context.text) >= _OPENING:
        return (match is not None) == refuses
    return refuses if match and match.end() < len(opening) else None


@decides("target")
def target(context: Context, *, answers: list[str] | None) -> bool | None:
    """One of the accepted answers stands before the last space."""
    body = _normal(complete(context.text))
    accepted = answers or list(context.sample.target)
    return True if any(_whole_words(_normal(item), body) for item in accepted) else None


@decides("length_words")
def length_words(context: Context, **bounds: int | None) -> bool | None:
    """Words only become more."""
    return counted(len(context.derived.words), **bounds)


@decides("length_sentences")
def length_sentences(context: Context, **bounds: int | None) -> bool | None:
    """Complete sentences only become more."""
    return counted(len(complete_sentences(context.text)), **bounds)


@decides("length_chars")
def length_chars(context: Context, **bounds: int | None) -> bool | None:
    """Characters between the first and the last that is no space only become more."""
    return counted(len(context.text.strip()), **bounds)


@decides("lines")
def lines(context: Context, **bounds: int | None) -> bool | None:
    """Lines that are not blank only become more."""
    return counted(sum(1 for line in context.derived.lines if line.strip()), **bounds)


@decides("bullets")
def bullets(context: Context, *, numbered: bool, **bounds: int | None) -> bool | None:
    """List items only become more."""
    mark = _NUMBERED if numbered else _BULLET
    found = sum(1 for line in context.derived.lines if mark.match(line.lstrip()))
    return counted(found, **bounds)


# A composed check is settled in the order it is judged in: one inside that cannot be judged at all
# ends that, and then nobody looks at the others.


def _inner(context: Context, item: Mapping[str, Any]) -> bool | None:
    verifier = bind(CheckSpec.written(item))
    decide = decider(verifier.check.id)
    if decide is None or verifier.check.missing() is not None:
        return None
    return decide(context, **verifier.kwargs)


@decides("not")
def negation(context: Context, *, check: Inner) -> bool | None:
    """The inner check is settled."""
    found = _inner(context, check)
    return None if found is None else not found


def _first_other(context: Context, checks: Inners, verdict: bool) -> bool | None:
    """What the first inner check that is not settled to be ``verdict`` is, else ``verdict``."""
    for item in checks:
        found = _inner(context, item)
        if found is not verdict:
            return found
    return verdict


@decides("any")
def disjunction(context: Context, *, checks: Inners) -> bool | None:
    """One passes behind others that are settled, or all are settled to fail."""
    return _first_other(context, checks, False)


@decides("all")
def conjunction(context: Context, *, checks: Inners) -> bool | None:
    """One fails behind others that are settled, or all are settled to pass."""
    return _first_other(context, checks, True)
