"""A run's answers for a reader: which items failed, why, and what each arm said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import ConfigError
from harness.intake import near, shown
from harness.records import Condition, Scored, Span
from harness.reporting.folder import Run
from harness.reporting.tables import ordered


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which answers to show; everything left out restricts nothing.

    ``arms`` and ``differ`` name conditions as :func:`arms_named` reads them.
    """

    items: Collection[str] = ()
    failed: bool = False
    arms: Sequence[str] = ()
    check: str | None = None
    category: str | None = None
    differ: tuple[str, str] | None = None


def chosen(run: Run, wanted: Wanted) -> list[Scored]:
    """The answers that are wanted, item by item. Raises ConfigError for a name the run lacks."""
    rows = ordered(run.scored)
    _known("item", wanted.items, {row.sample.id for row in rows})
    arms = {arm for name in wanted.arms for arm in arms_named(run, name)}
    if wanted.category is not None:
        _known("category", [wanted.category], {row.sample.category for row in rows})
    if wanted.check is not None:
        every = {spec.id for row in rows for spec in row.sample.checks}
        _known("check", [wanted.check], every | {r.check_id for row in rows for r in row.results})
    if wanted.differ is not None:
        pair = [arms_named(run, name) for name in wanted.differ]
        differing = _differing(rows, pair[0], pair[1])
        rows = [row for row in rows if _item(row) in differing]
        arms = arms or {*pair[0], *pair[1]}
    return [
        row
        for row in rows
        if (not wanted.items or row.sample.id in wanted.items)
        and (not arms or row.condition in arms)
        and (wanted.category is None or row.sample.category == wanted.category)
        and (not wanted.failed or row.passed is not True)
        and (wanted.check is None or _concerns(row, wanted.check, failed=wanted.failed))
    ]


def arms_named(run: Run, name: str) -> list[Condition]:
    """The conditions that ``stage/level/strategy``, a part of it, or a strategy names."""
    conditions = sorted({row.condition for row in run.scored})
    exact = [c for c in conditions if str(c) == name]
    found = exact or [
        c
        for c in conditions
        if name in (c.strategy, c.stage, c.level, str(c.cell), f"{c.stage}/{c.strategy}")
    ]
    if not found:
        names = [str(c) for c in conditions] + [c.strategy for c in conditions]
        raise ConfigError(
            f"no arm {name!r:.80} in {run.folder}; {near(name, names)}"
            f"there are {', '.join(map(str, conditions))}"
        )
    return found


def as_json(rows: Sequence[Scored]) -> list[dict[str, Any]]:
    """Each answer as a mapping, with documented keys (``docs/looking.md``)."""
    return [
        {
            "sample_id": row.sample.id,
            "suite": row.sample.suite,
            "category": row.sample.category,
            "metadata": dict(row.sample.metadata),
            "condition": str(row.condition),
            "epoch": row.epoch,
            "messages": [
                {"role": turn.role, "content": turn.content} for turn in row.sample.messages
            ],
            "prompt": row.prompt,
            "prefill": row.prefill,
            "answer": row.generation.answer,
            "text": row.generation.text,
            "finish_reason": row.generation.finish_reason,
            "passed": row.passed,
            "checks": [
                {
                    "id": result.check_id,
                    "strict": result.strict,
                    "loose": result.loose,
                    "reason": result.reason,
                    "spans": [list(place) for place in result.spans],
                }
                for result in row.results
            ],
            "error": row.generation.error,
        }
        for row in rows
    ]


def as_text(rows: Sequence[Scored], *, items: int | None = None) -> str:
    """The answers item by item: question, then each arm's prompt, answer, verdicts and reasons.

    At most ``items`` items; the last line says how many more there are. The caller escapes it.
    """
    by_item: dict[tuple[str, str], list[Scored]] = {}
    for row in rows:
        by_item.setdefault(_item(row), []).append(row)
    first = list(by_item.values())[:items]
    blocks = ["\n".join(_block(group)) for group in first]
    if len(by_item) > len(first):
        blocks.append(f"... and {len(by_item) - len(first)} more items (--limit)")
    return "\n\n".join(blocks)


def overview(run: Run, rows: Sequence[Scored]) -> str:
    """Items by arms (``+`` passes, ``-`` fails, ``?`` missing), and what each check faulted."""
    arms = sorted({row.condition for row in rows if row.condition.stage != "control"})
    marks: dict[tuple[str, str], dict[Condition, str]] = {}
    for row in rows:
        cell = marks.setdefault(_item(row), {})
        cell[row.condition] = (
            cell.get(row.condition, "") + {True: "+", False: "-", None: "?"}[row.passed]
        )
    lines = [f"{run.folder}: {len(marks)} items, {len(arms)} arms"]
    lines += [f"  {number:>3}  {arm}" for number, arm in enumerate(arms, start=1)]
    width = max((len(name) for _, name in marks), default=4)
    wide = max([3, *(len(text) for cell in marks.values() for text in cell.values())])
    lines.append(
        f"{'item':<{width}}  " + " ".join(f"{number:>{wide}}" for number in range(1, len(arms) + 1))
    )
    for (_, name), cell in marks.items():
        lines.append(
            f"{name:<{width}}  " + " ".join(f"{cell.get(arm, ''):>{wide}}" for arm in arms)
        )
    lines += ["", *per_check(rows, arms)]
    lines.append("look closer: harness show RUN --item ID, --failed, --arm A, --differ A B")
    return "\n".join(line.rstrip() for line in lines)


def per_check(rows: Sequence[Scored], arms: Sequence[Condition]) -> Iterator[str]:
    """How often each check passes in each arm: ``passed/judged``."""
    judged: Counter[tuple[str, Condition]] = Counter()
    passed: Counter[tuple[str, Condition]] = Counter()
    for row in rows:
        for result in row.results:
            if result.strict is not None:
                judged[result.check_id, row.condition] += 1
                passed[result.check_id, row.condition] += result.strict
    checks = sorted({check for check, arm in judged if arm in arms})
    if not checks:
        return
    width = max(map(len, checks))
    wide = max(3, *(len(f"{n}/{n}") for n in judged.values()))
    head = " ".join(f"{number:>{wide}}" for number in range(1, len(arms) + 1))
    yield f"{'check':<{width}}  {head}"
    for check in checks:
        cells = (
            f"{passed[check, arm]}/{judged[check, arm]}" if judged[check, arm] else ""
            for arm in arms
        )
        yield f"{check:<{width}}  " + " ".join(f"{text:>{wide}}" for text in cells)


def _block(rows: Sequence[Scored]) -> Iterator[str]:
    sample = rows[0].sample
    yield f"=== {sample.id} ({sample.suite}, {sample.category})"
    for name, value in sample.metadata.items():
        yield f"  {name}: {shown(value)}"
    for turn in sample.messages:
        yield from _quoted(turn.role, turn.content)
    for row in rows:
        verdict = {True: "passes", False: "FAILS", None: "not judged"}[row.passed]
        if row.generation.finish_reason == "failed":
            verdict = "MISSING"
        epoch = f" epoch {row.epoch}" if row.epoch else ""
        ended = f"{row.generation.finish_reason}, {row.generation.completion_tokens} tokens"
        yield ""
        yield f"--- {row.condition}{epoch}: {verdict} ({ended})"
        if row.prompt:
            yield from _quoted("prompt", row.prompt)
        if row.generation.error:
            yield from _quoted("error", row.generation.error)
        else:
            yield from _quoted("answer", row.response)
            rest = row.generation.text[len(row.generation.answer) :]
            if rest and row.generation.text.startswith(row.generation.answer):
                yield from _quoted("from the stop on", rest)
        for result in row.results:
            mark = {True: "pass", False: "FAIL", None: "unsupported"}[result.strict]
            loose = " (loose: pass)" if result.loose and result.strict is False else ""
            yield f"  {mark}{loose}  {result.check_id}: {result.reason}"
            yield from _places(row.response, result.spans)


_AROUND, _PLACES = 24, 5


def _places(text: str, spans: Sequence[Span]) -> Iterator[str]:
    """What decided a verdict, between ``»`` and ``«``, with the text around it."""
    for start, end in spans[:_PLACES]:
        before, after = text[max(0, start - _AROUND) : start], text[end : end + _AROUND]
        yield f"        {start}: " + " ".join(f"{before}»{text[start:end]}«{after}".split())
    if len(spans) > _PLACES:
        yield f"        and {len(spans) - _PLACES} more places"


def _quoted(name: str, text: str) -> Iterator[str]:
    yield f"  {name}:"
    for line in text.split("\n"):
        yield f"  | {line}"


def _item(row: Scored) -> tuple[str, str]:
    return (row.sample.suite, row.sample.id)


def _concerns(row: Scored, check: str, *, failed: bool) -> bool:
    judged = [result.strict for result in row.results if result.check_id == check]
    if not judged:  # a missing answer has no verdicts, but was asked
        return any(spec.id == check for spec in row.sample.checks) and not row.results
    return not failed or not all(judged)


def _differing(
    rows: Sequence[Scored], one: Collection[Condition], other: Collection[Condition]
) -> set[tuple[str, str]]:
    """Items on which the two (groups of) arms do not come to the same verdicts."""
    found: dict[tuple[str, str], tuple[set[bool | None], set[bool | None]]] = {}
    for row in rows:
        sides = found.setdefault(_item(row), (set(), set()))
        if row.condition in one:
            sides[0].add(row.passed)
        if row.condition in other:
            sides[1].add(row.passed)
    return {item for item, (a, b) in found.items() if a and b and a != b}


def _known(what: str, names: Collection[str], accepted: Collection[str]) -> None:
    for name in names:
        if name not in accepted:
            hint = near(name, accepted).strip() or "`harness show` lists what there is"
            raise ConfigError(f"no {what} {name!r:.80} in this run; {hint}")
