"""``harness levels``: how far a model may be quantized."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from harness.cli.app import app
from harness.cli.options import JSON, SUITE_HELP, print_json
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.config import Experiment
    from harness.reporting import Run

_TUNED, _BASE = ("native",), ("raw", "qa")


@app.command(
    epilog="Examples: harness levels model-F16.gguf --suite my.jsonl --margin 3 · "
    "harness levels base-F16.gguf --instruct instruct-F16.gguf"
)
def levels(
    model: str = typer.Argument(help="An F16, BF16 or F32 GGUF file, or X-{level}.gguf."),
    instruct: str = typer.Option(
        None, "--instruct", help="The tuned model of the pair; MODEL is the base then."
    ),
    names: str = typer.Option(
        "Q8_0,Q6_K,Q5_K_M,Q4_K_M,Q3_K_M,Q2_K", "--levels", help="Levels, comma-separated."
    ),
    suite: str = typer.Option("starter", "--suite", help=SUITE_HELP),
    margin: float = typer.Option(
        None, "--margin", help="Points a level may lose (default: what the items resolve)."
    ),
    imatrix: Path = typer.Option(
        None, "--imatrix", exists=True, dir_okay=False, help="Importance matrix to quantize with."
    ),
    both: bool = typer.Option(
        False, "--both", help="With --imatrix: every level with and without it."
    ),
    requantize: bool = typer.Option(
        False, "--requantize", help="Permit a model that is quantized already."
    ),
    fixed: bool = typer.Option(
        False, "--fixed-instruct", help="Keep the instruct model at the reference level."
    ),
    limit: int = typer.Option(None, "--limit", min=1, help="Items, evenly by category."),
    ngl: str = typer.Option("0", "--ngl", help="Layers on the GPU: a number, -1, auto."),
    max_tokens: int = typer.Option(256, "--max-tokens", min=1, help="Tokens per answer at most."),
    text: Path = typer.Option(
        None, "--text", exists=True, dir_okay=False, help="A text to compare distributions over."
    ),
    window: int = typer.Option(512, "--window", min=32, help="Tokens of its windows."),
    tokens: int = typer.Option(
        4000, "--tokens", min=0, help="Answer tokens to compare distributions over (0: none)."
    ),
    speed: bool = typer.Option(True, help="Measure load time, prefill, decode and memory."),
    out: Path = typer.Option(None, "-o", "--out", help="Folder for the reports."),
    quiet: bool = typer.Option(False, "-q", "--quiet", help="No progress, only the result."),
    as_json: bool = JSON,
) -> None:
    """Name the smallest quantization level whose loss is inside the margin, by the answers.

    Makes the levels with llama.cpp's quantizer (once), asks every item at every level, and judges
    each against the file it was made from by two one-sided tests: equivalent, worse, or cannot tell
    and how many items would. Writes the reports of a run.
    """
    from harness.analysis import decide
    from harness.config import Measure
    from harness.experiment import RunOptions, run
    from harness.experiment.progress import watch
    from harness.reporting import decision_lines, print_tables
    from harness.reporting.levels import level_tables
    from harness.reporting.shift import shift_table

    experiment = _experiment(
        model,
        instruct,
        _names(names),
        suite,
        margin,
        _Making(imatrix, both, requantize, fixed),
        ngl=ngl,
        max_tokens=max_tokens,
    )
    measure = Measure(
        speed=speed, tokens=tokens, text=str(text.absolute()) if text else None, window=window
    )
    experiment = experiment.model_copy(update={"measure": measure})
    interactive = sys.stderr.isatty() and not quiet
    options = RunOptions(
        limit=limit,
        out=out,
        command="harness " + shlex.join(sys.argv[1:]),
        progress=interactive,
    )
    with watch(interactive, quiet) as watcher:
        result = run(experiment, options, watcher=watcher)
    if as_json:
        print_json(_values(result.run))
        return
    found = decide(result.run.analysis)
    first = [item for item in found if item.topic == "level"]
    for line in decision_lines((*first, *(item for item in found if item.topic != "level"))):
        typer.echo(line)
    shifted = shift_table(result.run.analysis)
    print_tables([*level_tables(result.run.analysis), *([shifted] if shifted else [])])
    typer.echo(f"report: {result.run.folder / 'report.md'}")
    typer.echo(f"page: {result.run.folder / 'report.html'} (harness view opens it)")


@dataclass(frozen=True, slots=True)
class _Making:
    """How levels are made, and whether the instruct model has any."""

    imatrix: Path | None
    both: bool
    requantize: bool
    fixed: bool

    def names(self, levels: Sequence[str]) -> list[str]:
        """The levels to make, each with and without the importance matrix where both are asked."""
        from harness.config import WITH_IMATRIX

        if not self.both:
            return list(levels)
        if self.imatrix is None:
            raise ConfigError("--both compares levels with and without --imatrix: give one")
        return [name for level in levels for name in (level, level + WITH_IMATRIX)]


def _values(run: Run) -> dict[str, Any]:
    """What ``--json`` prints; docs/looking.md says what the keys hold."""
    from harness.reporting.levels import level_values

    return {
        "folder": str(run.folder),
        "decisions": [asdict(item) for item in run.decisions],
        "levels": level_values(run.analysis),
        "shifts": [asdict(item) for item in run.measured.shifts],
        "notes": list(run.measured.notes),
    }


def _experiment(
    model: str,
    instruct: str | None,
    names: tuple[str, ...],
    suite: str,
    margin: float | None,
    making: _Making,
    *,
    ngl: str,
    max_tokens: int,
) -> Experiment:
    """The run that tells: one model, or a pair, at every level."""
    from harness.config import NAME_LENGTH, parse_experiment
    from harness.experiment.override import chosen_suite, placed
    from harness.models import inspect_model, resolve_model

    many = "{level}" in model
    first = inspect_model(resolve_model(model, level=names[0] if many else None, base_dir=Path()))
    stages: dict[str, Any] = {"base" if instruct else "model": {"model": placed(model)}}
    strategies: dict[str, Any]
    if instruct:
        stages["instruct"] = {"model": placed(instruct), "fixed": making.fixed}
        strategies = {"base": list(_BASE), "instruct": list(_TUNED)}
    else:
        strategies = {"model": list(_TUNED if first.chat_template else _BASE)}
    if not ngl.lstrip("-").isdigit() and ngl != "auto":
        raise ConfigError(f"--ngl takes a number of layers, -1 for all, or auto: {ngl!r}")
    source = first.level.lstrip("~")
    kept = [name for name in names if name != source]
    made = {
        "from": source,
        "make": making.names(kept),
        "imatrix": str(making.imatrix.absolute()) if making.imatrix else None,
        "requantize": making.requantize,
    }
    data = {
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", f"levels-{first.path.stem}")[:NAME_LENGTH],
        "description": "How far may this model be quantized?",
        "stages": stages,
        "strategies": strategies,
        "levels": list(names) if many else made,
        "suites": [chosen_suite(suite)],
        "margin": margin,
        "sampling": {"max_tokens": max_tokens},
        "engine": {"n_gpu_layers": ngl if ngl == "auto" else int(ngl)},
    }
    return parse_experiment(data, "harness levels")


def _names(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise ConfigError("--levels names no level; for example --levels Q8_0,Q4_K_M")
    return found
