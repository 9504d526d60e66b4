"""The data of a page's explorer: every answer with its question, prompt and verdicts, deflated.

A page holds JSON, ``{"items": [...]}``, and each item the texts that are new with it: a text that
comes again (a prompt, a reason, an answer) stands once on a page and is called by its number.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.measured import NOTHING, Measured
from harness.records import Condition, Scored, Span
from harness.reporting.scrub import scrub_text
from harness.sanitize import for_terminal

PAGE_BYTES = 3_200_000
"""Deflated bytes of answers on one page: with everything else it stays under 5 MB."""
TEXT = 20_000
"""Characters shown of one text; the rest is in samples.jsonl, and the page says so."""
Marks = Mapping[tuple[str, str], Mapping[str, Any]]
_UNSEEN = 65_536
"""Bytes put in before what came out of the compression is looked at."""


def packed_answers(
    scored: Sequence[Scored], order: Mapping[Condition, int], measured: Measured = NOTHING
) -> Iterator[str]:
    """The answers of each page in base64: as many whole items as fit, arms in the given order.

    An answer whose tokens were put to the base model's arms comes with them, marked by each.
    """
    marks = _marks(measured)
    page = _Page(marks)
    for rows in _items(scored, order):
        if not page.add(rows):
            yield page.closed()
            page = _Page(marks)
            page.add(rows)
    yield page.closed()


def _marks(measured: Measured) -> Marks:
    """By condition and item of an answer, its tokens and what each arm makes of them."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for shift in measured.shifts:
        for item, marks in zip(shift.items, shift.marks, strict=False):
            if pieces := measured.pieces.get(item):
                texts = [for_terminal(piece) for piece in pieces]
                told = found.setdefault((shift.instruct, item), {"pieces": texts, "arms": []})
                told["arms"].append([for_terminal(shift.arm), marks])
    return found


def _items(scored: Sequence[Scored], order: Mapping[Condition, int]) -> Iterator[Sequence[Scored]]:
    """Rows by item; an item's arms in the order of the figures."""

    def place(row: Scored) -> tuple[int, str, int]:
        return (order.get(row.condition, len(order)), str(row.condition), row.epoch)

    items: dict[tuple[str, str], list[Scored]] = {}
    for row in sorted(scored, key=lambda row: (row.sample.suite, row.sample.id)):
        items.setdefault((row.sample.suite, row.sample.id), []).append(row)
    for rows in items.values():
        yield sorted(rows, key=place)


class _Page:
    """One page being filled: items go through the compression once, and never out again."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._texts: dict[str, int] = {}
        self._new: list[str] = []
        self._stream = zlib.compressobj(9)
        self._out = [self._stream.compress(b'{"items":[')]
        self._items = self._size = self._unseen = 0

    def add(self, rows: Sequence[Scored]) -> bool:
        """Put an item in; false, and the page as it was, when a page with items would overflow."""
        self._new = []
        item = json.dumps(self._item(rows), separators=(",", ":")).encode("ascii")
        stream = self._stream.copy()
        out = stream.compress(b"," + item if self._items else item)
        unseen = self._unseen + len(item)
        if unseen >= min(_UNSEEN, PAGE_BYTES):
            out, unseen = out + stream.flush(zlib.Z_SYNC_FLUSH), 0
        if self._items and self._size + len(out) > PAGE_BYTES:
            return False
        self._stream, self._unseen = stream, unseen
        self._out.append(out)
        self._items += 1
        self._size += len(out)
        return True

    def closed(self) -> str:
        """The whole page in base64."""
        self._out.append(self._stream.compress(b"]}") + self._stream.flush())
        return base64.b64encode(b"".join(self._out)).decode("ascii")

    def _item(self, rows: Sequence[Scored]) -> dict[str, Any]:
        sample = rows[0].sample
        return {
            "id": for_terminal(sample.id),
            "suite": for_terminal(sample.suite),
            "category": for_terminal(sample.category),
            "messages": [[turn.role, self._text(turn.content)] for turn in sample.messages],
            "rows": [self._row(row) for row in rows],
            "texts": self._new,
        }

    def _row(self, row: Scored) -> dict[str, Any]:
        generation = row.generation
        return {
            "stage": for_terminal(row.condition.stage),
            "level": for_terminal(row.condition.level),
            "strategy": for_terminal(row.condition.strategy),
            "epoch": row.epoch,
            "ok": row.passed,
            "prompt": self._text(row.prompt),
            "prefill": self._text(row.prefill),
            "answer": self._text(generation.answer),
            "rest": self._text(generation.text[len(generation.answer) :]),
            "finish": generation.finish_reason,
            "tokens": generation.completion_tokens,
            "error": for_terminal(scrub_text(generation.error or "")),
            "checks": [
                [
                    for_terminal(result.check_id),
                    result.strict,
                    self._text(result.reason),
                    _places(row, result.spans) if result.spans else [],
                ]
                for result in row.results
            ],
            **self._taken(row),
        }

    def _taken(self, row: Scored) -> dict[str, Any]:
        found = None if row.epoch else self._marks.get((str(row.condition), row.sample.id))
        return {"taken": found} if found else {}

    def _text(self, text: str) -> int:
        """The number of a text among the page's, cut and with its control characters shown."""
        if len(text) > TEXT:
            text = f"{text[:TEXT]}… ({len(text) - TEXT:,} more characters in samples.jsonl)"
        text = for_terminal(text)
        number = self._texts.get(text)
        if number is None:
            number = self._texts[text] = len(self._texts)
            self._new.append(text)
        return number


def _places(row: Scored, spans: Sequence[Span]) -> list[list[int]]:
    """Places in the opening and the answer as the page shows them, counted as scripts count.

    A control character is shown as several, and a script counts some characters twice (UTF-16).
    """
    shown = row.response[: len(row.prefill) + TEXT]

    def place(at: int) -> int:
        return len(for_terminal(shown[:at]).encode("utf-16-le", "surrogatepass")) // 2

    return [[place(start), place(end)] for start, end in spans if end <= len(shown)]
