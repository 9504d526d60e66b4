"""Measure the engine: ``make bench`` writes benchmarks/RESULTS.md.

One run, contestants taking turns, medians. LLAMA_SERVER and LLAMA_BATCHED_BENCH name binaries
built from the llama.cpp source inside llama-cpp-python's source distribution; what is not given
is not compared. Usage: python benchmarks/run.py [--items N] [--max-tokens N] [--ngl N] [-o F]
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.rivals import OneAtATime, Server, batched_bench  # noqa: E402
from harness import native  # noqa: E402
from harness.engine import Engine  # noqa: E402
from harness.engine.bench import flips, timed, workload  # noqa: E402
from harness.engine.limits import physical_cores  # noqa: E402
from harness.records import EngineSettings, Request  # noqa: E402

WEIGHTS = ROOT / "weights"
ROOM = 2048
MARKER = "\n<!-- written by hand: kept when the tables above are written again -->\n"
Contestant = Callable[[Sequence[Request]], tuple[float, int]]


def main() -> None:
    options = arguments()
    model: Path = options.model
    if not model.is_file():
        sys.exit(f"{model} is not there; run `make setup-weights`, or name a file with --model")
    lines = [*header(options)]
    kept = notes(options.output)
    for section in (
        functools.partial(throughput, prefix=0),
        functools.partial(throughput, prefix=1000),
        batched,
        memory,
        scaling,
    ):
        lines += section(options)
        options.output.write_text("\n".join(lines) + "\n" + kept, encoding="utf-8")
    print(f"written: {options.output}")


def notes(output: Path) -> str:
    """What people wrote below the tables of an earlier run: kept, with its own dates."""
    if not output.is_file():
        return ""
    _, marker, rest = output.read_text(encoding="utf-8").partition(MARKER)
    return marker + rest


def say(text: str) -> None:
    """Progress, for whoever waits half an hour."""
    print(text, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=WEIGHTS / "gemma-3-270m-Q4_K_M.gguf")
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--chunk", type=int, default=EngineSettings().chunk)
    parser.add_argument("--ngl", type=int, default=0, help="layers on the GPU; -1: all")
    parser.add_argument("--largest", type=int, default=5000, help="items of the scaling run")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "RESULTS.md")
    return parser.parse_args()


def settings_of(options: argparse.Namespace, slots: int) -> EngineSettings:
    """Exact mode with so many slots, as the options ask."""
    return EngineSettings(
        width=slots,
        parallel=slots,
        chunk=options.chunk,
        threads=physical_cores(),
        n_gpu_layers=options.ngl,
    )


def header(options: argparse.Namespace) -> list[str]:
    build = native.build_info()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return [
        "# Benchmark results",
        "",
        "Written by `make bench` (`benchmarks/run.py`). Contestants took turns; numbers are",
        "medians. Read the ratios: absolute numbers belong to the machine.",
        "",
        f"- date: {datetime.date.today().isoformat()}; model: `{options.model.name}`",
        f"- machine: {cpu_name()}, {physical_cores()} cores, {platform.system()}",
        gpu_line(build.backend, options.ngl),
        f"- load average when it began: {load:.1f} (more than 0 means that others were at work)",
        f"- build: {build.package}, {build.llama_build}, {build.backend}; {build.cpu_features}",
        f"- {options.items} prompts, {options.max_tokens} greedy tokens each, {options.slots} "
        f"slots, chunk {options.chunk}, {options.repeats} turns",
        "",
    ]


def gpu_line(backend: str, layers: int) -> str:
    if backend == "CPU":
        return "- GPU: not measured, this build has none"
    names = [device.description for device in native.devices() if device.kind == "gpu"]
    return f"- GPU: {', '.join(names) or 'none found'}; layers offloaded: {layers} (-1: all)"


def throughput(options: argparse.Namespace, prefix: int) -> list[str]:
    """The engine's two modes against its rivals, turn by turn."""
    threads, slots = physical_cores(), options.slots
    exact = settings_of(options, slots)
    rates: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    overheads: dict[str, list[float]] = {}
    fast = replace(exact, mode="fast")
    with contextlib.ExitStack() as stack:
        engines = {
            "exact": stack.enter_context(Engine(options.model, "", exact)),
            "fast": stack.enter_context(Engine(options.model, "", fast)),
        }
        if prefix:
            mixed = Engine(options.model, "", fast, mixed=True)
            engines["fast, mixed"] = stack.enter_context(mixed)
        # Every turn has prompts of its own: a server that keeps old prompts would not have to read
        # them a second time, and no user asks the same 64 questions twice.
        work = functools.partial(
            workload,
            engines["exact"].tokenizer,
            options.items,
            prefix_tokens=prefix,
            max_tokens=options.max_tokens,
        )
        warm = work()[: slots // 2]
        rivals = [OneAtATime(options.model, ROOM, threads, options.ngl)]
        if server := os.environ.get("LLAMA_SERVER"):
            rivals.append(Server(server, options.model, ROOM, slots, threads, options.ngl))
        try:
            for engine in engines.values():
                timed(engine, warm)
            for rival in rivals:
                rival.run(warm[:2])
            for turn in range(1, options.repeats + 1):
                runs, requests = {}, work(turn=turn)
                for mode, engine in engines.items():
                    before = cpu_seconds(engine.pid)
                    runs[mode] = timing = timed(engine, requests)
                    spent = cpu_seconds(engine.pid) - before
                    rates.setdefault(mode, []).append(timing.rate)
                    costs.setdefault(mode, []).append(1000 * spent / timing.tokens)
                    overheads.setdefault(mode, []).append(timing.overhead)
                    say(f"prefix {prefix}, turn {turn}: {mode} {timing.rate:.1f} tokens/s")
                for rival in rivals:
                    before = cpu_seconds(rival.pid)
                    seconds, tokens = rival.run(requests)
                    spent = cpu_seconds(rival.pid) - before
                    rates.setdefault(rival.name, []).append(tokens / seconds)
                    costs.setdefault(rival.name, []).append(1000 * spent / tokens)
                    rate = rates[rival.name][-1]
                    say(f"prefix {prefix}, turn {turn}: {rival.name} {rate:.1f} tokens/s")
        finally:
            for rival in rivals:
                rival.close()
    found = flips(runs["exact"].generations, runs["fast"].generations)
    return [*table(prefix, rates, costs, overheads), flip_line(found.flipped, found.n), ""]


def table(
    prefix: int,
    rates: dict[str, list[float]],
    costs: dict[str, list[float]],
    overheads: dict[str, list[float]],
) -> list[str]:
    """One row per contestant: tokens per second, CPU time, each with its ratios, overhead."""
    title = f"with a shared prefix of about {prefix} tokens" if prefix else "no shared prefix"
    rows = [
        f"## Generated tokens per second, {title}",
        "",
        "CPU seconds are the contestant's process alone, per 1,000 generated tokens; their ratios",
        "hold on a busy machine too (higher is better, as for the rates). Each turn has new",
        "prompts. Mixed: prompts fed along with decodes in one KV cache, as fast mode on a GPU.",
        "",
        "| contestant | tokens/s (turns) | × loop | × server "
        "| CPU s (turns) | × loop, CPU | × server, CPU | outside llama.cpp |",
        "|---|---|---|---|---|---|---|---|",
    ]
    inverse = {name: [1 / value for value in values] for name, values in costs.items()}
    for name, values in rates.items():
        over = overheads.get(name)
        cells = [name, turns(values, 1), *ratios(rates, name), turns(costs[name], 2)]
        cells += [*ratios(inverse, name), f"{100 * median(over):.1f} %" if over else "–"]
        rows.append("| " + " | ".join(cells) + " |")
    return [*rows, ""]


def turns(values: list[float], digits: int) -> str:
    return f"**{median(values):.{digits}f}** ({', '.join(f'{v:.{digits}f}' for v in values)})"


def ratios(values: dict[str, list[float]], name: str) -> list[str]:
    return [ratio(values[name], values.get(other)) for other in (OneAtATime.name, Server.name)]


def ratio(values: list[float], other: list[float] | None) -> str:
    """The median of the turn-by-turn ratios: what disturbs a turn disturbs both sides of it."""
    if other is None:
        return "not given"
    return f"{median(a / b for a, b in zip(values, other, strict=True)):.2f}"


def flip_line(flipped: int, n: int) -> str:
    return f"Greedy texts of fast mode that differ from exact mode's: {flipped} of {n}."


def batched(options: argparse.Namespace) -> list[str]:
    """Decode rate against llama-batched-bench at the same number of sequences."""
    binary = os.environ.get("LLAMA_BATCHED_BENCH")
    if not binary:
        return ["## llama-batched-bench", "", "Not given (LLAMA_BATCHED_BENCH=path).", ""]
    threads, slots = physical_cores(), options.slots
    settings = settings_of(options, slots)
    ours, theirs = [], []
    with Engine(options.model, "", settings) as engine:
        few = workload(engine.tokenizer, slots, max_tokens=1)
        many = workload(engine.tokenizer, slots, max_tokens=65)
        timed(engine, few)
        for _ in range(options.repeats):
            # Decoding alone: what 65 tokens take beyond what the first one takes.
            seconds = timed(engine, many).seconds - timed(engine, few).seconds
            ours.append(64 * slots / seconds)
            rate = batched_bench(binary, options.model, slots, threads, options.ngl)
            theirs.append(rate or float("nan"))
    return [
        f"## Decode rate at {slots} sequences against llama-batched-bench",
        "",
        "| | median tokens/s | turns |",
        "|---|---|---|",
        f"| exact | {median(ours):.1f} | {', '.join(f'{v:.0f}' for v in ours)} |",
        f"| llama-batched-bench | {median(theirs):.1f} | {', '.join(f'{v:.0f}' for v in theirs)} |",
        "",
    ]


def memory(options: argparse.Namespace) -> list[str]:
    """Peak resident memory of the child against slots and prefix length."""
    rows = [
        "## Peak memory of the child process",
        "",
        "| slots | prefix tokens | MiB |",
        "|---|---|---|",
    ]
    for slots in (8, 16, 32):
        for prefix in (0, 1000):
            settings = settings_of(options, slots)
            with Engine(options.model, "", settings) as engine:
                timed(
                    engine,
                    workload(engine.tokenizer, slots, prefix_tokens=prefix, max_tokens=4),
                )
                rows.append(f"| {slots} | {prefix} | {peak(engine.pid)} |")
    return [*rows, ""]


def scaling(options: argparse.Namespace) -> list[str]:
    """Time per item from 50 to thousands of items, on a model small enough for it to show."""
    from tests.support.tinygguf import write_llama

    rows = [
        "## Scaling with the number of items (tiny random model, 8 tokens each)",
        "",
        "| items | seconds | ms per item | outside llama.cpp |",
        "|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        tiny = write_llama(Path(folder) / "tiny.gguf")
        with Engine(tiny, "", EngineSettings(threads=1)) as engine:
            timed(engine, workload(engine.tokenizer, 8, max_tokens=8))
            for items in (50, 500, options.largest):
                timing = timed(engine, workload(engine.tokenizer, items, max_tokens=8))
                rows.append(
                    f"| {items} | {timing.seconds:.2f} | {1000 * timing.seconds / items:.2f} "
                    f"| {100 * timing.overhead:.1f} % |"
                )
    return [*rows, ""]


def cpu_seconds(pid: int) -> float:
    """User and system time a process has used so far (Linux; not a number elsewhere)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak(pid: int) -> str:
    """Highest resident size of a process so far, in MiB (Linux)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return "not measured on this platform"
    return next(str(int(line.split()[1]) // 1024) for line in lines if line.startswith("VmHWM:"))


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), "?")


if __name__ == "__main__":
    main()
