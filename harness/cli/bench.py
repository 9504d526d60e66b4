"""Commands: bench."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import typer

from harness.cli.app import app
from harness.cli.options import JSON, print_json
from harness.errors import ConfigError
from harness.records import EngineSettings
from harness.sanitize import for_terminal

if TYPE_CHECKING:
    from harness.engine.bench import Flips, Timing
    from harness.measured import Speed
    from harness.records import ModelFile

_ENGINE = EngineSettings()


@app.command(
    epilog="Examples: harness bench m-F16.gguf m-Q8_0.gguf m-Q4_K_M.gguf; "
    "harness bench owner/repo:Q4_K_M --flips --items 128 --prefix 1000"
)
def bench(
    model: list[str] = typer.Argument(
        ..., help="Files, family/stage:QUANT, or owner/repo:QUANT; ratios are to the first."
    ),
    repeats: int = typer.Option(3, "--repeats", min=1, help="Turns; medians are shown."),
    prompt: int = typer.Option(512, "--prompt", min=2, help="Tokens of the prompt to prefill."),
    decode: int = typer.Option(64, "--decode", min=1, help="Tokens to decode after it."),
    modes: bool = typer.Option(
        False, "--modes", help="Also answer made-up prompts in exact and in fast mode."
    ),
    flips: bool = typer.Option(
        False, "--flips", help="Like --modes, and compare the texts of fast mode with exact mode's."
    ),
    items: int = typer.Option(64, "--items", min=1, help="With --modes: prompts to answer."),
    max_tokens: int = typer.Option(
        64, "--max-tokens", min=1, help="With --modes: tokens to generate for each."
    ),
    prefix: int = typer.Option(
        0, "--prefix", min=0, help="With --modes: tokens of a prefix they all share."
    ),
    width: int = typer.Option(
        _ENGINE.width, "--width", min=2, help="With --modes: rows of a decode in exact mode."
    ),
    parallel: int = typer.Option(
        _ENGINE.parallel, "--parallel", min=1, help="With --modes: slots that may hold work."
    ),
    chunk: int = typer.Option(
        _ENGINE.chunk, "--chunk", min=2, help="With --modes: prefill chunk in tokens."
    ),
    devices: str = typer.Option(
        "",
        "--devices",
        help="Devices, comma-separated (CUDA0,CUDA1): with --modes at the same time, else the "
        "first.",
    ),
    ngl: str = typer.Option(
        "0", "-ngl", "--n-gpu-layers", "--ngl", help="Layers to offload: a number, -1, auto."
    ),
    as_json: bool = JSON,
    quiet: bool = typer.Option(False, "-q", "--quiet", help="No progress, only the result."),
) -> None:
    """Measure models of yours: load time, prefill and decode apart, peak memory, in turns.

    One sequence, as for one user. With --modes each model is also measured as a run uses it,
    many prompts at once; with --flips in how many greedy texts fast mode's rounding changed a
    token.
    """
    from harness.models import inspect_models

    paths = [_found(name) for name in model]
    files = dict(zip(_names(paths), inspect_models(paths), strict=True))
    settings = {
        name: EngineSettings(
            width=width,
            parallel=parallel,
            chunk=chunk,
            n_gpu_layers=_layers(ngl, file.path, parallel),
        )
        for name, file in files.items()
    }
    names = [name.strip() for name in devices.split(",") if name.strip()]
    turns = _speeds(files, settings, names, repeats, (prompt, decode), quiet)
    work = (items, prefix, max_tokens)
    answered = {
        name: _modes(file, settings[name], names, repeats, work, quiet)
        for name, file in files.items()
        if modes or flips
    }
    if as_json:
        print_json(_values(files, turns, answered, flips))
        return
    _say_speeds(files, turns, (prompt, decode))
    for name, runs in answered.items():
        _say_modes(name, settings[name], runs)
        if flips:
            _say_flips(_compared(runs))


def _found(name: str) -> Path:
    from harness.models import asked_level, inspect_model, require_level, resolve_model

    path = resolve_model(name, base_dir=Path.cwd(), progress=True)
    if asked := asked_level(name):
        require_level(inspect_model(path), asked)
    return path


def _names(paths: Sequence[Path]) -> list[str]:
    """Each file's name, with its place where several have the same."""
    names = [path.name for path in paths]
    return [
        name if names.count(name) == 1 else f"{name} ({place})"
        for place, name in enumerate(names, start=1)
    ]


def _speeds(
    files: Mapping[str, ModelFile],
    settings: Mapping[str, EngineSettings],
    devices: Sequence[str],
    repeats: int,
    work: tuple[int, int],
    quiet: bool,
) -> dict[str, tuple[Speed, ...]]:
    from harness.engine import Engine
    from harness.engine.fleet import device_indices
    from harness.experiment.measure.speed import speeds

    def opened(name: str) -> Engine:
        index = device_indices(devices[:1], settings[name])[0] if devices else None
        return Engine(files[name].path, "", settings[name], device=index)

    openers = {name: partial(opened, name) for name in files}
    return speeds(openers, turns=repeats, prefill=work[0], decode=work[1], say=_teller(quiet))


def _teller(quiet: bool) -> Any:
    """Says what goes on where somebody watches."""
    shown = sys.stderr.isatty() and not quiet
    return (lambda text: typer.echo(for_terminal(text), err=True)) if shown else (lambda _: None)


def _modes(
    file: ModelFile,
    exact: EngineSettings,
    devices: list[str],
    repeats: int,
    work: tuple[int, int, int],
    quiet: bool,
) -> dict[str, list[Timing]]:
    """Made-up prompts answered in exact and in fast mode, turn by turn."""
    from harness.engine import open_engine
    from harness.engine.bench import timed, workload

    items, prefix, max_tokens = work
    runs: dict[str, list[Timing]] = {"exact": [], "fast": []}
    say = _teller(quiet)
    with (
        open_engine(file.path, "", exact, devices) as one,
        open_engine(file.path, "", replace(exact, mode="fast"), devices) as other,
    ):
        requests = workload(one.tokenizer, items, prefix_tokens=prefix, max_tokens=max_tokens)
        for turn in range(1, repeats + 1):
            say(f"turn {turn} of {repeats}: {file.path.name} in exact and in fast mode")
            runs["exact"].append(timed(one, requests))
            runs["fast"].append(timed(other, requests))
    return runs


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


def _values(
    files: Mapping[str, ModelFile],
    turns: Mapping[str, Sequence[Speed]],
    answered: Mapping[str, Mapping[str, Sequence[Timing]]],
    flips: bool,
) -> list[dict[str, Any]]:
    """What ``--json`` prints; docs/looking.md says what the keys hold."""
    from harness.experiment.measure.speed import ratios
    from harness.measured import Speed

    middles = {name: Speed.middle(measured) for name, measured in turns.items()}
    first = next(iter(middles.values()))
    values = []
    for name, file in files.items():
        value: dict[str, Any] = {
            "model": name,
            "level": file.level,
            "size": file.size,
            "bits_per_weight": file.bits_per_weight,
            **asdict(middles[name]),
            "ratios": ratios(middles[name], first),
            "turns": [asdict(turn) for turn in turns[name]],
        }
        if name in answered:
            runs = answered[name]
            value["modes"] = {
                mode: {
                    "tokens_per_second": median(timing.rate for timing in timings),
                    "seconds": median(timing.seconds for timing in timings),
                    "overhead": median(timing.overhead for timing in timings),
                }
                for mode, timings in runs.items()
            }
            if flips:
                value["flips"] = asdict(_compared(runs))
        values.append(value)
    return values


def _compared(runs: Mapping[str, Sequence[Timing]]) -> Flips:
    from harness.engine.bench import flips

    return flips(runs["exact"][0].generations, runs["fast"][0].generations)


def _say_speeds(
    files: Mapping[str, ModelFile], turns: Mapping[str, Sequence[Speed]], work: tuple[int, int]
) -> None:
    from harness import numbers
    from harness.experiment.measure.speed import ratios
    from harness.measured import Speed
    from harness.reporting.terminal import plain_table, table_console

    middles = {name: Speed.middle(measured) for name, measured in turns.items()}
    first = next(iter(middles.values()))
    several = len(files) > 1

    def times(value: float | None) -> str:
        return f" ({numbers.decimal(value, 2)}×)" if several and value is not None else ""

    rows = []
    for name, file in files.items():
        speed = middles[name]
        ratio = ratios(speed, first)
        rows.append(
            [
                name,
                numbers.megabytes(file.size),
                numbers.decimal(file.bits_per_weight, 2),
                numbers.decimal(1000 * speed.load_seconds, 0),
                numbers.decimal(speed.prefill, 1) + times(ratio["prefill"]),
                numbers.decimal(speed.decode, 1) + times(ratio["decode"]),
                numbers.megabytes(speed.peak_bytes) + times(ratio["peak_bytes"]),
                numbers.megabytes(speed.device_bytes),
            ]
        )
    heads = ["model", "MB", "bits", "load ms", "prefill/s", "decode/s", "peak MB", "device MB"]
    if all(speed.device_bytes is None for speed in middles.values()):
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    turned = numbers.size(len(next(iter(turns.values()))), "turn")
    typer.echo(
        f"{work[0]} tokens of prompt, then {work[1]} tokens of one sequence; medians of {turned}"
        + ("; × of the first" if several else "")
    )
    table_console().print(plain_table(heads, rows))


def _say_modes(name: str, settings: EngineSettings, runs: Mapping[str, Sequence[Timing]]) -> None:
    first = runs["exact"][0]
    typer.echo(
        f"{name}: {len(first.generations)} prompts of "
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
