"""Two runs side by side: what differs between them, then what it did to the answers."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.between import ArmsCompared, Item, RunsCompared, compare_rows
from harness.records import Scored
from harness.reporting.folder import Run

ANSWER = 400
"""Characters shown of an answer."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that the two manifests say differently; ``diff`` where it is a text."""

    what: str
    a: str
    b: str
    diff: str = ""


@dataclass(frozen=True, slots=True)
class Flip:
    """An item whose outcome differs, with both answers and what the failing one was faulted for."""

    item: str
    suite: str
    outcome: str
    a: str
    b: str
    reason: str


@dataclass(frozen=True, slots=True)
class Compared:
    """All that a comparison says, before it is put into a form."""

    a: str
    b: str
    differences: tuple[Difference, ...]
    result: RunsCompared
    arguments: bool
    flips: Mapping[str, tuple[Flip, ...]]


def compare(a: Run, b: Run) -> Compared:
    """Compare two runs on the questions that both asked alike."""
    known = min(a.format, b.format) > 1
    result = compare_rows(a.scored, b.scored, seed=b.experiment.seed, arguments=known)
    return Compared(
        a=str(a.folder),
        b=str(b.folder),
        differences=tuple(_differences(a, b)),
        result=result,
        arguments=known,
        flips={str(arm.b): tuple(_flips(arm, a.scored, b.scored)) for arm in result.arms},
    )


def _differences(a: Run, b: Run) -> Iterator[Difference]:
    """Models, templates, suites, engine, machine, versions, then what was asked otherwise."""
    one, other = a.manifest, b.manifest
    for cell in sorted({*one.models, *other.models}):
        names = [_model(side.models.get(cell)) for side in (one, other)]
        if names[0] != names[1]:
            yield Difference(f"model {cell}", names[0], names[1])
    for name in sorted({*one.templates, *other.templates}):
        digests = [side.templates.get(name, "") for side in (one, other)]
        if digests[0] != digests[1]:
            texts = [side.sources.get(name) for side in (one, other)]
            shown = [digest[:16] or "not used" for digest in digests]
            yield Difference(f"template {name}", shown[0], shown[1], _diff(texts[0], texts[1]))
    for title, left, right in (
        ("suite", one.suites, other.suites),
        ("check", one.checks, other.checks),
        ("module of checks", one.plugins, other.plugins),
        ("engine", one.engine, other.engine),
        ("machine", one.system, other.system),
        ("version", one.versions, other.versions),
        ("experiment", one.experiment, other.experiment),
    ):
        flat = [dict(_flat(side)) for side in (left, right)]
        for key in sorted({*flat[0], *flat[1]}):
            values = [side.get(key, "nothing") for side in flat]
            if values[0] != values[1]:
                yield Difference(f"{title} {key}", values[0], values[1])


def _model(model: Any) -> str:
    if not isinstance(model, Mapping):
        return "not run"
    bits = model.get("bits_per_weight")
    told = f", {bits:.2f} bits per weight" if isinstance(bits, (int, float)) else ""
    return f"{model.get('architecture', '')} {str(model.get('sha256', ''))[:16]}{told}".strip()


def _flat(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{at}.{key}" if at else str(key))
    else:
        yield at, value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _diff(a: str | None, b: str | None) -> str:
    if a is None or b is None:
        return ""
    return "\n".join(difflib.unified_diff(a.splitlines(), b.splitlines(), "A", "B", lineterm=""))


def _flips(arm: ArmsCompared, a: Sequence[Scored], b: Sequence[Scored]) -> Iterator[Flip]:
    wanted = {*arm.won, *arm.lost}
    before, after = (
        {
            (row.sample.suite, row.sample.id): row
            for row in reversed(rows)  # the first epoch stays
            if row.condition == condition and (row.sample.suite, row.sample.id) in wanted
        }
        for rows, condition in ((a, arm.a), (b, arm.b))
    )
    for outcome, items in (("lost", arm.lost), ("won", arm.won)):
        for item in items:
            yield _flip(item, outcome, before.get(item), after.get(item))


def _flip(item: Item, outcome: str, before: Scored | None, after: Scored | None) -> Flip:
    faulted = after if outcome == "lost" else before
    reasons = [r for r in faulted.results if r.strict is False] if faulted else []
    return Flip(
        item=item[1],
        suite=item[0],
        outcome=outcome,
        a=_answer(before),
        b=_answer(after),
        reason="; ".join(f"{r.check_id}: {r.reason}" for r in reasons) or "no answer",
    )


def _answer(row: Scored | None) -> str:
    if row is None or row.generation.finish_reason == "failed":
        return "(no answer)"
    text = row.response
    return text if len(text) <= ANSWER else text[:ANSWER] + "…"
