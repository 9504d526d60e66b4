"""The picture of the uses: each way to ask the base against each to ask the instruct model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.choice import Choice, Row
from harness.choice.sides import NATIVE, RAW
from harness.choice.values import Cell, Unit
from harness.records import Estimate
from harness.reporting.plots.drawing import (
    BASE,
    GREY,
    INK,
    INSTRUCT,
    LABEL,
    OTHERS,
    WRAPPED,
    Figure,
    Look,
    error,
    methods,
    point,
)
from harness.sanitize import for_terminal

AXES: Mapping[Unit, tuple[str, float]] = {
    "share": ("share of items right, % (more is better)", 100.0),
    "similarity": ("edit similarity, % (more is better)", 100.0),
    "bits per byte": ("bits per byte of text (less is better)", 1.0),
    "distance": ("distance from the text's style (less is better)", 1.0),
}
"""What stands under each panel, and what its scores are multiplied by."""

_LOOKS = {
    "base, raw": BASE,
    "base, wrapped": WRAPPED,
    "instruct, chat template": INSTRUCT,
    "instruct, raw": OTHERS[-1],
}


def draw(choice: Choice, path: Path) -> str:
    """Draw the uses that were run, a panel for each kind of score; its caption, or nothing."""
    panels = {unit: rows for unit in AXES if (rows := _rows(choice, unit))}
    if not panels:
        return ""
    sizes = [len(rows) for rows in panels.values()]
    with Figure(path, width=9.0, height=0.9 + 0.75 * len(sizes) + 0.42 * sum(sizes)) as figure:
        drawn = figure.subplots(
            len(panels), 1, squeeze=False, height_ratios=[size + 0.6 for size in sizes]
        ).ravel()
        for axes, (unit, rows) in zip(drawn, panels.items(), strict=True):
            _panel(axes, choice, unit, rows)
        drawn[0].set_title("Which of the two, for what")
        handles = [_key(drawn[0], name, look) for name, look in _LOOKS.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return _caption(choice, [row for rows in panels.values() for row in rows])


def _rows(choice: Choice, unit: Unit) -> list[Row]:
    """The uses of a kind of score in which anything was scored."""
    scored = [row for row in choice.ran if _scores(row)]
    return [row for row in scored if row.unit == unit]


def _panel(axes: Any, choice: Choice, unit: Unit, rows: Sequence[Row]) -> None:
    named, scale = AXES[unit]
    places = list(range(len(rows) - 1, -1, -1))
    for place, row in zip(places, rows, strict=True):
        cells = [cell for cell in row.cells if cell.stage in (choice.base, choice.instruct)]
        for number, cell in enumerate(cells):
            height = place + 0.36 - 0.72 * (number + 0.5) / len(cells)
            if cell.score is not None and cell.score.value is not None:
                look, reach = _LOOKS[_role(choice, cell)], error(cell.score, scale)
                point(axes, scale * cell.score.value, height, look, xerr=reach)
        axes.annotate(row.pick, (1.01, place), xycoords=_BESIDE, va="center", fontsize=9)
        axes.axhline(place - 0.5, color=GREY, linewidth=0.4)
    axes.set_yticks(places, [for_terminal(row.use)[:LABEL] for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.5, len(rows) - 0.5)
    most = 100.0 if scale > 1 else max(score.high or 0.0 for row in rows for score in _scores(row))
    axes.set_xlim(-0.02 * most, 1.05 * most or 1.0)
    axes.set_xlabel(named, fontsize=9)


_BESIDE = ("axes fraction", "data")


def _scores(row: Row) -> list[Estimate]:
    return [cell.score for cell in row.cells if cell.score is not None]


def _role(choice: Choice, cell: Cell) -> str:
    if cell.stage == choice.base:
        return "base, raw" if cell.way == RAW else "base, wrapped"
    return "instruct, chat template" if cell.way == NATIVE else "instruct, raw"


def _key(axes: Any, name: str, look: Look) -> Any:
    """A role's mark for the legend."""
    return axes.errorbar(
        [], [], fmt=look.marker, color=look.colour, markeredgecolor=INK, markersize=6, label=name
    )


def _caption(choice: Choice, rows: Sequence[Row]) -> str:
    scores = [score for row in rows for score in _scores(row)]
    return (
        f"Scores of the base and the instruct model in every use that was run, at "
        f"{for_terminal(choice.level)}, each way of asking by itself, with the verdict beside. "
        f"95 % intervals ({methods(scores)}), one at a time."
    )
