"""``harness choose``: which of the two models, for what, by the user's own files."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import typer

from harness.cli.app import app
from harness.cli.options import BASE, INSTRUCT, JSON, LEVEL, MAX_TOKENS, NGL, PAIR, QUIET, layers
from harness.errors import Interrupted


@app.command(
    epilog="Examples: harness choose tiny --suite tiny --text tiny-texts --infill tiny-gaps · "
    "harness choose --base A.gguf --instruct B.gguf --text essays.jsonl --wrappers qa"
)
def choose(
    experiment: str = typer.Argument(
        None, help="An experiment file, or the name of a shipped one (default: tiny)."
    ),
    base: str = BASE,
    instruct: str = INSTRUCT,
    pair: str = PAIR,
    text: list[str] = typer.Option(
        [],
        "--text",
        help="A text of yours to go on with: a file (--- lines part documents), a .jsonl file of "
        '{"text": ...} rows, or a folder. May be given again. Shipped: tiny-texts.',
    ),
    suite: list[str] = typer.Option(
        [],
        "--suite",
        help="Prompts with checks: a shipped suite (chat-style instructions) or a file of yours "
        "(own prompts). With nothing else given: the experiment's own suites.",
    ),
    examples: str = typer.Option(
        None,
        "--examples",
        help="Your task: rows with a prompt and a target; half are learned from in the prompt.",
    ),
    shots: str = typer.Option("0,1,2,4,8,16", "--shots", help="How many examples are given."),
    draws: int = typer.Option(
        3, "--draws", min=0, help="Seeded draws of examples, and of answers at temperature 0.7."
    ),
    infill: list[str] = typer.Option(
        [],
        "--infill",
        help="Gaps to fill: JSONL rows with prefix, suffix, reference and, if you like, tests; or "
        "HumanEval-infilling's rows. May be given again. Shipped: tiny-gaps.",
    ),
    spm: bool = typer.Option(
        False, "--spm", help="Fill-in-the-middle prompts with the suffix first (SPM; else PSM)."
    ),
    code: bool = typer.Option(
        False, "--code", help="Run filled-in Python against a row's tests, under bubblewrap."
    ),
    unsafe_code: bool = typer.Option(
        False, "--unsafe-code", help="The same without bubblewrap: what models write runs as you."
    ),
    wrappers: str = typer.Option(
        "qa,sys_qa", "--wrappers", help="Strategies that wrap the base model, comma-separated."
    ),
    level: str = LEVEL,
    limit: int = typer.Option(None, "--limit", min=1, help="Items of each use (documents, rows)."),
    window: int = typer.Option(
        1000, "--window", min=80, help="Characters predicted at a time, and seen before them."
    ),
    windows: int = typer.Option(
        None, "--windows", min=1, help="Windows of one document at most (all of it)."
    ),
    perplexity: int = typer.Option(
        None,
        "--perplexity",
        min=8,
        help="Also print what llama-perplexity -c N does, with this N, for every stage.",
    ),
    max_tokens: int = MAX_TOKENS,
    ngl: str = NGL,
    out: Path = typer.Option(None, "-o", "--out", help="Folder for the reports."),
    quiet: bool = QUIET,
    as_json: bool = JSON,
) -> None:
    """Say which of the two models to use for what: a table of uses, each with a verdict.

    Every stage is measured on your own files. Nothing is claimed of a use that was not run. Answers
    and the scores of texts are stored: the same command again goes on where it stopped.
    """
    from harness.datasets.texts import locate_use
    from harness.experiment.override import chosen_experiment, override
    from harness.experiment.progress import watch
    from harness.experiment.uses import ChoiceOptions, parse_shots
    from harness.experiment.uses import choose as measured
    from harness.reporting import new_run_folder, writable
    from harness.reporting.choice import as_json as choice_json
    from harness.reporting.choice import as_lines
    from harness.reporting.html.choose import write_choice

    interactive = sys.stderr.isatty() and not quiet
    chosen = override(
        chosen_experiment(experiment, pair=pair, base=base, instruct=instruct),
        n_gpu_layers=layers(ngl),
        max_tokens=max_tokens,
    )
    folder = out or new_run_folder(f"choose-{chosen.name}")
    writable(folder)
    options = ChoiceOptions(
        texts=tuple(map(locate_use, text)),
        suites=tuple(suite),
        examples=examples,
        shots=parse_shots(shots),
        draws=draws,
        infill=tuple(map(locate_use, infill)),
        fim="spm" if spm else "psm",
        code="unsafe" if unsafe_code else "sandboxed" if code else "off",
        wrappers=tuple(part.strip() for part in wrappers.split(",") if part.strip()),
        level=level,
        limit=limit,
        suite_limit=limit,
        window=window,
        windows=windows,
        perplexity=perplexity,
        command="harness " + shlex.join(sys.argv[1:]),
        progress=interactive,
    )
    try:
        with watch(interactive, quiet or as_json, steps=True) as watcher:
            found = measured(chosen, options, watcher=watcher)
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped; answers and scores are stored, the same command goes on"
        ) from None
    write_choice(found, folder)
    if as_json:
        typer.echo(choice_json(found), nl=False)
        return
    for line in as_lines(found):
        typer.echo(line)
    typer.echo(f"report: {folder / 'choice.md'}")
    typer.echo(f"page: {folder / 'choice.html'}")
