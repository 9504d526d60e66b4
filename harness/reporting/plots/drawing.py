"""What every picture shares: colours and marks that survive a black-and-white printer, its files.

Each role has its own colour (Okabe and Ito's palette, told apart under every common colour
blindness), its own marker and its own line or hatching, so that none of them is needed to read it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.atomic import write_bytes
from harness.records import Condition, Estimate
from harness.sanitize import for_terminal


@dataclass(frozen=True, slots=True)
class Look:
    """How one role is drawn: colour, marker, line and hatching."""

    colour: str
    marker: str
    line: Any
    hatch: str


BASE = Look("#D55E00", "s", ":", "xx")
WRAPPED = Look("#56B4E9", "v", "-.", "")
BEST = Look("#0072B2", "o", "--", "////")
INSTRUCT = Look("#009E73", "D", "-", "\\\\\\\\")
OTHERS = (INSTRUCT, BEST, BASE, WRAPPED, Look("#CC79A7", "^", (0, (1, 3)), ""))
GREY = "#555555"
INK = "#222222"
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "text.parse_math": False,  # a label may hold a dollar sign
    "svg.hashsalt": "harness",
    "hatch.linewidth": 0.5,
}
LABEL = 34


def label(condition: Condition) -> str:
    """An arm's name, no wider than a margin."""
    text = for_terminal(f"{condition.stage} · {condition.strategy}")
    return text if len(text) <= LABEL else f"{text[: LABEL - 1]}…"


def error(estimate: Estimate, scale: float = 100.0) -> tuple[float, float]:
    """How far an interval reaches below and above its value, in percent or times ``scale``."""
    value = estimate.value or 0.0
    low = value if estimate.low is None else estimate.low
    high = value if estimate.high is None else estimate.high
    return max(0.0, scale * (value - low)), max(0.0, scale * (high - value))


def point(axes: Any, x: float, y: float, look: Look, **errors: tuple[float, float]) -> None:
    """One marker with its interval: ``xerr`` or ``yerr`` below and above."""
    axes.errorbar(
        x,
        y,
        **{name: [[below], [above]] for name, (below, above) in errors.items()},
        fmt=look.marker,
        color=look.colour,
        ecolor=INK,
        markeredgecolor=INK,
        markeredgewidth=0.6,
        markersize=6,
        capsize=3,
        linewidth=1.3,
    )


def counted(estimates: Iterable[Estimate]) -> str:
    """``n = 300 items; 95 % intervals (Wilson)``: what a caption owes its reader."""
    shown = [item for item in estimates if item.value is not None]
    sizes = sorted({item.n for item in shown})
    size = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    levels = sorted({item.level for item in shown})
    level = " and ".join(f"{100 * item:g} %" for item in levels)
    return f"n = {size} items; {level} intervals ({methods(shown)})"


def methods(estimates: Iterable[Estimate]) -> str:
    """The kinds of interval, each once."""
    return "; ".join(dict.fromkeys(item.method for item in estimates if item.value is not None))


class Figure:
    """A figure written on exit as PNG and SVG; no pyplot, so no global state and no display."""

    def __init__(self, path: Path, *, width: float, height: float) -> None:
        self.path, self.inches = path, (width, height)

    def __enter__(self) -> Any:
        import matplotlib
        from matplotlib.figure import Figure as Drawn

        self.context = matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE})
        self.context.__enter__()
        self.figure = Drawn(figsize=self.inches, dpi=130, layout="constrained")
        return self.figure

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._write()
        finally:
            self.context.__exit__(None, None, None)

    def _write(self) -> None:
        """Write both forms of one layout; ``savefig`` would compute it for each of them."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        png, svg = io.BytesIO(), io.BytesIO()
        # Version and date are left out, so that the same run gives the same bytes.
        FigureCanvasAgg(self.figure).print_png(png, metadata={"Software": None})
        FigureCanvasSVG(self.figure).print_svg(svg, metadata={"Creator": None, "Date": None})
        write_bytes(self.path.with_suffix(".png"), png.getvalue())
        write_bytes(self.path.with_suffix(".svg"), svg.getvalue())
