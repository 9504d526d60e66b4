"""The picture of what a level buys: score and divergence against size and against speed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.analysis import Analysis
from harness.analysis.levels import LevelRow, level_rows
from harness.records import Estimate
from harness.reporting.plots.drawing import GREY, OTHERS, Figure, Look, counted, error, label
from harness.sanitize import for_terminal


@dataclass(frozen=True, slots=True)
class Axis:
    """A figure of a level: its name, its value (None: not known), and which way is better."""

    name: str
    value: Callable[[LevelRow], float | None]
    more: bool
    log: bool = False


def _score(row: LevelRow) -> Estimate | None:
    return row.summary.headline.prompt_strict if row.summary else None


def _percent(row: LevelRow) -> float | None:
    score = _score(row)
    return None if score is None or score.value is None else 100 * score.value


SIZE = Axis("file size, MB", lambda row: row.facts.size / 1e6 if row.facts else None, more=False)
SPEED = Axis("decode, tokens/s", lambda row: row.speed.decode if row.speed else None, more=True)
SCORE = Axis("prompt-level strict accuracy, %", _percent, more=True)
DIVERGENCE = Axis(
    "mean KLD, nats (log scale)",
    lambda row: row.divergences[0].mean_kld or None if row.divergences else None,
    more=False,
    log=True,
)

Point = tuple[float, float, LevelRow]


def draw(analysis: Analysis, path: Path) -> str:
    """Draw it where divergences or speeds were measured; its caption, empty where nothing is."""
    arms = [(label(arm), rows) for arm, rows in level_rows(analysis).items()]
    panels = [
        (across, up)
        for up in (SCORE, DIVERGENCE)
        for across in (SIZE, SPEED)
        if any(len(points(rows, across, up)) > 1 for _, rows in arms)
    ]
    if not any(up is DIVERGENCE or across is SPEED for across, up in panels):
        return ""
    height = (len(panels) + 1) // 2
    with Figure(path, width=9.5, height=3.4 * height + 0.5) as figure:
        drawn = figure.subplots(height, min(2, len(panels)), squeeze=False).ravel()
        for axes, (across, up) in zip(drawn, panels, strict=False):
            for look, (name, rows) in zip(OTHERS, arms, strict=False):
                _arm(axes, look, name, points(rows, across, up), across, up)
            _dress(axes, across, up)
        for axes in drawn[len(panels) :]:
            axes.set_visible(False)
        drawn[0].legend(frameon=False, fontsize=8.5, loc="best")
        figure.suptitle("What a level buys", x=0.02, ha="left", fontsize=11)
    scores = [score for _, rows in arms for row in rows if (score := _score(row))]
    return (
        "Score and KL divergence of each level against file size and decoding speed; lines join "
        "the levels that none beats in both (the Pareto front), the others are hollow. Divergence "
        f"over the reference's own answers. {counted(scores)}, one at a time."
    )


def points(rows: Sequence[LevelRow], across: Axis, up: Axis) -> list[Point]:
    """The levels of which both figures are known, by the first of them."""
    found = [
        (x, y, row)
        for row in rows
        if (x := across.value(row)) is not None and (y := up.value(row)) is not None
    ]
    return sorted(found, key=lambda point: point[:2])


def front(found: Sequence[Point], across: Axis, up: Axis) -> list[Point]:
    """The points that no other is at least as good as in both figures, and better in one."""

    def worth(point: Point) -> tuple[float, float]:
        return (
            point[0] if across.more else -point[0],
            point[1] if up.more else -point[1],
        )

    return [
        point
        for point in found
        if not any(
            worth(other) != worth(point)
            and all(a >= b for a, b in zip(worth(other), worth(point), strict=True))
            for other in found
        )
    ]


def _arm(axes: Any, look: Look, name: str, found: Sequence[Point], across: Axis, up: Axis) -> None:
    best = front(found, across, up)
    axes.plot(
        [x for x, _, _ in best],
        [y for _, y, _ in best],
        linestyle=look.line,
        color=look.colour,
        marker=look.marker,
        markersize=6,
        linewidth=1.6,
        label=for_terminal(name),
    )
    for x, y, row in found:
        score = _score(row)
        if up is SCORE and score is not None:
            below, above = error(score)
            axes.errorbar(x, y, yerr=[[below], [above]], color=look.colour, linewidth=0.8)
        if (x, y, row) not in best:
            axes.plot(x, y, marker=look.marker, color=look.colour, fillstyle="none", markersize=6)
        axes.annotate(
            for_terminal(row.condition.level)[:20],
            (x, y),
            xytext=(3, 4),
            textcoords="offset points",
            fontsize=7,
            color=GREY,
            rotation=40,
        )


def _dress(axes: Any, across: Axis, up: Axis) -> None:
    axes.set_xlabel(across.name + (" (more is better)" if across.more else " (less is better)"))
    axes.set_ylabel(up.name)
    if up.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.minorticks_off()
    axes.margins(x=0.15, y=0.15)
