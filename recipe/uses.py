"""Texts and gaps for `harness choose`: new documents about the same world, none of them trained on.

`datasets/uses/tiny-texts.jsonl` holds articles to go on with, `tiny-gaps.jsonl` programs with a
gap whose content follows from the rest. Both are drawn with a seed that no stage uses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from recipe.corpus import FIM, Corpus
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
    """Programs with a gap, one a row: name, arguments or condition, which the rest gives away."""
    corpus = Corpus(world, SEED)
    found: list[dict[str, str]] = []
    places = _places()
    while len(found) < count:
        code = _whole(corpus.program())
        name, factor = _parts(code)
        match = next(places).search(code)
        assert match is not None
        operator = re.findall(r" ([-+*]) ", code)[-1]
        expected = {"+": 5 + factor, "-": 5 - factor, "*": 5 * factor}[operator]
        found.append(
            {
                "id": f"gap-{len(found) + 1:03}",
                "prefix": code[: match.start(1)],
                "suffix": code[match.end(1) :],
                "reference": match[1],
                "tests": f"assert {name}(0, 5) == {expected}",
            }
        )
    return found


def write_uses(world: World, datasets: Path) -> None:
    """Write both files as JSON lines into `datasets/uses`."""
    folder = datasets / "uses"
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("texts", texts(world)), ("gaps", gaps(world))):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"tiny-{name}.jsonl").write_text(lines, encoding="utf-8")


def _places() -> Iterator[re.Pattern[str]]:
    """What is left out, in turn."""
    while True:
        yield re.compile(r"def (\w+)\(")
        yield re.compile(r"def \w+\((\w+, \w+)\)")
        yield re.compile(r"    if (\w+ > \d+):")


def _whole(program: str) -> str:
    """A program without its gap."""
    if not program.startswith(FIM[0]):
        return program
    prefix, rest = program.removeprefix(FIM[0]).split(FIM[1])
    suffix, middle = rest.split(FIM[2])
    return prefix + middle + suffix


def _parts(code: str) -> tuple[str, int]:
    """The function's name and its last line's number."""
    head = re.match(r"def (\w+)\(", code)
    last = re.search(r"    return \w+ [-+*] (\d+)\n", code)
    assert head is not None
    assert last is not None
    return head[1], int(last[1])
