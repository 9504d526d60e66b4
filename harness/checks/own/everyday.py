"""Checks for everyday tasks: labels, order, Markdown, length in tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from harness.checks.own.content import Filled, Texts, _listed, _whole_words
from harness.checks.own.structure import _BOUNDS, Bound, _bounded
from harness.checks.registry import Context, Example, Outcome, Unsupported, check
from harness.checks.text.plain import normal
from harness.checks.text.spans import spans
from harness.intake import near

Synonyms = Annotated[dict[Filled, list[Filled]], Field(min_length=2)]


def _no_label(given: Mapping[str, Any]) -> str:
    """What is wrong with a closed set of labels."""
    fold = str.casefold if given["ignore_case"] else str
    owner: dict[str, str] = {}
    for name, also in given["labels"].items():
        for word in (name, *also):
            if owner.setdefault(fold(word), name) != name:
                return f"labels: {word!r} stands for both {owner[fold(word)]!r} and {name!r}"
    if given["answer"] is None or given["answer"] in given["labels"]:
        return ""
    hint = near(given["answer"], given["labels"])
    return f"answer: {given['answer']!r} is none of the labels, so nothing passes; {hint}".rstrip(
        "; "
    )


_TICKET = {"high": ["urgent", "critical"], "low": ["minor"]}


@check(
    "label",
    passes=[
        Example("This is URGENT!", {"labels": _TICKET, "answer": "high"}),
        Example("Priority: low", {"labels": _TICKET}),
        Example("High. It is not minor.", {"labels": _TICKET, "answer": "high", "which": "first"}),
        Example("**High**.", {"labels": _TICKET, "answer": "high", "which": "alone"}),
    ],
    fails=[
        Example("High, or rather low", {"labels": _TICKET, "answer": "high"}),
        Example("A highly minor matter", {"labels": _TICKET, "answer": "high"}),
        Example("It is high.", {"labels": _TICKET, "answer": "high", "which": "alone"}),
    ],
    refuses=_no_label,
)
def label(
    context: Context,
    *,
    labels: Synonyms,
    answer: Filled | None = None,
    which: Literal["only", "first", "last", "alone"] = "only",
    ignore_case: bool = True,
) -> Outcome:
    """The answer names one label of a closed set, by its name or a synonym: the right one if given.

    ``which``: the only label it names, the first, the last, or one with nothing else around it.
    """
    names = {word: name for name, also in labels.items() for word in (name, *also)}
    if ignore_case:
        names = {word.casefold(): name for word, name in names.items()}
    longest = sorted(names, key=len, reverse=True)  # "not sure" is not also "sure"
    pattern = rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)"
    text = context.text.casefold() if ignore_case else context.text
    matches = list(re.finditer(pattern, text))
    # Casefolding may change a text's length, and then the places are not those of the answer.
    places = spans(matches) if len(text) == len(context.text) else ()
    named = [names[match[0]] for match in matches]
    if which in {"first", "last"}:
        named = named[:1] if which == "first" else named[-1:]
    if len(set(named)) != 1:
        found = ", ".join(dict.fromkeys(named)) or "none"
        return Outcome(False, f"names {found} of the labels, wanted one", places)
    if which == "alone" and re.search(r"\w", re.sub(pattern, "", text)):
        return Outcome(False, f"says more than the label {named[0]}", places)
    right = answer is None or named[0] == answer
    return Outcome(right, f"says {named[0]}" + (f", wanted {answer}" * (not right)), places)


@check(
    "in_order",
    passes=[
        Example("First boil, then pour, then wait.", {"items": ["boil", "pour", "wait"]}),
        Example(
            "1. Mercury\n2. Venus", {"items": ["Mercury", ["Venus", "Hesperus"]], "only": True}
        ),
        Example("red, green and blue", {"items": ["red", "green", "blue"], "only": True}),
    ],
    fails=[
        Example("Pour, then boil.", {"items": ["boil", "pour"]}),
        Example("- red\n- blue\n- green", {"items": ["red", "blue"], "only": True}),
    ],
)
def in_order(
    context: Context, *, items: Annotated[list[Texts], Field(min_length=2)], only: bool = False
) -> Outcome:
    """The items are named in this order (each by one of its names), as ``contains`` normalises.

    With ``only`` the answer is a list of them and of nothing else: bullets, numbers, lines, commas.
    """
    if only:
        return _same_list(listed_items(context.text), items)
    body, position = normal(context.text), 0
    for names in items:
        starts = [
            match
            for name in _listed(names)
            if (
                match := re.compile(rf"(?<!\w){re.escape(normal(name))}(?!\w)").search(
                    body, position
                )
            )
        ]
        if not starts:
            there = any(_whole_words(normal(name), body) for name in _listed(names))
            problem = "comes too early" if there else "is missing"
            return Outcome(False, f"{_listed(names)[0]!r} {problem}")
        position = min(match.end() for match in starts)
    return Outcome(True, f"{len(items)} items in order")


def _same_list(found: Sequence[str], items: Sequence[str | list[str]]) -> Outcome:
    if len(found) != len(items):
        return Outcome(False, f"a list of {len(found)}, wanted {len(items)}")
    for number, (text, names) in enumerate(zip(found, items, strict=True), 1):
        if not any(_whole_words(normal(name), normal(text)) for name in _listed(names)):
            return Outcome(False, f"item {number} is {text[:80]!r}, wanted {_listed(names)[0]!r}")
    return Outcome(True, f"the {len(items)} items in order")


_ITEM = re.compile(r"\s*(?:[-*+•–]|\d{1,4}[.)])\s+(\S.*)")


def listed_items(text: str) -> list[str]:
    """The items of the list that an answer is: marked lines, else lines, else what commas part."""
    lines = [line for line in text.strip().split("\n") if line.strip()]
    marked = [match[1] for line in lines if (match := _ITEM.match(line))]
    if marked:
        return marked
    if len(lines) != 1:
        return lines
    line = " ".join(lines[0].split()).rstrip(".")  # a run of spaces would be looked at from each
    parts = re.split(r" ?[,;] ?(?:and |or )?| (?:and|or) ", line)
    return [part for part in parts if part]


MARKDOWN_SIZE = 100_000
"""Characters of the longest answer that is read as Markdown."""

Part = Literal["heading", "list", "item", "table", "code", "quote", "link", "bold"]
_OPENS: Mapping[str, tuple[str, ...]] = {
    "heading": ("heading_open",),
    "list": ("bullet_list_open", "ordered_list_open"),
    "item": ("list_item_open",),
    "table": ("table_open",),
    "code": ("fence",),
    "quote": ("blockquote_open",),
    "link": ("link_open",),
    "bold": ("strong_open",),
}


_ONLY_OF = {"level": "heading", "texts": "heading", "language": "code"}


def _other_part(given: Mapping[str, Any]) -> str:
    """What is wrong with the arguments of ``markdown``."""
    for name, part in _ONLY_OF.items():
        if given[name] is not None and given["part"] != part:
            return f"{name}: goes with part {part!r}, found part {given['part']!r}"
    return ""


@check(
    "markdown",
    passes=[
        Example("# Tea\n\n## Green\n\n## Black", {"part": "heading", "level": 2, "exactly": 2}),
        Example("|a|b|\n|-|-|\n|1|2|", {"part": "table", "at_least": 1}),
        Example("```python\n# no heading\n```", {"part": "code", "language": "python"}),
        Example("Just text.", {"part": "bold", "at_most": 0}),
        Example("# Steps\n\nx\n\n# Result\n\ny", {"part": "heading", "texts": ["Steps", "Result"]}),
    ],
    fails=[
        Example("```\n# no heading\n```", {"part": "heading"}),
        Example("# Result\n\n# Steps", {"part": "heading", "texts": ["Steps", "Result"]}),
        Example("- one\n- two", {"part": "item", "at_least": 3}),
    ],
    refuses=_other_part,
)
def markdown(
    context: Context,
    *,
    part: Part,
    exactly: Bound = None,
    at_least: Bound = None,
    at_most: Bound = None,
    level: Annotated[int, Field(ge=1, le=6)] | None = None,
    language: Filled | None = None,
    texts: Annotated[list[Filled], Field(min_length=1)] | None = None,
) -> Outcome:
    """So many headings, lists, items, tables, code blocks, quotes, links or bold texts (or any).

    Read as CommonMark with tables. ``level`` counts headings of that level, ``language`` code
    blocks marked with it; ``texts`` are headings that stand there in this order.
    """
    if len(context.text) > MARKDOWN_SIZE:
        return Outcome(False, f"more than {MARKDOWN_SIZE} characters are not read as Markdown")
    found = list(_parts(context.text, part, level, language))
    if texts is not None:
        rest = iter(normal(text) for text in found)
        lost = next((text for text in texts if normal(text) not in rest), None)
        if lost is not None:
            return Outcome(False, f"no {part} {lost!r} where it is wanted")
    if exactly is None and at_least is None and at_most is None:
        at_least = 1
    return _bounded(len(found), f"× {part}", exactly, at_least, at_most)


def _parts(text: str, part: str, level: int | None, language: str | None) -> Iterator[str]:
    """The text of each such part (of a code block its language)."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    kinds = _OPENS[part]
    for number, token in enumerate(tokens):
        inner = token.children or []
        yield from ("" for child in inner if child.type in kinds)
        if token.type not in kinds:
            continue
        marked = token.info.split()[:1]
        if level is not None and token.tag != f"h{level}":
            continue
        if language is not None and [word.casefold() for word in marked] != [language.casefold()]:
            continue
        yield tokens[number + 1].content if part == "heading" else " ".join(marked)


@check(
    "length_tokens",
    passes=[Example("three short words", {"at_most": 4}, tokens=4)],
    fails=[Example("three short words", {"at_most": 3}, tokens=4)],
    one_of=_BOUNDS,
)
def length_tokens(
    context: Context, *, exactly: Bound = None, at_least: Bound = None, at_most: Bound = None
) -> Outcome:
    """So many tokens, as the model that answered counts them, its stop string's included.

    Unsupported for an answer that no model was asked for here, and for other views of one; of a
    reranked arm's answer the tokens of all candidates are counted.
    """
    if context.tokens is None:
        raise Unsupported("nobody knows how many tokens this text was")
    return _bounded(context.tokens, "tokens", exactly, at_least, at_most)
