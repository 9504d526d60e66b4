"""The picture of quantization: scores against effective bits per weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.analysis import Analysis
from harness.records import Estimate
from harness.reporting.plots.drawing import (
    BASE,
    BEST,
    GREY,
    INSTRUCT,
    OTHERS,
    Figure,
    Look,
    counted,
    error,
    label,
)
from harness.sanitize import for_terminal

Point = tuple[float, Estimate, str]
"""Effective bits per weight, a score, the level's name."""

_TICKS = (1, 1.5, 2, 3, 4, 5, 6, 8, 12, 16, 32)


@dataclass(frozen=True, slots=True)
class Line:
    """One arm over the levels."""

    name: str
    look: Look
    points: list[Point]


def draw(analysis: Analysis, path: Path) -> str:
    """Draw it where two levels have a size; its caption, empty where nothing is drawn."""
    lines = lines_of(analysis)
    if not lines:
        return ""
    with Figure(path, width=7.5, height=4.8) as figure:
        axes = figure.subplots()
        for line in lines:
            _line(axes, line)
        _bits_axis(axes, [bits for line in lines for bits, _, _ in line.points])
        axes.set_ylim(bottom=-0.02 * axes.get_ylim()[1])
        axes.set_ylabel("prompt-level strict accuracy, %")
        rows = _name_levels(axes, level_places(lines))
        axes.set_title("Score by quantization level", pad=8 + 11 * rows)
        axes.legend(
            frameon=False,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.15),
            ncols=min(3, len(lines)),
            fontsize=8.5,
            handlelength=3.5,
        )
    return _caption(analysis, lines)


def lines_of(analysis: Analysis) -> list[Line]:
    """Instruct, best wrapper and raw over the levels; without such a pair each arm by itself.

    Empty unless two levels of one line have a size.
    """
    lines = _pair(analysis) or _every_arm(analysis)
    lines = [line for line in lines if line.points]
    enough = any(len({bits for bits, _, _ in line.points}) >= 2 for line in lines)
    return lines if enough else []


def _pair(analysis: Analysis) -> list[Line]:
    if analysis.raw is None or analysis.instruct is None:
        return []
    base, instruct = analysis.raw, analysis.instruct
    arms = _by_arm(analysis)
    bests = [
        (bits, best.score, level)
        for bits, _, level in arms.get((base.stage, base.strategy), [])
        if (best := analysis.best_at(level)) is not None
    ]
    return [
        Line(label(instruct), INSTRUCT, arms.get((instruct.stage, instruct.strategy), [])),
        Line(f"{base.stage} · best wrapper (chosen on other prompts)", BEST, bests),
        Line(label(base), BASE, arms.get((base.stage, base.strategy), [])),
    ]


def _every_arm(analysis: Analysis) -> list[Line]:
    """Arms that ran at two levels or more, as many as can be told apart."""
    names = {(c.stage, c.strategy): label(c) for c in (s.condition for s in analysis.conditions)}
    return [
        Line(names[name], look, points)
        for look, (name, points) in zip(OTHERS, _many(analysis).items(), strict=False)
    ]


def _many(analysis: Analysis) -> dict[tuple[str, str], list[Point]]:
    """The arms that ran at two levels or more."""
    return {name: points for name, points in _by_arm(analysis).items() if len(points) > 1}


def _by_arm(analysis: Analysis) -> dict[tuple[str, str], list[Point]]:
    arms: dict[tuple[str, str], list[Point]] = {}
    for item in analysis.conditions:
        condition, score = item.condition, item.headline.prompt_strict
        if item.bits_per_weight is not None and score.value is not None:
            arms.setdefault((condition.stage, condition.strategy), []).append(
                (item.bits_per_weight, score, condition.level)
            )
    return arms


def _line(axes: Any, line: Line) -> None:
    points = sorted(line.points, key=lambda point: (point[0], point[2]))
    reach = [error(estimate) for _, estimate, _ in points]
    axes.errorbar(
        [bits for bits, _, _ in points],
        [100 * (estimate.value or 0.0) for _, estimate, _ in points],
        yerr=[[below for below, _ in reach], [above for _, above in reach]],
        marker=line.look.marker,
        linestyle=line.look.line,
        color=line.look.colour,
        markersize=6,
        capsize=3,
        linewidth=1.6,
        label=for_terminal(line.name),
    )


def _bits_axis(axes: Any, bits: Sequence[float]) -> None:
    low, high = min(bits) * 0.88, max(bits) * 1.12
    axes.set_xscale("log", base=2)
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(low, high)
    axes.set_xlabel("effective bits per weight (log scale)")


def level_places(lines: Sequence[Line]) -> list[tuple[float, str]]:
    """Each level's name once, at the middle of its models' sizes, smallest first."""
    sizes: dict[str, set[float]] = {}
    for line in lines:
        for bits, _, level in line.points:
            sizes.setdefault(level, set()).add(bits)
    return sorted((sum(found) / len(found), level) for level, found in sizes.items())


def _name_levels(axes: Any, places: Sequence[tuple[float, str]]) -> int:
    """Write every level's name above the plot, in as many rows as keeps them apart."""
    ends: list[float] = []
    for bits, level in places:
        name = f"{for_terminal(level)[:20]} {bits:.2f}"
        middle = axes.transAxes.inverted().transform(axes.transData.transform((bits, 0)))[0]
        half = 0.007 * len(name)
        row = next((n for n, end in enumerate(ends) if end < middle - half), len(ends))
        ends[row : row + 1] = [middle + half]
        axes.axvline(bits, color=GREY, linestyle=":", linewidth=0.6, zorder=0)
        axes.annotate(
            name,
            (bits, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3 + 11 * row),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            annotation_clip=False,
        )
    return len(ends)


def _caption(analysis: Analysis, lines: Sequence[Line]) -> str:
    scores = [estimate for line in lines for _, estimate, _ in line.points]
    more = 0 if _pair(analysis) else len(_many(analysis)) - len(lines)
    left_out = f" {more} more arms are in the tables." if more > 0 else ""
    return (
        "Score against effective bits per weight, a level's name with its bits above. "
        f"{counted(scores)}, one at a time.{left_out}"
    )
