"""The picture of the leaderboard: every strategy's score, and its recovered share beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.analysis import Analysis, ConditionSummary
from harness.records import Estimate
from harness.reporting.plots.drawing import (
    BASE,
    BEST,
    GREY,
    INSTRUCT,
    WRAPPED,
    Figure,
    Look,
    counted,
    error,
    label,
    methods,
    point,
)
from harness.sanitize import for_terminal

Arm = tuple[ConditionSummary, Look]


def draw(analysis: Analysis, path: Path) -> str:
    """Draw it where there is a raw arm and a wrapper with a score; its caption, empty otherwise."""
    if analysis.raw is None or not analysis.wrappers:
        return ""
    arms = arms_of(analysis)
    if all(summary.headline.prompt_strict.value is None for summary, _ in arms):
        return ""
    with Figure(path, width=9.5, height=1.6 + 0.36 * len(arms)) as figure:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.15, 1])
        places = list(range(len(arms) - 1, -1, -1))
        _scores(left, places, arms)
        if analysis.floor is not None:
            _floor(left, analysis.floor.control, 100 * analysis.floor.value)
        left.set_title(f"Score at {for_terminal(analysis.level)}")
        _recovered(right, places, arms, analysis)
    return _caption(analysis, arms)


def arms_of(analysis: Analysis) -> list[Arm]:
    """Instruct on top, the wrappers from best to worst, raw at the bottom, each with its look."""
    best = analysis.best_at(analysis.level)
    arms: list[Arm] = []
    instruct = analysis.summary(analysis.instruct) if analysis.instruct else None
    if instruct is not None:
        arms.append((instruct, INSTRUCT))
    for item in analysis.wrappers:
        top = best is not None and item.condition == best.winner
        arms.append((item, BEST if top else WRAPPED))
    raw = analysis.summary(analysis.raw) if analysis.raw else None
    if raw is not None:
        arms.append((raw, BASE))
    return arms


def _scores(axes: Any, places: list[int], arms: list[Arm]) -> None:
    for place, (summary, look) in zip(places, arms, strict=True):
        score = summary.headline.prompt_strict
        if score.value is None:
            continue
        width = 100 * score.value
        axes.barh(place, width, 0.62, color=look.colour, alpha=0.30)
        axes.barh(place, width, 0.62, fill=False, edgecolor=look.colour, hatch=look.hatch)
        point(axes, width, place, look, xerr=error(score))
    axes.set_yticks(places, [label(summary.condition) for summary, _ in arms])
    axes.set_ylim(-0.6, len(arms) - 0.1)
    axes.set_xlim(left=-0.015 * axes.get_xlim()[1])
    axes.set_xlabel("prompt-level strict accuracy, %")


def _floor(axes: Any, control: str, score: float) -> None:
    axes.axvline(score, color=GREY, linestyle="--", linewidth=1)
    axes.annotate(
        f"null floor ({for_terminal(control)})",
        (score, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(3, -2),
        textcoords="offset points",
        fontsize=8,
        color=GREY,
        va="top",
    )


def _recovered(axes: Any, places: list[int], arms: list[Arm], analysis: Analysis) -> None:
    for place, (summary, look) in zip(places, arms, strict=True):
        share = _share(analysis, summary)
        if share is not None and share.value is not None:
            point(axes, 100 * share.value, place, look, xerr=error(share))
        elif share is not None:
            axes.text(0, place, " not estimable", va="center", color=GREY, fontsize=9)
    for end in (0, 100):
        axes.axvline(end, color=GREY, linestyle=":", linewidth=1)
    axes.set_xlabel("share of the gap raw → instruct, %")
    axes.set_title("Recovered share")
    axes.tick_params(axis="y", length=0)


def _share(analysis: Analysis, summary: ConditionSummary) -> Estimate | None:
    if analysis.raw is None:
        return None
    found = analysis.share(summary.condition, analysis.raw)
    return None if found is None else found.recovery.share


def _caption(analysis: Analysis, arms: list[Arm]) -> str:
    scores = [summary.headline.prompt_strict for summary, _ in arms]
    shares = [share for summary, _ in arms if (share := _share(analysis, summary)) is not None]
    told = f" Shares: {methods(shares)}." if methods(shares) else ""
    return (
        f"Score and recovered share of every strategy at {analysis.level}. "
        f"{counted(scores)}, one at a time.{told}"
    )
