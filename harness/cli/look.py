"""``harness runs``, ``show``, ``compare``, ``verify`` and ``export``: what a run's folder says."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from harness.cli.app import app
from harness.cli.options import JSON, print_json
from harness.errors import ConfigError
from harness.intake import meant
from harness.sanitize import for_terminal

_MISMATCHES = 50
_RUN = typer.Argument("latest", help="A run's folder, latest, or an experiment's name.")


@app.command(epilog="Examples: harness runs · harness runs tiny --json")
def runs(
    experiment: str = typer.Argument(None, help="Only runs of this experiment."),
    as_json: bool = JSON,
) -> None:
    """List the runs below reports/, the latest last. No model is loaded, nothing is written."""
    from harness.reporting.runs import list_runs

    found = list_runs(experiment)
    if as_json:
        print_json([entry.as_json() for entry in found])
        return
    if not found:
        typer.echo("no runs below reports/ yet; `harness run` makes one")
    for entry in found:
        typer.echo(for_terminal(entry.line))


@app.command(
    epilog="Examples: harness show · harness show latest --failed --arm qa · "
    "harness show tiny --differ qa native"
)
def show(
    run: str = _RUN,
    item: list[str] = typer.Option([], "--item", help="Only this item (repeat for more)."),
    failed: bool = typer.Option(False, "--failed", help="Only answers that do not pass."),
    arm: list[str] = typer.Option(
        [], "--arm", help="Only this arm: stage/level/strategy, or a part of it."
    ),
    check: str = typer.Option(None, "--check", help="Only items with this check."),
    category: str = typer.Option(None, "--category", help="Only items of this category."),
    differ: tuple[str, str] = typer.Option(
        None, "--differ", metavar="A B", help="Only items on which two arms differ."
    ),
    limit: int = typer.Option(20, "--limit", min=1, help="Items shown at most (not with --json)."),
    as_json: bool = JSON,
) -> None:
    """Show a run's answers: prompts with control tokens, answers, verdicts and their reasons.

    Without a filter: a table of items by arms, and how often each check passes.
    """
    from harness.reporting import read_run
    from harness.reporting.show import Wanted, as_text, chosen, overview
    from harness.reporting.show import as_json as rows_as_json

    wanted = Wanted(item, failed, arm, check, category, differ)
    found = read_run(run)
    rows = chosen(found, wanted)
    if as_json:
        print_json(rows_as_json(rows))
    elif wanted == Wanted(items=[], arms=[]):
        typer.echo(for_terminal(overview(found, rows)))
    else:
        typer.echo(for_terminal(as_text(rows, items=limit) or "no answer is like that"))


@app.command(
    epilog="Examples: harness compare before after · "
    "harness compare reports/tiny/A latest --format md -o comment.md"
)
def compare(
    run_a: str = typer.Argument(help="The run to compare with: a folder or an experiment's name."),
    run_b: str = typer.Argument("latest", help="The run that is judged."),
    form: str = typer.Option("text", "--format", help="text, md, html or json."),
    out: Path = typer.Option(None, "-o", "--out", help="Write there instead of printing."),
) -> None:
    """Compare two runs: what differs between them, then wins and losses on the same questions.

    Only items that both runs asked and checked alike count. The verdict claims no more than the
    intervals bear; `harness gate` is for pass or fail against a baseline.
    """
    from harness.atomic import write_text
    from harness.reporting import read_run
    from harness.reporting.compare import compare as compare_runs
    from harness.reporting.comparison import FORMATS

    if form not in FORMATS:
        raise ConfigError(
            f"--format {form!r:.40}: accepted: {', '.join(FORMATS)}{meant(form, FORMATS)}"
        )
    text = FORMATS[form](compare_runs(read_run(run_a), read_run(run_b)))
    if out is not None:
        write_text(out, text)
    elif form == "text":
        typer.echo(for_terminal(text))
    else:
        typer.echo(text, nl=False)


@app.command()
def verify(
    run: str = _RUN,
    plugins: list[Path] = typer.Option(
        [], "--checks", exists=True, dir_okay=False, help="Python module with your own checks."
    ),
    code: bool = typer.Option(
        False, "--code", help="Let code_passes run answers' Python under bubblewrap."
    ),
    jobs: int = typer.Option(None, "--jobs", min=1, help="Processes (default: cores)."),
) -> None:
    """Derive every hash, verdict and figure of a run from its answers; exit code 1 on a mismatch.

    Writes nothing and runs nothing that the folder names.
    """
    from harness.experiment.verify import verify as verify_run

    found = verify_run(run, plugins=plugins, code="sandboxed" if code else "off", jobs=jobs)
    for note in found.notes:
        typer.echo(for_terminal(f"note: {note}"))
    for mismatch in found.mismatches[:_MISMATCHES]:
        typer.echo(for_terminal(f"mismatch: {mismatch}"))
    if len(found.mismatches) > _MISMATCHES:
        typer.echo(f"... and {len(found.mismatches) - _MISMATCHES} more mismatches")
    typer.echo(
        f"{found.answers} answers, {found.hashes} hashes, {found.verdicts} verdicts, "
        f"{found.figures} cells: "
        + (f"{len(found.mismatches)} do not match" if found.mismatches else "all match")
    )
    if found.mismatches:
        raise typer.Exit(1)


@app.command(
    epilog="Examples: harness export latest --as sft -o train.jsonl · "
    "harness export my-pair --as preferences --arm instruct -o pairs.jsonl"
)
def export(
    run: str = _RUN,
    layout: str = typer.Option(..., "--as", help="sft or preferences."),
    out: Path = typer.Option(..., "-o", "--out", help="JSONL file to write."),
    arm: list[str] = typer.Option(
        [], "--arm", help="Only answers of this arm: stage/level/strategy, or a part of it."
    ),
    per_prompt: int = typer.Option(
        4, "--per-prompt", min=1, help="Rows of one question at most, the first by hash."
    ),
    seed: int = typer.Option(0, "--seed", min=0, help="Seed of that choice."),
) -> None:
    """Write passing answers as rows to fine-tune on, or passing against failing ones as pairs.

    The layouts are TRL's conversational ones; docs/looking.md shows a row of each.
    """
    from typing import cast

    from harness.atomic import writing
    from harness.reporting import read_run
    from harness.reporting.export import Layout, training_rows
    from harness.reporting.show import Wanted, chosen

    if layout not in ("sft", "preferences"):
        hint = meant(layout, ["sft", "preferences"])
        raise ConfigError(f"--as {layout!r:.40}: accepted: sft, preferences{hint}")
    rows = chosen(read_run(run), Wanted(arms=arm))
    count = 0
    with writing(out) as stream:
        for row in training_rows(rows, cast(Layout, layout), seed=seed, per_prompt=per_prompt):
            stream.write(json.dumps(row, ensure_ascii=True) + "\n")
            count += 1
        if not count:
            lacking = "passes" if layout == "sft" else "passes where another fails"
            raise ConfigError(f"nothing to export: no answer {lacking}; {out} is left as it was")
    typer.echo(f"{out}: {count} rows")
