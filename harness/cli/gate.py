"""``harness gate``: did a change of templates cost instruction-following?"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.app import app
from harness.cli.options import EARLY
from harness.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.config import Experiment
    from harness.experiment import RunOptions
    from harness.gate import Gated, GateOptions
    from harness.records import Verdict


@app.command()
def gate(
    experiment: str = typer.Argument(
        "tiny", help="Experiment: a YAML file or a shipped name (`harness list experiments`)."
    ),
    baseline: Path = typer.Option(..., "--baseline", dir_okay=False, help="The baseline file."),
    update: bool = typer.Option(False, "--update", help="Write the baseline instead of judging."),
    margin: float = typer.Option(
        None,
        "--margin",
        help="Points an arm may lose (default: what the suite resolves at 80 % power, printed).",
    ),
    must_pass: list[str] = typer.Option(
        [], "--must-pass", help="Items with this tag may not fail; may be repeated."
    ),
    contrast: list[str] = typer.Option(
        [], "--contrast", help="A declared contrast to gate: its b may not fall behind its a."
    ),
    inconclusive: str = typer.Option(
        "fail", "--inconclusive", help="What an inconclusive verdict counts as: pass or fail."
    ),
    render_only: bool = typer.Option(
        False, "--render-only", help="Compare the rendered prompts; no model is asked."
    ),
    formats: list[str] = typer.Option(
        ["text"],
        "--format",
        help="text, markdown, html, json, junit or github; NAME=FILE writes it; may be repeated.",
    ),
    watch_files: bool = typer.Option(
        False, "--watch", help="Go on: judge again whenever a template is saved."
    ),
    templates: list[Path] = typer.Option(
        [], "--templates", exists=True, file_okay=False, help="Folder of your own templates."
    ),
    early: str = EARLY,
    sequential: bool = typer.Option(
        False,
        "--sequential",
        help="Ask items in a random order and stop once the full run's outcome is settled (95 %).",
    ),
    no_cache: bool = typer.Option(False, "--no-cache", help="Ignore earlier answers."),
    quiet: bool = typer.Option(False, "-q", "--quiet", help="No progress, only the result."),
) -> None:
    """Compare an experiment's arms with a stored baseline: pass, regress or inconclusive.

    Only what changed is asked again. Exit codes: 0 pass, 1 regress (or inconclusive), 2 usage or
    environment, a missing or stale baseline among it. docs/ci.md goes through a whole set-up.
    """
    from harness.config import load_experiment
    from harness.experiment import RunOptions, with_pair
    from harness.experiment.override import override
    from harness.gate import GateOptions

    if inconclusive not in {"pass", "fail"}:
        raise ConfigError(f"--inconclusive takes pass or fail, found {inconclusive!r}")
    if margin is not None and not 0 < margin < 100:
        raise ConfigError(f"--margin takes points between 0 and 100, found {margin:g}")
    wanted = _formats(formats)
    chosen = override(
        with_pair(load_experiment(experiment), None), templates=templates, early=early
    )
    options = RunOptions(use_cache=not no_cache)
    if update:
        _update(chosen, baseline, options, quiet)
        return
    if sequential and (render_only or contrast):
        raise ConfigError(
            "--sequential asks a part of the items; "
            f"{'--render-only' if render_only else '--contrast'} needs all of them: leave one out"
        )
    accepted: set[Verdict] = {"pass"} if inconclusive == "fail" else {"pass", "inconclusive"}
    rule = GateOptions(
        margin=None if margin is None else margin / 100,
        must_pass=tuple(must_pass),
        contrasts=tuple(contrast),
        render_only=render_only,
        sequential=sequential,
        accepted=frozenset(accepted),
    )
    if watch_files:
        _watch(chosen, baseline, rule, options, quiet)
    gated = _judge(chosen, baseline, rule, options, quiet)
    _show(gated, wanted)
    if gated.verdicts.verdict not in accepted:
        raise typer.Exit(1)


def _formats(given: Sequence[str]) -> list[tuple[str, Path | None]]:
    """``junit=gate.xml`` as a format and its file."""
    from harness.gate.outputs import FORMATS

    wanted = []
    for text in given:
        name, _, file = text.partition("=")
        if name not in FORMATS:
            raise ConfigError(f"--format {text!r}: accepted: {', '.join(FORMATS)}")
        wanted.append((name, Path(file) if file else None))
    return wanted


def _update(experiment: Experiment, path: Path, options: RunOptions, quiet: bool) -> None:
    from harness.experiment.progress import watch
    from harness.gate import default_margin, update

    with watch(sys.stderr.isatty() and not quiet, quiet) as watcher:
        written = update(experiment, path, options, watcher=watcher)
    items = len(next(iter(written.arms.values())).items) if written.arms else 0
    typer.echo(
        f"baseline: {path}: {len(written.arms)} arms of {items} items, which resolve "
        f"{100 * default_margin(items):.1f} points at 80 % power"
    )


def _judge(
    experiment: Experiment, path: Path, rule: GateOptions, options: RunOptions, quiet: bool
) -> Gated:
    from harness.experiment.progress import watch
    from harness.gate import gate as judge

    with watch(sys.stderr.isatty() and not quiet, quiet) as watcher:
        return judge(experiment, path, rule, options, watcher=watcher)


def _show(gated: Gated, wanted: Sequence[tuple[str, Path | None]]) -> None:
    """Print each format or write its file; on GitHub also the step's summary."""
    from harness.gate.outputs import FORMATS, as_markdown

    for name, file in wanted:
        text = FORMATS[name](gated)
        if file is None:
            typer.echo(text.rstrip("\n"))
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary and any(name == "github" for name, _ in wanted):
        with Path(summary).open("a", encoding="utf-8") as stream:
            stream.write(as_markdown(gated))


def _watch(
    experiment: Experiment, path: Path, rule: GateOptions, options: RunOptions, quiet: bool
) -> None:
    """Judge now and after every save, until Ctrl-C; an error of a template is one line."""
    from harness.errors import HarnessError
    from harness.gate import watched
    from harness.gate.outputs import as_text
    from harness.resources import resource_dir
    from harness.sanitize import for_terminal

    folders = [resource_dir("templates"), *(Path(name) for name in experiment.templates)]

    def once() -> None:
        try:
            typer.echo(as_text(_judge(experiment, path, rule, options, quiet)))
        except HarnessError as error:
            typer.echo(for_terminal(f"harness: {error}"))

    once()
    for files in watched([*folders, path]):
        typer.echo(for_terminal("\nchanged: " + ", ".join(file.name for file in files)))
        once()


__all__ = ["gate"]
