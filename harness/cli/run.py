"""``harness run`` and ``harness report``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.app import app
from harness.cli.options import (
    BASE,
    EARLY,
    INSTRUCT,
    JSON,
    MAX_TOKENS,
    NGL,
    PAIR,
    QUIET,
    RAY,
    RAY_MIXED,
    SUITE_HELP,
    layers,
    print_json,
)
from harness.errors import ConfigError, EngineError
from harness.sanitize import for_terminal

if TYPE_CHECKING:
    from harness.config import Experiment
    from harness.experiment import Backends, Prepared, RunOptions, RunResult, Watcher


_FORMAT = typer.Option(
    None,
    "--format",
    help="Write the tables as csv, json, parquet too, comma-separated (md, html: always).",
)


@app.command()
def run(
    experiment: str = typer.Argument(
        None,
        help="Experiment: a YAML file or a shipped name (`harness list experiments`); tiny unless "
        "--base and --instruct are given.",
    ),
    base: str = BASE,
    instruct: str = INSTRUCT,
    suite: str = typer.Option(
        None,
        "--suite",
        help=SUITE_HELP + " In place of the experiment's own.",
    ),
    limit: int = typer.Option(None, "--limit", min=1, help="Items per suite, evenly by category."),
    strategies: str = typer.Option(
        None,
        "--strategies",
        help="Only these, comma-separated; ones no stage declares go to the base stage. raw on "
        "the base and native on the instruct stage stay: the recovered share needs them.",
    ),
    quants: str = typer.Option(
        None, "--quants", help="Only these quantization levels, comma-separated (Q8_0,Q4_K_M)."
    ),
    pair: str = PAIR,
    seed: int = typer.Option(None, "--seed", min=0, help="Seed of sampled decoding."),
    epochs: int = typer.Option(None, "--epochs", min=1, help="Answers per item and arm."),
    ngl: str = NGL,
    parallel: int = typer.Option(
        None, "--parallel", min=1, help="Busy slots; in exact mode answers do not depend on it."
    ),
    max_tokens: int = MAX_TOKENS,
    system: str = typer.Option(
        None,
        "--system",
        help="A text, or a file of it, as the system part of every strategy but raw and raw_nl.",
    ),
    templates: list[Path] = typer.Option(
        [], "--templates", exists=True, file_okay=False, help="Folder of your own templates."
    ),
    checks: list[Path] = typer.Option(
        [], "--checks", exists=True, dir_okay=False, help="Python module with your own checks."
    ),
    controls: list[str] = typer.Option(
        [],
        "--control",
        help="A text that a responder without a model says to every item, as one more floor under "
        "the scores; or a name (`harness list controls`). May be given again.",
    ),
    code: bool = typer.Option(
        False, "--code", help="Let code_passes run answers' Python under bubblewrap."
    ),
    unsafe_code: bool = typer.Option(
        False, "--unsafe-code", help="The same without bubblewrap: answers run as you."
    ),
    early: str = EARLY,
    no_uses: bool = typer.Option(
        False, "--no-uses", help="The grid alone, without the uses that the experiment names."
    ),
    no_cache: bool = typer.Option(False, "--no-cache", help="Ignore earlier answers."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Print the grid and its cost; only tokenizers are loaded."
    ),
    jobs: int = typer.Option(None, "--jobs", min=1, help="Processes that score (default: cores)."),
    out: Path = typer.Option(
        None, "-o", "--out", help="Folder for the reports (default: reports/<experiment>/<run>)."
    ),
    ray: str = RAY,
    ray_mixed: bool = RAY_MIXED,
    form: str = _FORMAT,
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Run an experiment and write its reports; the same command again goes on where it stopped.

    Answers are kept in a store and generated once (`harness cache list`). Exit codes: 0 done,
    2 usage or environment, 130 interrupted.
    """
    from harness.experiment import RunOptions, prepare
    from harness.experiment import run as run_experiment
    from harness.experiment.override import (
        chosen_experiment,
        override,
        system_text,
        without_uses,
    )
    from harness.experiment.progress import watch
    from harness.reporting.formats import parse_formats, write_formats

    formats = parse_formats(form)
    if dry_run and as_json:
        raise ConfigError("--dry-run prints a table; `harness plan --json` is for programs")
    chosen = override(
        chosen_experiment(experiment, pair=pair, base=base, instruct=instruct, suite=suite),
        strategies=_names(strategies),
        quants=_names(quants),
        seed=seed,
        epochs=epochs,
        n_gpu_layers=layers(ngl),
        parallel=parallel,
        max_tokens=max_tokens,
        system=system_text(system),
        templates=templates,
        checks=checks,
        early=early,
        controls=controls,
        code="unsafe" if unsafe_code else "sandboxed" if code else None,
    )
    chosen = without_uses(chosen) if no_uses else chosen
    interactive = sys.stderr.isatty() and not quiet
    options = RunOptions(
        limit=limit,
        use_cache=not no_cache,
        out=out,
        jobs=jobs,
        command="harness " + shlex.join(sys.argv[1:]),
        progress=interactive,
        dry=dry_run,
    )
    if ray_mixed and not ray:
        raise ConfigError("--ray-mixed says what --ray may take: give both")
    with (
        watch(interactive, quiet) as watcher,
        _backends(ray, ray_mixed, chosen, watcher) as backends,
    ):
        if dry_run:
            prepared = prepare(chosen, options, watcher=watcher, backends=backends)
        else:
            result = run_experiment(chosen, options, watcher=watcher, backends=backends)
    if dry_run:
        _print_grid(prepared, options)
    else:
        for path in write_formats(result.run, formats):
            typer.echo(f"wrote {path}", err=True)
        (_print_json if as_json else _print_result)(result)
        _require_answers(result)


@contextmanager
def _backends(
    ray: str | None, mixed: bool, experiment: Experiment, watcher: Watcher
) -> Iterator[Backends]:
    """The backends of this machine, or of the cluster that was asked for."""
    from harness.experiment import Backends

    if ray is None:
        yield Backends()
        return
    from harness.cluster import ClusterBackends, joined

    config = experiment.engine.ray
    with joined(ray, config, mixed=mixed, say=watcher.say, told=watcher.nodes) as cluster:
        yield ClusterBackends(cluster)


@app.command()
def report(
    run_folder: Path = typer.Argument(
        ..., metavar="RUN", help="A run's folder, latest, or an experiment's name."
    ),
    out: Path = typer.Option(None, "-o", "--out", help="Write elsewhere (default: in place)."),
    form: str = _FORMAT,
) -> None:
    """Write a run's reports again from its stored answers and verdicts; no model is loaded."""
    from harness.experiment import rewrite
    from harness.reporting.formats import parse_formats, write_formats

    formats = parse_formats(form)
    written, stale = rewrite(run_folder, out=out)
    for note in stale:
        typer.echo(for_terminal(f"stale: {note}"))
    for path in write_formats(written, formats):
        typer.echo(f"wrote {path}", err=True)
    typer.echo(f"report: {written.folder / 'report.md'}")


def _names(text: str | None) -> tuple[str, ...] | None:
    """``a, b`` as names; None when the option was not given."""
    if text is None:
        return None
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise ConfigError(f"expected names separated by commas, found {text!r}")
    return names


def _print_result(result: RunResult) -> None:
    """The answer in the terminal: one row per condition, then where the reports are."""
    from harness.analysis import decide
    from harness.reporting import decision_lines, summary_table
    from harness.reporting.choice import brief_lines
    from harness.reporting.terminal import table_console

    table_console().print(summary_table(result.run.analysis))
    for line in decision_lines(decide(result.run.analysis)):
        typer.echo(line)
    for line in brief_lines(result.run.choice):
        typer.echo(line)
    if result.failed:
        typer.echo(
            f"{len(result.failed)} requests failed and are missing from every figure; "
            "samples.jsonl says why; the same command tries them again"
        )
    if result.again:
        typer.echo("the very same run as before: its folder is written again, no new one is made")
    typer.echo(f"report: {result.run.folder / 'report.md'}")
    typer.echo(f"page: {result.run.folder / 'report.html'} (harness view opens it)")


def _print_json(result: RunResult) -> None:
    """The decisions and where the reports are, for a program."""
    from harness.reporting.choice import as_json

    chosen = result.run.choice
    value = {
        "folder": str(result.run.folder),
        "generated": result.generated,
        "failed": len(result.failed),
        "decisions": [asdict(decision) for decision in result.run.decisions],
        "choice": chosen and json.loads(as_json(chosen)),
    }
    print_json(value)


def _require_answers(result: RunResult) -> None:
    """Raise EngineError when a model answered nothing."""
    if dead := _unanswered(result):
        raise EngineError(
            f"{', '.join(dead)}: every answer failed, so there is nothing to compare; "
            f"{result.run.folder / 'samples.jsonl'} says why"
        )


def _unanswered(result: RunResult) -> list[str]:
    """The models none of whose requests was answered."""
    alive: dict[str, bool] = {}
    for row in result.run.scored:
        if row.key:
            name = str(row.condition.cell)
            alive[name] = alive.get(name, False) or row.generation.finish_reason != "failed"
    return [name for name, answered in alive.items() if not answered]


def _print_grid(prepared: Prepared, options: RunOptions) -> None:
    """What would be asked: prompts and tokens per condition, and how many are answered already."""
    from rich.table import Table

    from harness.experiment.prepare import require_room
    from harness.experiment.uses.beside import uses_lines
    from harness.reporting.terminal import table_console
    from harness.store import Store

    planned = prepared.plan
    with Store(options.store) as store:
        stored = store.find(request.key for request in planned.all_requests())
    table = Table("stage", "level", "strategy", "prompts", "prompt tokens", "stored", "to generate")
    for column in table.columns[3:]:
        column.justify = "right"
    rows: dict[tuple[str, str, str], list[int]] = {}
    for request in planned.all_requests():
        cell = request.condition
        row = rows.setdefault((cell.stage, cell.level, cell.strategy), [0, 0, 0])
        row[0] += 1
        drawn = request.prompt.rerank.n if request.prompt.rerank else 1
        row[1] += len(request.prompt.token_ids) * drawn
        row[2] += request.key in stored
    for cell_names, (prompts, tokens, known) in rows.items():
        todo = str(prompts - known)
        table.add_row(*cell_names, str(prompts), str(tokens), str(known), todo)
    table_console().print(table)
    totals = [sum(row[n] for row in rows.values()) for n in range(3)]
    budget = max((r.sampling.max_tokens for r in planned.all_requests()), default=0)
    typer.echo(
        f"{totals[0]} prompts, {totals[1]} prompt tokens, at most {budget} new tokens each; "
        f"{totals[2]} answered already; {len(planned.skipped)} items left out as inexpressible"
    )
    for gap in planned.skipped:
        typer.echo(for_terminal(f"left out: {gap.sample_id} ({gap.condition}): {gap.reason}"))
    if any(request.prompt.rerank for request in planned.all_requests()):
        typer.echo(
            "note: an arm that draws several answers also has them judged, which is not counted"
        )
    for line in uses_lines(prepared.uses):
        typer.echo(for_terminal(line))
    for note in prepared.notes:
        typer.echo(for_terminal(f"note: {note}"))
    require_room(prepared)


__all__ = ["report", "run"]
