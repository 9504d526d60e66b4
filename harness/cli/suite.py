"""``harness suite``: look a suite through before it is asked, and show its items."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from harness.cli.app import app
from harness.cli.options import JSON, print_json
from harness.errors import ConfigError
from harness.intake import near, shown
from harness.sanitize import for_terminal

if TYPE_CHECKING:
    from harness.experiment.examine import Examined
    from harness.records import CheckSpec, Sample

group = typer.Typer(
    name="suite",
    help="Suites of prompts: what is wrong with one, and what it holds.",
    no_args_is_help=True,
)
app.add_typer(group)

_SUITE = typer.Argument(
    ..., help="A file (JSONL, CSV, text, Parquet), a folder of them, a shipped name, or - (a pipe)."
)
_PLUGINS = typer.Option(
    [], "--checks", exists=True, dir_okay=False, help="Python module with your own checks."
)

_SHOWN = 200
"""Remarks printed of one suite."""


@group.command(
    epilog="Examples: harness suite check prompts.csv; harness suite check tickets.jsonl "
    "--checks my_checks.py"
)
def check(suite: str = _SUITE, plugins: list[Path] = _PLUGINS, as_json: bool = JSON) -> None:
    """Say everything that is wrong with a suite, what looks odd, and what its items can tell.

    Errors: rows that cannot be read, checks that contradict each other or that nothing passes, own
    checks that do not judge. Warnings: prompts that are nearly the same, names that look misspelt.
    Then what responders score that ask no model, and the differences that so many items show.
    Loads no model. Exit code 0 without errors, 1 otherwise.
    """
    from harness.checks import load_plugins
    from harness.experiment.examine import examine

    load_plugins(plugins)
    found = examine(_source(suite))
    if as_json:
        print_json(_as_json(found))
    else:
        for line in _lines(found):
            typer.echo(for_terminal(line))
    if found.errors:
        raise typer.Exit(1)


def _source(suite: str) -> str:
    """The suite as it was named, for messages to say the same; a pipe's is kept in a file."""
    from harness.experiment.override import chosen_suite

    return chosen_suite(suite) if suite == "-" else suite


def _lines(found: Examined) -> Iterator[str]:
    from harness import numbers
    from harness.experiment.examine import summary

    yield summary(found)
    yield from map(str, found.remarks[:_SHOWN])
    if len(found.remarks) > _SHOWN:
        yield f"... and {len(found.remarks) - _SHOWN:,} more remarks (--json has them all)"
    if found.floor:
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in found.floor.items())
        yield f"responders that ask no model pass: {shares}"
        passed = numbers.size(found.unasked, "item")
        yield f"{passed} of {found.judged} passed by at least one of them"
    if found.independent:
        yield f"{numbers.size(found.independent, 'independent item')}: {_power(found)}"
    elif found.samples:
        yield "no item has a check: answers will be shown side by side, and nothing is judged"
    warnings = len(found.remarks) - found.errors
    yield f"{numbers.size(found.errors, 'error')}, {numbers.size(warnings, 'warning')}"


def _power(found: Examined) -> str:
    """What the items show four times of five, at each discordance."""
    parts = [
        f"{f'{100 * effect:.1f} points' if effect is not None else 'nothing'} ({100 * share:.0f} %)"
        for share, effect in found.seen
    ]
    return (
        f"seen four times of five, by how many items one of two arms passes alone: "
        f"{', '.join(parts)}; under {100 * found.margin:.1f} points counts as no difference"
    )


def _as_json(found: Examined) -> dict[str, Any]:
    return {
        "suite": found.name,
        "items": len(found.samples),
        "judged": found.judged,
        "errors": [_remark(item) for item in found.remarks if item.grade == "error"],
        "warnings": [_remark(item) for item in found.remarks if item.grade == "warning"],
        "floor": dict(found.floor),
        "passed_unasked": found.unasked,
        "independent": found.independent,
        "margin": found.margin if found.independent else None,
        "seen": [{"discordance": share, "difference": effect} for share, effect in found.seen],
    }


def _remark(item: Any) -> dict[str, Any]:
    return {"file": item.file, "line": item.line or None, "text": item.text}


@group.command(
    epilog="Examples: harness suite show prompts.csv; harness suite show starter --item j3"
)
def show(
    suite: str = _SUITE,
    item: str = typer.Option(None, "--item", help="Only the item of this id."),
    category: str = typer.Option(None, "--category", help="Only items of this category."),
    limit: int = typer.Option(20, "--limit", min=1, help="Items to show at most."),
    plugins: list[Path] = _PLUGINS,
    as_json: bool = JSON,
) -> None:
    """Show a suite's items as they will be asked: variables filled, ids made, checks by name."""
    from harness import checks
    from harness.datasets import load_suite

    checks.load_plugins(plugins)
    samples = load_suite(_source(suite), validate=checks.validate)
    for name, value, known in (
        ("item", item, [sample.id for sample in samples]),
        ("category", category, [sample.category for sample in samples]),
    ):
        if value is not None and value not in known:
            raise ConfigError(
                f"no {name} {value!r:.80} in {suite}; {near(value, known)}".rstrip("; ")
            )
    chosen = [
        sample
        for sample in samples
        if item in (None, sample.id) and category in (None, sample.category)
    ]
    if as_json:
        print_json([_row(sample) for sample in chosen])
        return
    for sample in chosen[:limit]:
        typer.echo(for_terminal("\n".join(_block(sample))) + "\n")
    if len(chosen) > limit:
        typer.echo(f"... and {len(chosen) - limit} more items (--limit)")


def _row(sample: Sample) -> dict[str, Any]:
    return {
        "id": sample.id,
        "category": sample.category,
        "messages": [{"role": turn.role, "content": turn.content} for turn in sample.messages],
        "checks": [{"id": spec.id, "kwargs": dict(spec.kwargs)} for spec in sample.checks],
        "target": list(sample.target),
        "ablated": sample.ablated,
        "group": sample.group,
        "tags": list(sample.tags),
        "metadata": dict(sample.metadata),
        "max_tokens": sample.max_tokens,
    }


def _block(sample: Sample) -> Iterator[str]:
    tags = f", {', '.join(sample.tags)}" if sample.tags else ""
    group_of = f", group {sample.group}" if sample.group else ""
    yield f"=== {sample.id} ({sample.category}{tags}{group_of})"
    for turn in sample.messages:
        first, *rest = turn.content.split("\n")
        yield f"  {turn.role}: {first}"
        yield from (f"    {line}" for line in rest)
    for spec in sample.checks:
        yield f"  check: {_said(spec, sample)}"
    if sample.max_tokens is not None:
        yield f"  max_tokens: {sample.max_tokens}"
    for name, value in sample.metadata.items():
        yield f"  metadata.{name}: {shown(value)}"


def _said(spec: CheckSpec, sample: Sample) -> str:
    """A check on one line: its id and its arguments as they are written."""
    if spec.id == "target" and not spec.kwargs:
        return f"target: {' or '.join(map(repr, sample.target))}"
    written = json.dumps(dict(spec.kwargs), ensure_ascii=False) if spec.kwargs else ""
    return f"{spec.id} {written if len(written) <= 200 else written[:199] + '…'}".rstrip()
