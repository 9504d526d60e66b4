"""A run's pictures, each as PNG and SVG: the leaderboard, levels, what they and a prompt cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from harness.analysis import Analysis
from harness.choice import Choice
from harness.reporting.plots import cost, flips, leaderboard, levels, pareto, uses

PICTURES: Mapping[str, Callable[[Analysis, Path], str]] = {
    "leaderboard": leaderboard.draw,
    "levels": levels.draw,
    "pareto": pareto.draw,
    "flips": flips.draw,
    "cost": cost.draw,
}
"""By name: what draws it into ``NAME.png`` and ``NAME.svg`` and gives its caption."""


USES = "uses.png"
"""The picture of which of the two models to use for what."""


def write_plots(analysis: Analysis, folder: Path, choice: Choice | None = None) -> dict[str, str]:
    """Draw the pictures that have something to show; ``NAME.png`` -> its caption (its alt text).

    Beside each PNG lies the same as SVG. A caption says n and the kind of interval.
    """
    captions = {f"{name}.png": draw(analysis, folder / name) for name, draw in PICTURES.items()}
    if choice is not None:
        captions[USES] = uses.draw(choice, folder / "uses")
    return {name: caption for name, caption in captions.items() if caption}
