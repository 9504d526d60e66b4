"""A comparison of two runs in words: for a terminal, a pull request, a browser, a program."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harness import numbers
from harness.analysis.between import ArmsCompared
from harness.reporting.compare import Compared
from harness.reporting.markdown import code, paragraphs, table
from harness.sanitize import fence, for_html, for_markdown

SHOWN = 10
"""Items shown of an arm's wins, and of its losses."""


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
