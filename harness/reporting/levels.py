"""An arm's levels as tables: the same cells in the terminal, in Markdown and in HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness import numbers
from harness.analysis import Analysis
from harness.analysis.levels import LevelRow, alike, level_rows, what_decided
from harness.measured import Divergence
from harness.records import Condition

SHOWN = 12
"""Flipped items named of a level in each direction."""

_GAP = 2
"""Characters between two columns in a terminal."""

Column = tuple[str, str]
"""A column's head and one row's cell."""


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table whose cells are plain text; ``notes`` are sentences that go below."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def parts(self, width: int) -> Iterator[tuple[list[str], list[list[str]]]]:
        """Narrower tables of whole columns, the first in front of each, in so many characters."""
        lines = (self.heads, *self.rows)
        widths = [max(len(line[n]) for line in lines) + _GAP for n in range(len(self.heads))]
        kept = [0]
        for column in range(1, len(widths)):
            if len(kept) > 1 and sum(widths[n] for n in (*kept, column)) - _GAP > width:
                yield self._columns(kept)
                kept = [0]
            kept.append(column)
        yield self._columns(kept)

    def _columns(self, kept: Sequence[int]) -> tuple[list[str], list[list[str]]]:
        return [self.heads[n] for n in kept], [[row[n] for n in kept] for row in self.rows]


def level_tables(analysis: Analysis) -> list[TextTable]:
    """For each arm judged over levels: what each level is and costs, then how far apart it is."""
    tables = []
    for arm, rows in level_rows(analysis).items():
        tables.append(_costs(arm, rows))
        if any(row.divergences for row in rows):
            tables.append(_distances(arm, rows))
    return tables


def level_values(analysis: Analysis) -> list[dict[str, Any]]:
    """The same for a program: an object per arm and level, figures as numbers."""
    return [_value(row) for rows in level_rows(analysis).values() for row in rows]


def _costs(arm: Condition, rows: Sequence[LevelRow]) -> TextTable:
    notes = [
        f"{numbers.listed(names)} hold the same tensor types in this model: one file under "
        "several names."
        for names in alike(rows)
    ]
    notes += filter(None, [what_decided(rows), *map(_flipped, rows)])
    parts = [[_file(row) for row in rows], [_answers(row, arm) for row in rows]]
    parts += [[_nearness(row) for row in rows], [_speed(row) for row in rows]]
    return _table(f"{arm.stage} {arm.strategy} by level", rows, parts, notes)


def _distances(arm: Condition, rows: Sequence[LevelRow]) -> TextTable:
    """Every figure of every text, the level and the texts in front."""
    heads = ("level, over", "tokens", *(name for name, _ in _figures(None)))
    cells = [
        (
            f"{row.condition.level}, {item.over}",
            numbers.whole(item.tokens),
            *(text for _, text in _figures(item)),
        )
        for row in rows
        for item in row.divergences
    ]
    title = f"{arm.stage} {arm.strategy}: next-token distributions against {arm.level}"
    return TextTable(title, heads, tuple(cells))


def _table(
    title: str,
    rows: Sequence[LevelRow],
    parts: Sequence[Sequence[Sequence[Column]]],
    notes: Sequence[str],
) -> TextTable:
    """The parts side by side, without columns that say nothing."""
    heads, columns = ["level"], [[row.condition.level for row in rows]]
    for part in parts:
        for place in range(len(part[0])):
            cells = [row[place][1] for row in part]
            if any(cell != numbers.NOTHING for cell in cells):
                heads.append(part[0][place][0])
                columns.append(cells)
    return TextTable(title, tuple(heads), tuple(zip(*columns, strict=True)), tuple(notes))


def _file(row: LevelRow) -> list[Column]:
    facts = row.facts
    return [
        ("MB", numbers.megabytes(facts.size if facts and facts.size else None)),
        ("bits per weight", numbers.decimal(facts.bits_per_weight if facts else None, 2)),
        ("fallback types", numbers.percent(facts.fallback if facts else None, 0)),
    ]


def _answers(row: LevelRow, arm: Condition) -> list[Column]:
    verdict, best = row.verdict, row.best
    flips = numbers.NOTHING
    if verdict is not None:
        flips = f"{numbers.percent(verdict.flips)} (+{len(verdict.gained)} −{len(verdict.lost)})"
    return [
        ("score", numbers.rate(row.summary.headline.prompt_strict) if row.summary else "not run"),
        ("difference (90 %)", numbers.points(verdict.delta) if verdict else numbers.NOTHING),
        ("flips", flips),
        ("verdict", verdict.verdict if verdict else "reference"),
        ("decided by", row.decided if verdict else numbers.NOTHING),
        ("share of its own gap", numbers.rate(best.recovery.share) if best else numbers.NOTHING),
        (f"share of the {arm.level} gap", numbers.rate(best.fixed) if best else numbers.NOTHING),
    ]


def _nearness(row: LevelRow) -> list[Column]:
    item = row.divergences[0] if row.divergences else None
    wanted = ("mean KLD", "median KLD", "99.9 % KLD", "same top p", "mean Δp", "PPL ratio")
    found = dict(_figures(item, error=False))
    return [(name, found[name]) for name in wanted]


def _figures(item: Divergence | None, *, error: bool = True) -> list[Column]:
    """A divergence's figures by the names llama.cpp's perplexity tool gives them."""

    def with_error(text: str, spread: str) -> str:
        return f"{text} ± {spread}" if error and item else text

    def nats(name: str) -> str:
        return numbers.nats(getattr(item, name, None))

    def percent(name: str) -> str:
        return numbers.percent(getattr(item, name, None))

    return [
        ("mean KLD", with_error(nats("mean_kld"), nats("mean_kld_error"))),
        ("median KLD", nats("median_kld")),
        ("99.0 % KLD", nats("p99_kld")),
        ("99.9 % KLD", nats("p999_kld")),
        ("maximum KLD", nats("max_kld")),
        ("same top p", with_error(percent("same_top_p"), percent("same_top_p_error"))),
        ("mean Δp", _signed(item.mean_dp if item else None)),
        ("RMS Δp", percent("rms_dp")),
        ("PPL", numbers.decimal(item.ppl if item else None, 3)),
        (
            "PPL ratio",
            with_error(
                numbers.decimal(item.ppl_ratio if item else None, 4),
                numbers.decimal(item.ppl_ratio_error if item else None, 4),
            ),
        ),
    ]


def _signed(value: float | None) -> str:
    text = numbers.percent(value, 2)
    return f"+{text}" if value is not None and value > 0 and not text.startswith("0.00") else text


def _speed(row: LevelRow) -> list[Column]:
    speed = row.speed
    return [
        ("load ms", numbers.decimal(1000 * speed.load_seconds if speed else None, 0)),
        ("prefill tokens/s", numbers.decimal(speed.prefill if speed else None)),
        ("decode tokens/s", numbers.decimal(speed.decode if speed else None)),
        ("peak MB", numbers.megabytes(speed.peak_bytes if speed else None)),
        ("device MB", numbers.megabytes(speed.device_bytes if speed else None)),
    ]


def _flipped(row: LevelRow) -> str:
    """``Q2_K: gained a, b; lost c and 3 more.``"""
    if row.verdict is None or not (row.verdict.gained or row.verdict.lost):
        return ""
    sides = (("gained", row.verdict.gained), ("lost", row.verdict.lost))
    told = [f"{name} {_named(items)}" for name, items in sides if items]
    return f"{row.condition.level} {'; '.join(told)}."


def _named(items: Sequence[tuple[str, str]]) -> str:
    names = [name for _, name in items]
    if len(names) > SHOWN:
        return f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN} more"
    return numbers.listed(names)


def _value(row: LevelRow) -> dict[str, Any]:
    verdict, best, score = row.verdict, row.best, row.summary
    return {
        "stage": row.condition.stage,
        "strategy": row.condition.strategy,
        "level": row.condition.level,
        "size": row.facts.size if row.facts else None,
        "bits_per_weight": row.facts.bits_per_weight if row.facts else None,
        "fallback_share": row.facts.fallback if row.facts else None,
        "score": _estimate(score.headline.prompt_strict) if score else None,
        "difference": _estimate(verdict.delta) if verdict else None,
        "flips": verdict.flips if verdict else None,
        "gained": [list(item) for item in verdict.gained] if verdict else [],
        "lost": [list(item) for item in verdict.lost] if verdict else [],
        "verdict": verdict.verdict if verdict else "reference",
        "decided_by": row.decided,
        "share_own_gap": _estimate(best.recovery.share) if best else None,
        "share_reference_gap": _estimate(best.fixed) if best else None,
        "divergences": [_without_texts(item) for item in row.divergences],
        "speed": asdict(row.speed) if row.speed else None,
    }


def _estimate(item: Any) -> dict[str, float | None]:
    return {"value": item.value, "low": item.low, "high": item.high}


def _without_texts(item: Divergence) -> Mapping[str, Any]:
    return {name: value for name, value in asdict(item).items() if name != "by_text"}
