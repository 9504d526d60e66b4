"""Commands: bench."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import typer

from harness.cli.app import app
from harness.errors import ConfigError
from harness.records import EngineSettings
from harness.sanitize import for_terminal

if TYPE_CHECKING:
    from harness.engine.bench import Flips, Timing

_ENGINE = EngineSettings()


@app.command(
    epilog="Examples: harness bench models/tiny-base-Q8_0.gguf; "
    "harness bench owner/repo:Q4_K_M --flips --items 128 --prefix 1000"
)
def bench(
    model: str = typer.Argument(..., help="A file, family/stage:QUANT, or owner/repo:QUANT."),
    flips: bool = typer.Option(
        False, "--flips", help="Also compare the texts of fast mode with those of exact mode."
    ),
    items: int = typer.Option(64, "--items", min=1, help="Prompts to answer."),
    max_tokens: int = typer.Option(64, "--max-tokens", min=1, help="Tokens to generate for each."),
    prefix: int = typer.Option(0, "--prefix", min=0, help="Tokens of a prefix they all share."),
    width: int = typer.Option(
        _ENGINE.width, "--width", min=2, help="Rows of every decode in exact mode."
    ),
    parallel: int = typer.Option(
        _ENGINE.parallel, "--parallel", min=1, help="Slots that may hold work."
    ),
    chunk: int = typer.Option(_ENGINE.chunk, "--chunk", min=2, help="Prefill chunk in tokens."),
    repeats: int = typer.Option(
        3, "--repeats", min=1, help="Runs of each mode; medians are shown."
    ),
    devices: str = typer.Option(
        "", "--devices", help="Devices to use at the same time, comma-separated (CUDA0,CUDA1)."
    ),
    ngl: str = typer.Option(
        "0", "-ngl", "--n-gpu-layers", "--ngl", help="Layers to offload: a number, -1, auto."
    ),
) -> None:
    """Measure exact and fast mode on a model of yours, turn by turn, with made-up prompts.

    With --flips: in how many of the greedy texts fast mode's rounding changed a token.
    """
    from harness.engine import open_engine
    from harness.engine.bench import flips as compare
    from harness.engine.bench import timed, workload
    from harness.models import asked_level, inspect_model, require_level, resolve_model

    path = resolve_model(model, base_dir=Path.cwd(), progress=True)
    if asked := asked_level(model):
        require_level(inspect_model(path), asked)
    layers = _layers(ngl, path, parallel)
    exact = EngineSettings(width=width, parallel=parallel, chunk=chunk, n_gpu_layers=layers)
    runs: dict[str, list[Timing]] = {"exact": [], "fast": []}
    names = [name.strip() for name in devices.split(",") if name.strip()]
    with (
        open_engine(path, "", exact, names) as one,
        open_engine(path, "", replace(exact, mode="fast"), names) as other,
    ):
        requests = workload(one.tokenizer, items, prefix_tokens=prefix, max_tokens=max_tokens)
        for _ in range(repeats):
            runs["exact"].append(timed(one, requests))
            runs["fast"].append(timed(other, requests))
    _say_what(path, exact, runs)
    if flips:
        _say_flips(compare(runs["exact"][0].generations, runs["fast"][0].generations))


def _layers(ngl: str, path: Path, parallel: int) -> int:
    """The layers asked for, or as many as fit the devices, said on stderr."""
    if ngl == "auto":
        from harness import models, native

        fitted = models.fit(
            models.inspect_model(path),
            n_gpu_layers="auto",
            parallel=parallel,
            tokens_per_sequence=2048,
            devices=native.devices(),
        )
        typer.echo(for_terminal(fitted.why), err=True)
        return fitted.n_gpu_layers
    try:
        return int(ngl)
    except ValueError:
        raise ConfigError(f"--ngl takes a number of layers, -1 for all, or auto: {ngl!r}") from None


def _say_what(path: Path, settings: EngineSettings, runs: dict[str, list[Timing]]) -> None:
    first = runs["exact"][0]
    typer.echo(
        f"{path.name}: {len(first.generations)} prompts of "
        f"{first.prompt_tokens / len(first.generations):.0f} tokens on average, "
        f"width {settings.width}, parallel {settings.parallel}, chunk {settings.chunk}"
    )
    typer.echo(f"{'mode':<6} {'tokens/s':>9} {'seconds':>8} {'tokens':>7} {'overhead':>9}")
    for mode, timings in runs.items():
        typer.echo(
            f"{mode:<6} {median(t.rate for t in timings):9.1f} "
            f"{median(t.seconds for t in timings):8.2f} {timings[0].tokens:7d} "
            f"{100 * median(t.overhead for t in timings):8.1f}%"
        )


def _say_flips(found: Flips) -> None:
    where = f", first after {median(found.first_tokens):.0f} tokens" if found.first_tokens else ""
    typer.echo(
        f"flips: {found.flipped} of {found.n} texts differ between fast and exact "
        f"({100 * found.rate:.1f}%{where})"
    )
