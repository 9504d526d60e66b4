"""Texts and gaps for `harness choose`: new documents about the same world, none of them trained on.

`datasets/uses/tiny-texts.jsonl` holds articles to go on with, `tiny-gaps.jsonl` paragraphs and
programs with a gap. Both are drawn with a seed that no stage uses.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

from recipe.corpus import PLACES, Corpus
from recipe.world import World

SEED = 4242
TEXTS, GAPS = 60, 60
SHORTEST = 200
"""Characters of the shortest article that is taken."""


def texts(world: World, count: int = TEXTS) -> list[dict[str, str]]:
    """Articles, one a row."""
    corpus = Corpus(world, SEED)
    found: list[dict[str, str]] = []
    while len(found) < count:
        text = corpus.article()
        if len(text) >= SHORTEST:
            found.append({"text": text})
    return found


def gaps(world: World, count: int = GAPS) -> list[dict[str, str]]:
    """Gaps, one a row: by turns a value in a paragraph and a part of a program.

    What the paragraph lacks only the world gives away; what the program lacks stands in the rest of
    it (name, arguments or condition), and a test runs it.
    """
    corpus = Corpus(world, SEED)
    rows: list[dict[str, str]] = []
    for place in itertools.islice(itertools.cycle(PLACES), count // 2):
        rows += [_gap(*corpus.value_gap()), _program_gap(corpus.program(), place)]
    return [{"id": f"gap-{number:03}"} | row for number, row in enumerate(rows, 1)]


def _gap(text: str, start: int, end: int) -> dict[str, str]:
    return {"prefix": text[:start], "suffix": text[end:], "reference": text[start:end]}


def _program_gap(code: str, place: re.Pattern[str]) -> dict[str, str]:
    match = place.search(code)
    assert match is not None
    name, factor = _parts(code)
    operator = re.findall(r" ([-+*]) ", code)[-1]
    expected = {"+": 5 + factor, "-": 5 - factor, "*": 5 * factor}[operator]
    return _gap(code, *match.span(1)) | {"tests": f"assert {name}(0, 5) == {expected}"}


def write_uses(world: World, datasets: Path) -> None:
    """Write both files as JSON lines into `datasets/uses`."""
    folder = datasets / "uses"
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("texts", texts(world)), ("gaps", gaps(world))):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"tiny-{name}.jsonl").write_text(lines, encoding="utf-8")


def _parts(code: str) -> tuple[str, int]:
    """The function's name and its last line's number."""
    head = re.match(r"def (\w+)\(", code)
    last = re.search(r"    return \w+ [-+*] (\d+)\n", code)
    assert head is not None
    assert last is not None
    return head[1], int(last[1])
