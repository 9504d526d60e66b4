"""Commands: plan."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from harness import numbers
from harness.cli.app import app
from harness.cli.options import BASE, INSTRUCT, JSON, PAIR, SUITE_HELP, print_json
from harness.sanitize import for_terminal

if TYPE_CHECKING:
    from harness.experiment.forecast import Cost, SuitePower


@app.command(
    epilog="Examples: harness plan tiny --power; harness plan my.yaml --probe; "
    "harness plan --base A.gguf --instruct B.gguf --suite prompts.txt"
)
def plan(
    experiment: str = typer.Argument(
        None, help="An experiment file, or the name of a shipped one (default: tiny)."
    ),
    base: str = BASE,
    instruct: str = INSTRUCT,
    pair: str = PAIR,
    suite: str = typer.Option(None, "--suite", help=SUITE_HELP),
    limit: int = typer.Option(None, "--limit", min=1, help="Items per suite."),
    power: bool = typer.Option(False, "--power", help="What so many items can tell."),
    probe: bool = typer.Option(
        False, "--probe", help="Answer a few of the requests, stored for the run, to tell the time."
    ),
    as_json: bool = JSON,
) -> None:
    """Say what an experiment will cost and what its items can tell, before it is run.

    Models are fetched and made as for the run. `harness run --dry-run` shows the grid arm by arm.
    """
    from harness.experiment import RunOptions, prepare
    from harness.experiment.forecast import costs
    from harness.experiment.forecast import power as told
    from harness.experiment.override import chosen_experiment
    from harness.experiment.progress import watch
    from harness.experiment.uses.beside import uses_lines
    from harness.store import Store

    chosen = chosen_experiment(experiment, pair=pair, base=base, instruct=instruct, suite=suite)
    options = RunOptions(limit=limit)
    with watch(sys.stderr.isatty(), True) as watcher:
        prepared = prepare(chosen, options, watcher=watcher)
        with Store(options.store) as store:
            found = costs(prepared, store, probe=probe, watcher=watcher)
    seen = told(prepared) if power else None
    if as_json:
        uses = list(prepared.uses.sizes) if prepared.uses else []
        cost = [asdict(item) for item in found]
        value = {"cost": cost, "power": seen and asdict(seen), "uses": uses}
        print_json(value)
        return
    powers = _power_lines(seen) if seen else []
    for line in [*_cost_lines(found), *uses_lines(prepared.uses), *powers]:
        typer.echo(for_terminal(line))


def _cost_lines(found: list[Cost]) -> list[str]:
    lines = [
        f"{item.model}: {numbers.size(item.pending, 'request')} to answer, {item.prompt_tokens:,} "
        f"prompt tokens, at most {item.most_tokens:,} new ones" + _told(item)
        for item in found
    ]
    pending = sum(item.pending for item in found)
    if not pending:
        return [*lines, "everything is answered already: the run only judges and reports"]
    if all(item.seconds is not None or not item.pending for item in found):
        total = sum(item.seconds or 0.0 for item in found)
        better = "; --probe tells by this run's own" if any(item.earlier for item in found) else ""
        told = f"together about {_time(total)} on this machine, one model after another{better}"
        return [*lines, told]
    return [*lines, "how long that takes is not known: --probe answers a few and tells"]


def _told(item: Cost) -> str:
    if item.seconds is None:
        return ""
    by = f"{item.probed} of them" if item.probed else f"{item.earlier} earlier answers of the file"
    return f"; about {_time(item.seconds)}, by {by}"


def _time(seconds: float | None) -> str:
    value = seconds or 0.0
    if value < 90:
        return f"{max(value, 1):.0f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"


def _power_lines(seen: SuitePower) -> list[str]:
    if not seen.items:
        return ["power: no item has a check, so nothing will be judged"]
    lines = [
        f"power: {numbers.size(seen.items, 'independent item')}; a difference under "
        f"{100 * seen.margin:.1f} points counts as none (the margin)",
        "seen four times of five, by discordance (items that one of two arms passes alone):",
    ]
    for item in seen.resolutions:
        lines.append(
            f"  {100 * item.discordance:.0f} %: {_points(item.alone)} in one test, "
            f"{_points(item.adjusted)} after Holm over {seen.family}; "
            f"{item.needed:,} items show two equal arms to be within the margin on both sides"
        )
    lines.append("chance that a gap between raw and instruct is told, as a recovered share needs:")
    told = ", ".join(f"{100 * gap:.0f} points {100 * chance:.0f} %" for gap, chance in seen.shares)
    return [*lines, f"  {told} (instruct failing 2 % of the items that raw passes)"]


def _points(effect: float | None) -> str:
    return "no difference" if effect is None else f"{100 * effect:.1f} points"


__all__ = ["plan"]
