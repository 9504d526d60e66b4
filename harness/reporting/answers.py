"""Three items answered by the raw base, its best wrapper and the instruct model, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.analysis import Analysis
from harness.hashing import tagged_hash
from harness.numbers import size
from harness.records import Condition, Scored
from harness.reporting.markdown import code, paragraphs
from harness.sanitize import fence, for_markdown

SHOWN = 3
ALL_SHOWN = 30
"""Most items shown where nothing was judged: the answers are all there is to read."""
_LONGEST = 1200

_WANTED = (
    ((False, True, True), "the wrapper recovers what raw misses"),
    ((False, False, True), "only the instruct model does it"),
    ((False, True, False), "the wrapper does what instruct does not"),
    ((True, True, True), "all three do it"),
    ((False, False, False), "none of the three does it"),
)


def side_by_side(analysis: Analysis, scored: Sequence[Scored]) -> str:
    """Up to three items, each an example of another outcome where the run has one.

    Within an outcome the item is the first by hash: nobody chose it for its looks.
    """
    best = analysis.best_at(analysis.level)
    if analysis.raw is None or analysis.instruct is None or best is None:
        return ""
    arms = (analysis.raw, best.winner, analysis.instruct)
    items = _answered_by_all(scored, arms, analysis.headline_kinds)
    picks = _pick(items, analysis.seed)
    if not picks:
        return ""
    return paragraphs(
        "Each shows another outcome where there is one; within an outcome the first item by hash.",
        *(_item(number, why, rows, arms) for number, (why, rows) in enumerate(picks, start=1)),
    )


def every_answer(analysis: Analysis, scored: Sequence[Scored]) -> str:
    """The items of a run that nobody judged, with every arm's answer at the reference level."""
    arms = [item.condition for item in analysis.conditions]
    arms = [arm for arm in arms if arm.level == analysis.level] or arms
    items: dict[tuple[str, str], dict[Condition, Scored]] = {}
    for row in scored:
        if row.condition in arms and row.epoch == 0:
            items.setdefault((row.sample.suite, row.sample.id), {})[row.condition] = row
    shown = list(items.values())[:ALL_SHOWN]
    more = len(items) - len(shown)
    told = [
        _item(
            number, "", [rows[arm] for arm in arms if arm in rows], [a for a in arms if a in rows]
        )
        for number, rows in enumerate(shown, start=1)
    ]
    left = f"{size(more, 'more item')} in report.html and samples.jsonl." if more > 0 else ""
    return paragraphs(*told, left)


def _answered_by_all(
    scored: Sequence[Scored], arms: Sequence[Condition], kinds: Sequence[str]
) -> dict[str, tuple[Scored, ...]]:
    """Items with a first-epoch answer and a verdict from each arm, by suite and id."""
    found: dict[str, dict[Condition, Scored]] = {}
    for row in scored:
        condition = row.condition
        wanted = condition in arms and row.epoch == 0 and row.sample.kind in kinds
        answered = row.passed is not None
        if wanted and answered:
            found.setdefault(f"{row.sample.suite}\n{row.sample.id}", {})[condition] = row
    return {
        name: tuple(rows[arm] for arm in arms)
        for name, rows in found.items()
        if len(rows) == len(set(arms))
    }


def _pick(
    items: Mapping[str, tuple[Scored, ...]], seed: int
) -> list[tuple[str, tuple[Scored, ...]]]:
    order = sorted(items, key=lambda name: tagged_hash("example", [seed, name]))
    picks: list[tuple[str, tuple[Scored, ...]]] = []
    taken: set[str] = set()
    for pattern, why in _WANTED:
        for name in order:
            if len(picks) < SHOWN and tuple(row.passed for row in items[name]) == pattern:
                picks.append((why, items[name]))
                taken.add(name)
                break
    for name in order:
        if len(picks) < SHOWN and name not in taken:
            picks.append(("another item", items[name]))
    return picks


def _item(number: int, why: str, rows: Sequence[Scored], arms: Sequence[Condition]) -> str:
    sample = rows[0].sample
    turns = [f"[{turn.role}] {turn.content}" for turn in sample.messages]
    asked = sample.query if len(turns) == 1 else "\n\n".join(turns)
    return paragraphs(
        f"### {number}. {code(sample.id)}{why and ': '}{why}",
        fence(_short(asked)),
        *(_answer(row, arm) for row, arm in zip(rows, arms, strict=True)),
    )


def _answer(row: Scored, arm: Condition) -> str:
    generation = row.generation
    failed = [r for r in row.results if r.strict is False]
    if failed:
        reasons = "; ".join(
            f"{code(r.check_id)} ({for_markdown(_short(r.reason, 120))})" for r in failed
        )
        verdict = f"fails {reasons}"
    else:
        verdict = "passes" if row.passed else "was not judged"
    rest = generation.text[len(generation.answer) :]
    stop = next((stop for stop in row.stops if rest.startswith(stop)), "")
    more = len(rest) - len(stop)
    cut = f"; {size(more, 'character')} after the stop string not shown" if more > 0 else ""
    return paragraphs(
        f"**{for_markdown(arm.stage)} · {code(arm.strategy)}** {verdict}. Ended by "
        f"{generation.finish_reason} after {size(generation.completion_tokens, 'token')}{cut}:",
        fence(_short(generation.answer)),
    )


def _short(text: str, longest: int = _LONGEST) -> str:
    if len(text) <= longest:
        return text
    return f"{text[:longest]}… ({size(len(text) - longest, 'more character')} in samples.jsonl)"
