"""Two pictures: the leaderboard, and scores against effective bits per weight."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.analysis import Analysis, ConditionSummary
from harness.atomic import write_bytes
from harness.records import Estimate
from harness.sanitize import for_terminal

# Okabe and Ito's palette, told apart under every common colour blindness; each role also has its
# own marker, so that the plots survive a black-and-white printer.
BASE, WRAPPED, BEST, INSTRUCT, FLOOR = "#D55E00", "#56B4E9", "#0072B2", "#009E73", "#666666"
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "text.parse_math": False,  # a label may hold a dollar sign
    "svg.hashsalt": "harness",
}


@dataclass(frozen=True, slots=True)
class _Line:
    label: str
    colour: str
    marker: str
    points: list[tuple[float, Estimate, str]]


def write_plots(analysis: Analysis, folder: Path) -> dict[str, str]:
    """Draw the plots that have something to show; file name -> what it shows (its alt text)."""
    drawn: dict[str, str] = {}
    if len(analysis.wrappers) >= 1 and analysis.raw is not None:
        _leaderboard(analysis, folder / "leaderboard.png")
        drawn["leaderboard.png"] = (
            f"Score and recovered share of every strategy at {analysis.level}, with 95 % intervals"
        )
    lines = _level_lines(analysis)
    if lines:
        _levels(lines, folder / "levels.png")
        drawn["levels.png"] = "Score against effective bits per weight, with 95 % intervals"
    return drawn


def _leaderboard(analysis: Analysis, path: Path) -> None:
    arms = _arms(analysis)
    with _figure(path, width=9.5, height=1.6 + 0.36 * len(arms)) as figure:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.15, 1])
        places = range(len(arms) - 1, -1, -1)
        for place, (summary, colour, marker) in zip(places, arms, strict=True):
            _point(left, summary.headline.prompt_strict, place, colour, marker, bar=True)
            share = _share_of(analysis, summary)
            if share is not None and share.value is not None:
                _point(right, share, place, colour, marker, bar=False)
            elif share is not None:
                right.text(0, place, " not estimable", va="center", color=FLOOR, fontsize=9)
        left.set_yticks(list(places), [_label(summary) for summary, _, _ in arms])
        left.set_ylim(-0.6, len(arms) - 0.1)
        left.set_xlim(left=-0.015 * left.get_xlim()[1])
        left.set_xlabel("prompt-level strict accuracy, %")
        left.set_title(f"Score at {for_terminal(analysis.level)}")
        if analysis.floor is not None:
            left.axvline(100 * analysis.floor.value, color=FLOOR, linestyle="--", linewidth=1)
            left.annotate(
                f"null floor ({for_terminal(analysis.floor.control)})",
                (100 * analysis.floor.value, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(3, -2),
                textcoords="offset points",
                fontsize=8,
                color=FLOOR,
                va="top",
            )
        for end in (0, 100):
            right.axvline(end, color=FLOOR, linestyle=":", linewidth=1)
        right.set_xlabel("share of the gap raw → instruct, %")
        right.set_title("Recovered share")
        right.tick_params(axis="y", length=0)


def _arms(analysis: Analysis) -> list[tuple[ConditionSummary, str, str]]:
    """Instruct on top, the wrappers from best to worst, raw at the bottom."""
    best = analysis.best_at(analysis.level)
    arms: list[tuple[ConditionSummary, str, str]] = []
    instruct = analysis.summary(analysis.instruct) if analysis.instruct else None
    if instruct is not None:
        arms.append((instruct, INSTRUCT, "D"))
    for item in analysis.wrappers:
        top = best is not None and item.condition == best.winner
        arms.append((item, BEST if top else WRAPPED, "o"))
    raw = analysis.summary(analysis.raw) if analysis.raw else None
    if raw is not None:
        arms.append((raw, BASE, "s"))
    return arms


def _share_of(analysis: Analysis, summary: ConditionSummary) -> Estimate | None:
    if analysis.raw is None:
        return None
    found = analysis.share(summary.condition, analysis.raw)
    return None if found is None else found.recovery.share


def _label(summary: ConditionSummary) -> str:
    condition = summary.condition
    text = for_terminal(f"{condition.stage} · {condition.strategy}")
    return text if len(text) <= 34 else f"{text[:33]}…"


def _point(
    axes: Any, estimate: Estimate, place: int, colour: str, marker: str, *, bar: bool
) -> None:
    if estimate.value is None:
        return
    value, error = 100 * estimate.value, _error(estimate)
    if bar:
        axes.barh(place, value, height=0.62, color=colour, alpha=0.30)
    axes.errorbar(
        value,
        place,
        xerr=[[error[0]], [error[1]]],
        fmt=marker,
        color=colour,
        ecolor="#222222",
        markersize=6,
        capsize=3,
        linewidth=1.3,
    )


def _error(estimate: Estimate) -> tuple[float, float]:
    value = estimate.value or 0.0
    low = value if estimate.low is None else estimate.low
    high = value if estimate.high is None else estimate.high
    return max(0.0, 100 * (value - low)), max(0.0, 100 * (high - value))


def _level_lines(analysis: Analysis) -> list[_Line]:
    """Raw, best wrapper and instruct over the levels; empty unless two levels have a bpw."""
    if analysis.raw is None or analysis.instruct is None:
        return []
    base, instruct = analysis.raw, analysis.instruct
    raws, bests, instructs = [], [], []
    for item in analysis.conditions:
        c, bits, score = item.condition, item.bits_per_weight, item.headline.prompt_strict
        if bits is None:
            continue
        if (c.stage, c.strategy) == (base.stage, base.strategy):
            raws.append((bits, score, c.level))
            best = analysis.best_at(c.level)
            if best is not None:
                bests.append((bits, best.score, c.level))
        if (c.stage, c.strategy) == (instruct.stage, instruct.strategy):
            instructs.append((bits, score, c.level))
    lines = [
        _Line(f"{instruct.stage} · {instruct.strategy}", INSTRUCT, "D", instructs),
        _Line(f"{base.stage} · best wrapper (chosen on other prompts)", BEST, "o", bests),
        _Line(f"{base.stage} · raw", BASE, "s", raws),
    ]
    enough = any(len({point[0] for point in line.points}) >= 2 for line in lines)
    return [line for line in lines if line.points] if enough else []


def _levels(lines: Sequence[_Line], path: Path) -> None:
    with _figure(path, width=7.5, height=4.6) as figure:
        axes = figure.subplots()
        for line in lines:
            points = sorted(
                (p for p in line.points if p[1].value is not None), key=lambda p: (p[0], p[2])
            )
            errors = [_error(estimate) for _, estimate, _ in points]
            axes.errorbar(
                [bits for bits, _, _ in points],
                [100 * (estimate.value or 0.0) for _, estimate, _ in points],
                yerr=[[low for low, _ in errors], [high for _, high in errors]],
                fmt=f"{line.marker}-",
                color=line.colour,
                markersize=6,
                capsize=3,
                linewidth=1.4,
                label=for_terminal(line.label),
            )
        _level_axis(axes, lines)
        axes.set_ylim(bottom=-0.02 * axes.get_ylim()[1])
        axes.set_ylabel("prompt-level strict accuracy, %")
        axes.set_title("Score by quantization level")
        axes.legend(
            frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, fontsize=8.5
        )


def _level_axis(axes: Any, lines: Sequence[_Line]) -> None:
    """A logarithmic axis of bits, ticked at the levels themselves and named by them."""
    names: dict[float, list[str]] = {}
    for line in lines:
        for bits, _, level in line.points:
            known = names.setdefault(_near(bits, names), [])
            if level not in known:
                known.append(level)
    ticks = sorted(names)
    labels = [f"{for_terminal('/'.join(names[bits]))}\n{bits:.1f}" for bits in ticks]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, labels)
    axes.minorticks_off()
    axes.set_xlim(min(ticks) * 0.88, max(ticks) * 1.12)
    axes.set_xlabel("effective bits per weight (log scale)")


def _near(bits: float, known: dict[float, list[str]]) -> float:
    """A tick already there when the label would overlap it (base and instruct files differ)."""
    return next((other for other in known if abs(other / bits - 1) < 0.06), bits)


class _figure:
    """A figure written to a PNG on exit; no pyplot, so no global state and no display."""

    def __init__(self, path: Path, *, width: float, height: float) -> None:
        self.path, self.inches = path, (width, height)

    def __enter__(self) -> Any:
        import matplotlib
        from matplotlib.figure import Figure

        self.context = matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE})
        self.context.__enter__()
        self.figure = Figure(figsize=self.inches, dpi=130, layout="constrained")
        return self.figure

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                drawn = io.BytesIO()
                # Without this the version of matplotlib is written into the file.
                self.figure.savefig(drawn, format="png", metadata={"Software": None})
                write_bytes(self.path, drawn.getvalue())
        finally:
            self.context.__exit__(None, None, None)
