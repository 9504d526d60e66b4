"""The picture of flips: how many items come out otherwise, between every two levels of an arm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.analysis import Analysis
from harness.analysis.levels import LevelRow, level_rows
from harness.reporting.plots.drawing import Figure, label
from harness.sanitize import for_terminal

_MOST = 2
"""Arms drawn beside each other."""


def draw(analysis: Analysis, path: Path) -> str:
    """Draw it where an arm has three levels; its caption, empty where nothing is drawn.

    Not with several answers an item: an item's outcome is then no pass or fail.
    """
    arms = [(label(arm), rows) for arm, rows in level_rows(analysis).items() if len(rows) > 2]
    if not arms or analysis.epochs > 1:
        return ""
    arms = arms[:_MOST]
    size = max(len(rows) for _, rows in arms)
    with Figure(path, width=1.2 + 4.2 * len(arms), height=1.4 + 0.45 * size) as figure:
        panels = figure.subplots(1, len(arms), squeeze=False).ravel()
        for axes, (name, rows) in zip(panels, arms, strict=True):
            _matrix(axes, name, rows)
    return (
        f"Items of {analysis.n_headline:,} that pass at one of two levels and fail at the other, "
        "for every two levels of an arm."
    )


def flipped(rows: Sequence[LevelRow]) -> list[list[int]]:
    """Items whose outcome differs, for every two levels.

    What flipped against the reference at one of them and not at the other.
    """
    sets = [
        {*row.verdict.gained, *row.verdict.lost} if row.verdict is not None else set()
        for row in rows
    ]
    return [[len(one ^ other) for other in sets] for one in sets]


def _matrix(axes: Any, name: str, rows: Sequence[LevelRow]) -> None:
    counts = flipped(rows)
    most = max(1, *(count for line in counts for count in line))
    names = [for_terminal(row.condition.level)[:16] for row in rows]
    axes.imshow(counts, cmap="Greys", vmin=0, vmax=1.6 * most, aspect="auto")
    for y, line in enumerate(counts):
        for x, count in enumerate(line):
            if x != y:
                axes.text(x, y, f"{count}", ha="center", va="center", fontsize=8.5)
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.tick_params(length=0)
    axes.set_title(name)
