"""report.html: the decision, the figures and every answer in one page that needs nothing else.

The page is data, markup, one style sheet and one script, all inside the file; its content security
policy allows these and nothing from elsewhere. Figures are plain HTML and can be read without the
script; the explorer of answers unpacks its data (JSON, deflated) in the browser and puts every text
into the page as text. Runs too large for one page are spread over several.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness import numbers
from harness.analysis import Analysis, ConditionSummary, decide
from harness.choice import Choice
from harness.records import Condition, RunManifest, Scored
from harness.reporting.choice import TITLE, html_values
from harness.reporting.html.explorer import packed_answers
from harness.reporting.html.parts import part, policy, template
from harness.reporting.html.sections import as_html
from harness.reporting.levels import level_tables
from harness.reporting.plots import USES
from harness.reporting.report import scrutiny, spread
from harness.reporting.scrub import scrub, scrub_text
from harness.reporting.shift import shift_table
from harness.sanitize import for_terminal


def pages(
    analysis: Analysis,
    scored: Sequence[Scored],
    manifest: RunManifest,
    *,
    description: str,
    warnings: Sequence[str],
    command: str,
    plots: Mapping[str, str],
    images: Mapping[str, bytes],
    choice: Choice | None = None,
) -> Iterator[tuple[str, str]]:
    """The report's pages, file name and content; ``images`` are the plots' bytes by name."""
    order = {item.condition: place for place, item in enumerate(analysis.conditions)}
    packed = list(packed_answers(scored, order, analysis.measured))
    names = [_page_name(number) for number in range(len(packed))]
    style, script = part("page.css"), part("page.js")
    shared: dict[str, Any] = {
        "title": str(manifest.experiment.get("name", "run")),
        "style": style,
        "script": script,
        "policy": policy(style, script),
        "names": names,
        "warnings": [scrub_text(text) for text in warnings],
        "clean": for_terminal,
    }
    figures = {
        "description": scrub_text(description),
        "decisions": decide(analysis),
        "pictures": [
            _drawn(plots, images, name) for name in plots if name in images and name != USES
        ],
        "uses": choice and html_values(choice, choice.ran, _drawn(plots, images, USES)),
        "uses_title": TITLE,
        "level": analysis.level,
        "arms": [_arm(analysis, item) for item in (*analysis.conditions, *analysis.controls)],
        "shares": _shares(analysis),
        "sections": _sections(analysis, manifest),
        "text_tables": [*level_tables(analysis), *filter(None, [shift_table(analysis)])],
        "categories": sorted(analysis.categories),
        "heat": _heat(analysis),
        "checks": _checks(scored, analysis),
        "manifest": json.dumps(scrub(manifest), indent=2, sort_keys=True, ensure_ascii=False),
        "command": scrub_text(command),
    }
    for number, answers in enumerate(packed):
        own = {"packed": answers, "number": number, "count": len(packed)}
        more = figures if number == 0 else {}
        yield (
            names[number],
            template("page.html.jinja").render(**shared, **own, **more, first=number == 0),
        )


def _drawn(plots: Mapping[str, str], images: Mapping[str, bytes], name: str) -> tuple[str, str]:
    """A picture's caption and its bytes in base64; both empty where it was not drawn."""
    return plots.get(name, ""), base64.b64encode(images.get(name, b"")).decode("ascii")


def _sections(analysis: Analysis, manifest: RunManifest) -> list[tuple[str, str, str]]:
    """What stands behind the answer: id, title and HTML of each section that has anything."""
    if not analysis.judged:
        return []
    found = [*scrutiny(analysis, manifest), ("Predictability", spread(analysis))]
    return [
        (name, title, as_html(text, name))
        for title, text in found
        if text.strip()
        for name in (title.lower().replace(" ", "-"),)
    ]


def _page_name(number: int) -> str:
    return "report.html" if number == 0 else f"report-{number + 1}.html"


def _arm(analysis: Analysis, item: ConditionSummary) -> dict[str, Any]:
    """A row of the table of conditions: texts with the numbers they are sorted by."""
    metrics, finish = item.headline, item.finish
    unended = finish.get("length", 0.0) + finish.get("loop", 0.0)
    return {
        "stage": item.condition.stage,
        "level": item.condition.level,
        "strategy": item.condition.strategy,
        "reference": item.condition.level in (analysis.level, "-"),
        "cells": [
            (numbers.rate(metrics.prompt_strict), metrics.prompt_strict.value),
            (numbers.percent(metrics.null_corrected.value), metrics.null_corrected.value),
            (numbers.rate(metrics.inst_strict), metrics.inst_strict.value),
            (numbers.decimal(item.bits_per_weight, 2), item.bits_per_weight),
            (numbers.decimal(item.mean_prompt_tokens, 0), item.mean_prompt_tokens),
            (numbers.percent(item.eos_rate, 0), item.eos_rate),
            (numbers.percent(finish.get("stop"), 0), finish.get("stop")),
            (numbers.percent(unended, 0), unended),
            (numbers.percent(item.missing_share, 0), item.missing_share),
        ],
    }


def _shares(analysis: Analysis) -> list[list[tuple[str, float | None]]]:
    """Recovered shares against raw: one row per wrapper and level, best first within a level."""
    rows = []
    against_raw = [item for item in analysis.shares if item.control.strategy == "raw"]
    for item in sorted(
        against_raw,
        key=lambda item: (
            analysis.levels.index(item.wrapper.level),
            -(item.recovery.gain.value or 0.0),
        ),
    ):
        found = item.recovery
        rows.append(
            [
                (item.wrapper.strategy, None),
                (item.wrapper.level, None),
                (numbers.rate(found.share), found.share.value),
                (numbers.points(found.gain), found.gain.value),
                (numbers.points(found.rest), found.rest.value),
            ]
        )
    return rows


def _heat(analysis: Analysis) -> list[dict[str, Any]]:
    """Score by category at the reference level, each with a shade from 0 to 10."""
    rows = []
    for item in analysis.conditions:
        if item.condition.level != analysis.level:
            continue
        cells = []
        for category in sorted(analysis.categories):
            estimate = item.categories.get(category)
            value = estimate.value if estimate else None
            shown = numbers.percent(value, 0)
            cells.append((shown, "none" if value is None else f"h{round(10 * value)}"))
        rows.append({"arm": f"{item.condition.stage} {item.condition.strategy}", "cells": cells})
    return rows


def _checks(scored: Sequence[Scored], analysis: Analysis) -> dict[str, Any]:
    """How often each check passes in each arm at the reference level."""
    arms = [
        item.condition for item in analysis.conditions if item.condition.level == analysis.level
    ]
    counts: dict[str, dict[Condition, list[int]]] = {}
    for row in scored:
        if row.condition not in arms:
            continue
        for result in row.results:
            if result.strict is not None:
                tally = counts.setdefault(result.check_id, {}).setdefault(row.condition, [0, 0])
                tally[0] += result.strict
                tally[1] += 1
    rows = []
    for name in sorted(counts):
        cells: list[tuple[str, float | None]] = []
        for arm in arms:
            passed, n = counts[name].get(arm, [0, 0])
            share = passed / n if n else None
            cells.append((f"{passed}/{n}" if n else numbers.NOTHING, share))
        rows.append((name, cells))
    return {"arms": [f"{arm.stage} {arm.strategy}" for arm in arms], "rows": rows}
