"""The choice in four forms that say the same words: terminal, Markdown, HTML, JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness import numbers
from harness.atomic import write_text
from harness.choice.values import Cell, Choice, Row
from harness.choice.verdict import difference, score
from harness.reporting.html.parts import part, policy, template
from harness.reporting.markdown import bullets, code, paragraphs, table
from harness.reporting.scrub import scrub, scrub_text
from harness.sanitize import for_markdown, for_terminal

TITLE = "Which of the two models, for what"
NOT_RUN = "not run"
HOW = (
    "Scores carry 95 % intervals, one at a time. A verdict compares every way to ask the base with "
    "every way to ask the instruct model on the same items, with intervals that hold for all of "
    "them at once (Bonferroni). Tokens are prompt and answer, per item."
)


def cell_text(row: Row, cell: Cell) -> str:
    """A cell: the score with its interval, or why there is none."""
    if row.pick == "not run":
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


def as_lines(choice: Choice) -> list[str]:
    """The choice for a terminal: each use's verdict, then its arms."""
    lines = []
    for row in choice.rows:
        lines.append(for_terminal(row.decision.sentence))
        if row.decision.settle:
            lines.append(for_terminal(f"    to settle it: {row.decision.settle}"))
        if row.pick != "not run":
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


def as_markdown(choice: Choice) -> str:
    """The choice as a page of Markdown."""
    columns = ["use", "verdict", *(arm_label(choice, *column) for column in choice.columns)]
    rows = [
        [
            code(row.use),
            row.pick,
            *(for_markdown(cell_text(row, cell)) for cell in row.cells),
        ]
        for row in choice.rows
    ]
    asked = [f"{for_markdown(row.use)}: {for_markdown(row.asks)}" for row in choice.rows]
    taxes = [for_markdown(line) for row in choice.rows for line in tax_lines(row)]
    notes = [f"{row.use}: {note}" for row in choice.rows for note in row.notes]
    return (
        paragraphs(
            f"# {TITLE}",
            _sentences(choice),
            table([for_markdown(name) for name in columns], rows, left=2),
            for_markdown(HOW),
            "## What each score is\n\n" + bullets(asked),
            "## What tuning cost\n\n" + bullets(taxes) if taxes else "",
            bullets(map(for_markdown, perplexity_lines(choice))),
            "## Notes\n\n" + bullets(for_markdown(note) for note in (*notes, *choice.notes))
            if notes or choice.notes
            else "",
            "## Models\n\n" + bullets(_models(choice)),
            f"Command: {code(scrub_text(choice.command))}" if choice.command else "",
        )
        + "\n"
    )


def _sentences(choice: Choice) -> str:
    lines = []
    for row in choice.rows:
        lines.append(f"- {for_markdown(row.decision.sentence)}")
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


def as_html(choice: Choice) -> str:
    """The choice as one page that needs nothing else."""
    style = part("page.css")
    values: dict[str, Any] = {
        "title": TITLE,
        "style": style,
        "policy": policy(style, ""),
        "clean": for_terminal,
        "columns": [arm_label(choice, *column) for column in choice.columns],
        "rows": [(row, [cell_text(row, cell) for cell in row.cells]) for row in choice.rows],
        "how": HOW,
        "taxes": [line for row in choice.rows for line in tax_lines(row)],
        "perplexities": perplexity_lines(choice),
        "notes": [*(f"{r.use}: {note}" for r in choice.rows for note in r.notes), *choice.notes],
        "models": choice.models,
        "command": scrub_text(choice.command),
    }
    return template("choose.html.jinja").render(**values)


def write_choice(choice: Choice, folder: Path) -> None:
    """``choice.md``, ``choice.html`` and ``choice.json`` in a folder that is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "choice.md", as_markdown(choice))
    write_text(folder / "choice.html", as_html(choice))
    write_text(folder / "choice.json", as_json(choice))
