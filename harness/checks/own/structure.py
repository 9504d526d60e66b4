"""Checks on the shape of an answer: lengths, lines, bullets, Markdown, CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from harness.checks.registry import Context, Example, Outcome, always, between, check
from harness.checks.text.spans import MOST, line_spans

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
