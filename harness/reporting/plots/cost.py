"""The picture of what a wrapper costs: scores against the tokens of a prompt."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from harness.analysis import Analysis
from harness.reporting.plots.drawing import Figure, counted, error, label, point
from harness.reporting.plots.leaderboard import Arm, arms_of
from harness.sanitize import for_terminal

_APART, _WIDE = 0.05, 0.3
"""Shares of the axes' lengths: nearer than both, two names would be written over each other."""


def draw(analysis: Analysis, path: Path) -> str:
    """Draw it where a wrapper can be set beside raw; its caption, empty where nothing is drawn."""
    if analysis.raw is None or not analysis.wrappers:
        return ""
    arms = [
        (summary, look)
        for summary, look in arms_of(analysis)
        if summary.mean_prompt_tokens and summary.headline.prompt_strict.value is not None
    ]
    if len(arms) < 2:
        return ""
    with Figure(path, width=7.5, height=4.4) as figure:
        axes = figure.subplots()
        for summary, look in arms:
            score = summary.headline.prompt_strict
            x, y = summary.mean_prompt_tokens or 0.0, 100 * (score.value or 0.0)
            point(axes, x, y, look, yerr=error(score))
        _token_axis(axes, [summary.mean_prompt_tokens or 0.0 for summary, _ in arms])
        axes.set_ylabel("prompt-level strict accuracy, %")
        axes.set_title(f"Score against prompt cost at {for_terminal(analysis.level)}")
        _names(axes, arms)
    scores = [summary.headline.prompt_strict for summary, _ in arms]
    return (
        f"Score against mean tokens of a prompt at {analysis.level}. {counted(scores)}, "
        "one at a time."
    )


def _token_axis(axes: Any, tokens: list[float]) -> None:
    low, high = min(tokens) / 1.2, max(tokens) * 1.9
    axes.set_xscale("log")
    ticks = [t * 10**e for e in range(7) for t in (1, 2, 5) if low <= t * 10**e <= high]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(low, high)
    axes.set_xlabel("mean tokens of a prompt (log scale)")


def _names(axes: Any, arms: list[Arm]) -> None:
    """Each point's name to its right, moved up where it would be written over another one."""
    bottom, top = axes.get_ylim()
    left, right = axes.get_xlim()
    room, wide = (top - bottom) * _APART, math.log(right / left) * _WIDE
    taken: list[tuple[float, float]] = []
    for summary, _ in sorted(arms, key=lambda arm: arm[0].headline.prompt_strict.value or 0.0):
        x, y = summary.mean_prompt_tokens or 0.0, 100 * (summary.headline.prompt_strict.value or 0)
        height = y
        near = [other for at, other in taken if abs(math.log(x / at)) < wide]
        while any(abs(height - other) < room for other in near):
            height += room / 2
        taken.append((x, height))
        axes.annotate(
            label(summary.condition),
            (x, y),
            xytext=(x * 1.07, height),
            fontsize=8.5,
            va="center",
            arrowprops={"arrowstyle": "-", "linewidth": 0.5} if height > y else None,
        )
    axes.set_ylim(bottom, max(top, *(height + room for _, height in taken)))
