"""``harness init``: an experiment, prompts, a template and a check to start from."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from harness.cli.app import app
from harness.sanitize import for_terminal


@app.command(
    epilog="Examples: harness init my-eval; harness init my-eval --base base.gguf "
    "--instruct instruct.gguf --suite prompts.txt"
)
def init(
    folder: Path = typer.Argument(None, file_okay=False, help="Where to write (my-eval)."),
    base: str = typer.Option(None, "--base", help="The base model: a GGUF file, or repo:QUANT."),
    instruct: str = typer.Option(None, "--instruct", help="The instruct model, likewise."),
    suite: str = typer.Option(
        None,
        "--suite",
        help="Your prompts: a file or a folder (without it: an example is written).",
    ),
    yes: bool = typer.Option(
        False, "-y", "--yes", help="Ask nothing: what is not given is the bundled example."
    ),
) -> None:
    """Write a commented experiment, prompts, a template and a check; `harness run` of it works.

    Asks on a terminal for what is not given; elsewhere, and with -y, it starts with the bundled
    pair of tiny models and eight prompts. Overwrites nothing.
    """
    from harness.experiment.scaffold import write_project

    if sys.stdin.isatty() and sys.stdout.isatty() and not yes:
        folder = folder or Path(_ask("Folder", "my-eval"))
        if base is None and instruct is None:
            base = _ask("Base model, a GGUF file or repo:QUANT (empty: the bundled tiny pair)")
            instruct = _ask("Instruct model") if base else ""
        suite = suite or _ask("Your prompts, a file or folder (empty: an example to edit)")
    home = folder or Path("my-eval")
    project = write_project(home, base=base or None, instruct=instruct or None, suite=suite or None)
    for path, about in project.written:
        typer.echo(for_terminal(f"wrote {path}: {about}"))
    own = home / "checks.py"
    typer.echo("next:")
    for line in (
        f"harness suite check {project.suite} --checks {own}",
        f"harness template check {home / 'templates'}",
        f"harness run {project.experiment}",
        "harness view",
    ):
        typer.echo(for_terminal(f"  {line}"))


def _ask(question: str, default: str = "") -> str:
    return str(typer.prompt(question, default=default, show_default=bool(default))).strip()
