"""The choice in words, the same ones in a terminal, in Markdown, in JSON and on pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from harness import numbers
from harness.atomic import write_text
from harness.choice.values import Cell, Choice, Row
from harness.choice.verdict import difference, in_short, score
from harness.reporting.markdown import bullets, code, paragraphs, picture, table
from harness.reporting.measures import read_value
from harness.reporting.scrub import scrub, scrub_text
from harness.sanitize import for_markdown, for_terminal

TITLE = "Which of the two models, for what"
NOT_RUN = "not run"
NAME = "choice.json"
HOW = (
    "Scores carry 95 % intervals, one at a time. A verdict compares every way to ask the base with "
    "every way to ask the instruct model on the same items, with intervals that hold for all of "
    "them at once (Bonferroni). Tokens are prompt and answer, per item."
)


def cell_text(row: Row, cell: Cell) -> str:
    """A cell: the score with its interval, or why there is none."""
    if row.pick == NOT_RUN:
        return NOT_RUN
    if cell.score is None:
        return cell.absent
    cost = f" ({numbers.whole(cell.tokens)} tokens)" if cell.tokens is not None else ""
    return score(row.unit, cell.score) + cost


def arm_label(choice: Choice, stage: str, way: str) -> str:
    """``base qa``; the two that are chosen between say what they are."""
    role = {choice.base: "base", choice.instruct: "instruct"}.get(stage, stage)
    return f"{stage} {way}" if role == stage else f"{role} ({stage}) {way}"


def tax_lines(row: Row) -> list[str]:
    """What tuning cost each stage, asked raw."""
    return [
        f"{row.use}: {tax.stage} raw minus base raw is {difference(row.unit, tax.difference)}"
        + (f", {_relative(tax.relative)} of the base's" if tax.relative is not None else "")
        for tax in row.taxes
    ]


def _relative(value: float) -> str:
    return f"{'+' if value >= 0 else '−'}{abs(100 * value):.1f} %"


def perplexity_lines(choice: Choice) -> list[str]:
    """llama-perplexity's own figure for each stage."""
    return [
        f"{found.stage}: perplexity {found.value:.4f}, {found.bits_per_byte:.4f} bits per byte, "
        f"over {found.tokens:,} tokens in {numbers.size(found.chunks, 'chunk')} of {found.n_ctx} "
        "(llama-perplexity's convention)"
        for found in choice.perplexities
    ]


def brief_lines(choice: Choice | None) -> list[str]:
    """The choice as the end of a run in a terminal: the verdict of each use that was run."""
    if choice is None:
        return []
    told = [for_terminal(row.decision.sentence) for row in choice.ran]
    return [f"{TITLE}:", *(f"  {line}" for line in told)]


def as_lines(choice: Choice) -> list[str]:
    """The choice for a terminal: each use's verdict, then its arms."""
    lines = []
    for row in choice.rows:
        lines.append(for_terminal(row.decision.sentence))
        if row.decision.settle:
            lines.append(for_terminal(f"    to settle it: {row.decision.settle}"))
        if row.pick != NOT_RUN:
            lines += [
                for_terminal(
                    f"    {arm_label(choice, cell.stage, cell.way)}: {cell_text(row, cell)}"
                )
                for cell in row.cells
            ]
            lines += [for_terminal(f"    note: {note}") for note in row.notes]
    taxes = [line for row in choice.rows for line in tax_lines(row)]
    if taxes:
        lines += ["what tuning cost:", *(for_terminal(f"    {line}") for line in taxes)]
    lines += [for_terminal(line) for line in perplexity_lines(choice)]
    return [*lines, *(for_terminal(f"note: {note}") for note in choice.notes)]


def as_markdown(choice: Choice, caption: str = "") -> str:
    """The choice as a page of Markdown; ``caption`` is the picture's, if it was drawn."""
    return (
        paragraphs(
            f"# {TITLE}",
            _body(
                choice,
                choice.rows,
                "##",
                _sentences(choice.rows, evidence=True),
                picture("choice.png", caption),
            ),
            "## Models\n\n" + bullets(_models(choice)),
            f"Command: {code(scrub_text(choice.command))}" if choice.command else "",
        )
        + "\n"
    )


def choice_section(choice: Choice | None, drawn: str) -> str:
    """The choice as a section of a run's report, ``drawn`` its picture: what was run, no more."""
    if choice is None:
        return ""
    if not choice.ran:
        return "No use was run, so nothing is claimed."
    return paragraphs(
        for_markdown(in_short(choice)),
        _body(choice, choice.ran, "###", _sentences(choice.ran), drawn),
        for_markdown(unclaimed(choice)),
    )


def unclaimed(choice: Choice) -> str:
    """The uses that were not run, in a sentence; empty where all were."""
    names = [row.use for row in choice.rows if row.pick == NOT_RUN]
    return f"Not run, so nothing is claimed: {' · '.join(names)}." if names else ""


def _body(choice: Choice, rows: Sequence[Row], level: str, said: str, drawn: str) -> str:
    """What is said of these rows, the picture, their table; under headings of a level."""
    columns = ["use", "verdict", *(arm_label(choice, *column) for column in choice.columns)]
    cells = [
        [code(row.use), row.pick, *(for_markdown(cell_text(row, cell)) for cell in row.cells)]
        for row in rows
    ]
    asked = [f"{for_markdown(row.use)}: {for_markdown(row.asks)}" for row in rows]
    taxes = [for_markdown(line) for row in rows for line in tax_lines(row)]
    notes = notes_of(choice, rows)
    return paragraphs(
        said,
        drawn,
        table([for_markdown(name) for name in columns], cells, left=2),
        for_markdown(HOW),
        f"{level} What each score is\n\n" + bullets(asked),
        f"{level} What tuning cost\n\n" + bullets(taxes) if taxes else "",
        bullets(map(for_markdown, perplexity_lines(choice))),
        f"{level} Notes\n\n" + bullets(map(for_markdown, notes)) if notes else "",
    )


def notes_of(choice: Choice, rows: Sequence[Row]) -> list[str]:
    """What goes with the rows' figures, and with all of them."""
    files = [f"{name}: sha256 {digest[:16]}" for name, digest in sorted(choice.files.items())]
    return [*(f"{row.use}: {note}" for row in rows for note in row.notes), *choice.notes, *files]


def _sentences(rows: Sequence[Row], *, evidence: bool = False) -> str:
    """Each row's verdict, and what would settle it; with every comparison behind it if wanted."""
    lines = []
    for row in rows:
        lines.append(f"- {for_markdown(row.decision.sentence)}")
        if evidence:
            lines += [f"  - {for_markdown(line)}" for line in row.decision.evidence]
        if row.decision.settle:
            lines.append(f"  - To settle it: {for_markdown(row.decision.settle)}")
    return "\n".join(lines)


def _models(choice: Choice) -> list[str]:
    return [
        f"{for_markdown(stage)}: {code(of['file'])}, {for_markdown(of['level'])}, sha256 "
        f"`{of['sha256'][:16]}`"
        for stage, of in choice.models.items()
    ]


def as_json(choice: Choice) -> str:
    """The choice for a program, its numbers and its words."""
    return json.dumps(scrub(asdict(choice)), ensure_ascii=True, indent=1) + "\n"


def html_values(choice: Choice, rows: Sequence[Row], drawn: tuple[str, str]) -> dict[str, Any]:
    """What ``uses.html.jinja`` shows of these rows; ``drawn`` are the picture's caption and PNG
    (base64), empty where there is none.
    """
    return {
        "columns": [arm_label(choice, *column) for column in choice.columns],
        "rows": [(row, [cell_text(row, cell) for cell in row.cells]) for row in rows],
        "how": HOW,
        "short": in_short(choice) if choice.ran else "",
        "unclaimed": unclaimed(choice),
        "taxes": [line for row in rows for line in tax_lines(row)],
        "perplexities": perplexity_lines(choice),
        "notes": notes_of(choice, rows),
        "picture": drawn,
    }


def keep_choice(folder: Path, choice: Choice | None) -> None:
    """Write a run's choice into its folder, if it has one; what stood there of another run goes."""
    if choice is not None:
        write_text(folder / NAME, as_json(choice))
    else:
        (folder / NAME).unlink(missing_ok=True)


def read_choice(folder: Path) -> Choice | None:
    """The choice that a run's folder holds, if it does; ConfigError where that is damaged."""
    return read_value(folder / NAME, _adapter(), "not what a run chose")


@cache
def _adapter() -> TypeAdapter[Choice]:
    return TypeAdapter(Choice)
