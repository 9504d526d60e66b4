"""``harness shift``: the base against the instruct model, token by token, without any check."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path

import typer

from harness.cli.app import app
from harness.cli.options import (
    JSON,
    LEVEL,
    MAX_TOKENS,
    NGL,
    PAIR,
    QUIET,
    SUITE_HELP,
    layers,
    print_json,
)
from harness.errors import EngineError


@app.command(
    epilog="Examples: harness shift tiny --strategies qa,icl_3 --limit 50 · "
    "harness shift --base base.gguf --instruct instruct.gguf --suite prompts.txt"
)
def shift(
    experiment: str = typer.Argument(
        None, help="An experiment file, or the name of a shipped one (default: tiny)."
    ),
    base: str = typer.Option(None, "--base", help="The base model's GGUF file."),
    instruct: str = typer.Option(None, "--instruct", help="The instruct model's GGUF file."),
    pair: str = PAIR,
    suite: str = typer.Option(None, "--suite", help=SUITE_HELP),
    level: str = LEVEL,
    strategies: str = typer.Option(
        None, "--strategies", help="Wrappers of the base model, comma-separated; raw is among them."
    ),
    tokens: int = typer.Option(4000, "--tokens", min=1, help="Answer tokens to compare at most."),
    limit: int = typer.Option(None, "--limit", min=1, help="Items, evenly by category."),
    max_tokens: int = MAX_TOKENS,
    ngl: str = NGL,
    out: Path = typer.Option(None, "-o", "--out", help="Folder for the reports."),
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Say how much of the way to the instruct model each wrapper brings the base, by its tokens.

    Puts the instruct model's own answers to the base, raw and behind every wrapper: how many of
    their tokens the base would have chosen itself, and how far its whole next-token distribution
    is from the instruct model's. Refuses pairs with different tokenizers. Writes a run's reports.
    """
    from harness.config import Measure
    from harness.experiment import RunOptions, run
    from harness.experiment.override import (
        at_level,
        chosen_experiment,
        only_stages,
        override,
        without_uses,
    )
    from harness.experiment.progress import watch
    from harness.reporting import decision_lines, print_tables
    from harness.reporting.shift import shift_table

    names = tuple(filter(None, map(str.strip, strategies.split(",")))) if strategies else None
    chosen = override(
        chosen_experiment(experiment, pair=pair, base=base, instruct=instruct, suite=suite),
        strategies=names,
        max_tokens=max_tokens,
        n_gpu_layers=layers(ngl),
    )
    measure = Measure(speed=False, tokens=tokens)
    chosen = without_uses(at_level(chosen, level)).model_copy(update={"measure": measure})
    if ends := chosen.recovery_pair():
        chosen = only_stages(chosen, ends)
    interactive = sys.stderr.isatty() and not quiet
    options = RunOptions(
        limit=limit, out=out, command="harness " + shlex.join(sys.argv[1:]), progress=interactive
    )
    with watch(interactive, quiet) as watcher:
        found = run(chosen, options, watcher=watcher).run
    table = shift_table(found.analysis)
    if table is None:
        why = "; ".join(found.measured.notes) or "it needs raw on the base and an instruct stage"
        raise EngineError(f"{chosen.name}: no token distribution shift: {why}")
    if as_json:
        shifts = [asdict(item) for item in found.measured.shifts]
        decisions = [asdict(item) for item in found.decisions if item.topic == "shift"]
        print_json({"folder": str(found.folder), "decisions": decisions, "shifts": shifts})
        return
    for line in decision_lines([item for item in found.decisions if item.topic == "shift"]):
        typer.echo(line)
    print_tables([table])
    typer.echo(f"report: {found.folder / 'report.md'}")
