"""Two runs side by side: what differs between them, then what it did to the answers."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness import numbers
from harness.analysis.between import ArmsCompared, Item, RunsCompared, compare_rows
from harness.records import Scored
from harness.reporting.folder import Run
from harness.reporting.markdown import code, paragraphs, table
from harness.sanitize import fence, for_html, for_markdown

SHOWN = 10
"""Items shown of an arm's wins, and of its losses."""
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


def _told(arm: ArmsCompared) -> list[str]:
    """An arm's figures, in the order of every form's columns."""
    comparison = arm.comparison
    name = str(arm.b) if arm.a == arm.b else f"{arm.a} → {arm.b}"
    return [
        name,
        numbers.points(comparison.delta),
        numbers.outcomes(comparison),
        numbers.p_value(comparison.adjusted_p),
    ]


COLUMNS = ("arm", "B − A", "won / lost / tied", "adjusted p")


def _scope(found: Compared) -> list[str]:
    """What is compared, and what is left out of it."""
    result = found.result
    many = len(result.arms) > 1
    together = (
        "intervals are 95 % for all arms together, p is adjusted for their number (Bonferroni)"
        if many
        else "the interval is 95 %"
    )
    lines = [
        f"{numbers.size(result.items, 'item')} asked alike in both runs, "
        f"{numbers.size(len(result.arms), 'arm')} compared; {together}; a missing answer is wrong."
    ]
    if result.unchanged:
        lines.append(
            f"{numbers.size(len(result.unchanged), 'arm')} with the very same requests and "
            f"verdicts in both: {_some([str(arm) for arm in result.unchanged])}."
        )
    if not found.arguments:
        lines.append(
            "One folder is old and does not hold its checks' arguments: only the checks' names "
            "were compared."
        )
    if result.changed:
        lines.append(
            f"{numbers.size(len(result.changed), 'item')} left out: the prompt or its checks "
            f"differ ({_some([item[1] for item in result.changed])})."
        )
    for side, count in zip("AB", result.items_only, strict=True):
        if count:
            lines.append(f"{numbers.size(count, 'item')} only in {side}, left out.")
    for side, arms in zip("AB", result.arms_only, strict=True):
        if arms:
            lines.append(f"Only in {side}: {_some([str(arm) for arm in arms])}.")
    return lines


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def as_text(found: Compared) -> str:
    """For a terminal; the caller escapes it."""
    lines = [f"A: {found.a}", f"B: {found.b}", "", *_differ_lines(found), ""]
    lines += [*_scope(found), ""]
    rows = [COLUMNS, *map(_told, found.result.arms)] if found.result.arms else []
    widths = [max((len(row[n]) for row in rows), default=0) for n in range(len(COLUMNS))]
    lines += ["  ".join(f"{t:<{w}}" for t, w in zip(row, widths, strict=True)) for row in rows]
    for arm, flips in found.flips.items():
        for outcome in ("lost", "won"):
            shown = [flip for flip in flips if flip.outcome == outcome]
            if shown:
                lines += ["", f"{arm}: {len(shown)} {outcome}"]
            for flip in shown[:SHOWN]:
                lines += [f"  {flip.item}  ({flip.reason})", f"    A: {flip.a!r}"]
                lines += [f"    B: {flip.b!r}"]
            if len(shown) > SHOWN:
                lines.append(f"  ... and {len(shown) - SHOWN} more (--format json has all)")
    return "\n".join([*lines, "", *_decided(found)])


def _differ_lines(found: Compared) -> list[str]:
    if not found.differences:
        return ["The manifests say the same."]
    lines = ["What differs:"]
    for item in found.differences:
        lines.append(f"  {item.what}: {item.a}  →  {item.b}")
        lines += [f"    {line}" for line in item.diff.split("\n") if item.diff]
    return lines


def _decided(found: Compared) -> list[str]:
    decision = found.result.decision
    settle = [f"What would settle it: {decision.settle}."] if decision.settle else []
    return [f"{decision.verdict}: {decision.sentence}", *settle]


def as_markdown(found: Compared) -> str:
    """For a pull request's comment."""
    decision = found.result.decision
    rows = [[for_markdown(text) for text in _told(arm)] for arm in found.result.arms]
    differ = [
        [for_markdown(item.what), for_markdown(item.a), for_markdown(item.b)]
        for item in found.differences
    ]
    return (
        paragraphs(
            f"## {for_markdown(decision.verdict)}: {for_markdown(decision.sentence)}",
            f"A is {code(found.a)}, B is {code(found.b)}.",
            *([for_markdown(f"What would settle it: {decision.settle}.")] * bool(decision.settle)),
            "### What differs",
            table(["", "A", "B"], differ, left=3) if differ else "The manifests say the same.",
            *(fence(item.diff, "diff") for item in found.differences if item.diff),
            "### Arms",
            *map(for_markdown, _scope(found)),
            table(COLUMNS, rows) if rows else "",
            *_markdown_flips(found),
        )
        + "\n"
    )


def _markdown_flips(found: Compared) -> Iterator[str]:
    for arm, flips in found.flips.items():
        if not flips:
            continue
        rows = [
            [for_markdown(text) for text in (flip.item, flip.outcome, flip.a, flip.b, flip.reason)]
            for flip in flips[: 2 * SHOWN]
        ]
        yield f"### {for_markdown(arm)}"
        yield table(["item", "B", "answer A", "answer B", "because"], rows, left=5)
        if len(flips) > 2 * SHOWN:
            yield f"… and {len(flips) - 2 * SHOWN} more"


def as_html(found: Compared) -> str:
    """One page without scripts, which nothing from elsewhere is loaded into."""
    decision = found.result.decision
    parts = [
        f"<h1>{for_html(decision.verdict)}: {for_html(decision.sentence)}</h1>",
        f"<p>A is <code>{for_html(found.a)}</code>, B is <code>{for_html(found.b)}</code>.</p>",
    ]
    if decision.settle:
        parts.append(f"<p>What would settle it: {for_html(decision.settle)}.</p>")
    parts.append("<h2>What differs</h2>")
    differ = [(item.what, item.a, item.b) for item in found.differences]
    parts.append(
        _html_table(("", "A", "B"), differ) if differ else "<p>The manifests say the same.</p>"
    )
    parts += [f"<pre>{for_html(item.diff)}</pre>" for item in found.differences if item.diff]
    parts.append("<h2>Arms</h2>")
    parts += [f"<p>{for_html(line)}</p>" for line in _scope(found)]
    parts.append(_html_table(COLUMNS, map(_told, found.result.arms)))
    for arm, flips in found.flips.items():
        if flips:
            rows = [(flip.item, flip.outcome, flip.a, flip.b, flip.reason) for flip in flips]
            parts.append(f"<h2>{for_html(arm)}</h2>")
            parts.append(_html_table(("item", "B", "answer A", "answer B", "because"), rows))
    return _PAGE.format(title=for_html(decision.sentence), body="\n".join(parts))


def _html_table(columns: Sequence[str], rows: Any) -> str:
    head = "".join(f"<th scope=col>{for_html(name)}</th>" for name in columns)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{for_html(text)}</td>" for text in row) + "</tr>" for row in rows
    )
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>"


_PAGE = """<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<meta http-equiv=Content-Security-Policy content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 70rem; margin: auto; padding: 1rem }}
div {{ overflow-x: auto }}
table {{ border-collapse: collapse }}
th, td {{ border: 1px solid; padding: .3rem .6rem; text-align: left; vertical-align: top;
  white-space: pre-wrap; overflow-wrap: anywhere }}
pre {{ overflow-x: auto }}
</style>
<main>
{body}
</main>
</html>
"""


def as_json(found: Compared) -> str:
    """Everything, for a program."""
    result = found.result
    value = {
        "a": found.a,
        "b": found.b,
        "decision": asdict(result.decision),
        "differences": [asdict(item) for item in found.differences],
        "items": result.items,
        "items_changed": [item[1] for item in result.changed],
        "arms_unchanged": [str(arm) for arm in result.unchanged],
        "items_only_in_a": result.items_only[0],
        "items_only_in_b": result.items_only[1],
        "arms_only_in_a": [str(arm) for arm in result.arms_only[0]],
        "arms_only_in_b": [str(arm) for arm in result.arms_only[1]],
        "arms": [
            {
                "a": str(arm.a),
                "b": str(arm.b),
                "delta": arm.comparison.delta.value,
                "low": arm.comparison.delta.low,
                "high": arm.comparison.delta.high,
                "level": arm.comparison.delta.level,
                "p": arm.comparison.p,
                "adjusted_p": arm.comparison.adjusted_p,
                "wins": arm.comparison.wins,
                "losses": arm.comparison.losses,
                "ties": arm.comparison.ties,
                "flips": [asdict(flip) for flip in found.flips[str(arm.b)]],
            }
            for arm in result.arms
        ],
    }
    return json.dumps(value, ensure_ascii=True, indent=1) + "\n"


FORMATS: Mapping[str, Callable[[Compared], str]] = {
    "text": as_text,
    "md": as_markdown,
    "html": as_html,
    "json": as_json,
}
