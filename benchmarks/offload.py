"""What a GPU does to answers and speed: ``python -m benchmarks.offload MODEL.gguf ... [-o FILE]``.

For each file, in one run: whether exact mode keeps its promise on the device (the same texts at
every width of load), how many greedy texts differ from the CPU's, and the rates of both modes.
Ends with exit code 1 when exact mode's texts depend on the load.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median

from harness import native
from harness.engine import Engine
from harness.engine.bench import Timing, flips, timed, workload
from harness.records import EngineSettings

WIDTH = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    gpus = [device.description for device in native.devices() if device.kind == "gpu"]
    if not gpus:
        sys.exit("no GPU is visible to llama.cpp: see `harness doctor`, or `make setup GPU=cuda`")
    lines = [
        f"{', '.join(gpus)}; {options.items} prompts, {options.max_tokens} greedy tokens each, "
        f"{WIDTH} slots, {options.repeats} turns; medians of tokens/s, prefill included",
        "",
        "| file | CPU exact | GPU exact | GPU fast | GPU / CPU, exact | fast / exact, GPU "
        "| texts that depend on the load | texts other than the CPU's | fast other than exact |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    dependent = 0
    for model in options.models:
        row, found = measured(model, options)
        lines.append(row)
        dependent += found
        print(row, file=sys.stderr, flush=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    sys.exit(1 if dependent else 0)


def measured(model: Path, options: argparse.Namespace) -> tuple[str, int]:
    """The file's row, and how many texts changed with the number of busy slots."""
    exact = EngineSettings(width=WIDTH, parallel=WIDTH, n_gpu_layers=-1)
    kinds = {
        "CPU exact": replace(exact, n_gpu_layers=0),
        "GPU exact": exact,
        "GPU fast": replace(exact, mode="fast"),
    }
    runs: dict[str, list[Timing]] = {}
    for _ in range(options.repeats):
        for name, settings in kinds.items():
            if name == "CPU exact" and name in runs:
                continue  # the slow side once: its ratio is far from 1
            with Engine(model, "", settings) as engine:
                work = workload(engine.tokenizer, options.items, max_tokens=options.max_tokens)
                timed(engine, work[:WIDTH])
                runs.setdefault(name, []).append(timed(engine, work))
    reference = runs["GPU exact"][0].generations
    changed = set()
    for parallel in (1, 5, WIDTH):
        with Engine(model, "", replace(exact, parallel=parallel)) as engine:
            few = [*reversed(work)][: max(8, options.items // 4)]
            other = timed(engine, few).generations
        changed |= {key for key, one in other.items() if one.token_ids != reference[key].token_ids}
    rates = {name: median(t.rate for t in timings) for name, timings in runs.items()}
    cpu, fast = (runs[name][0].generations for name in ("CPU exact", "GPU fast"))
    cells = [
        model.name,
        *(f"{rates[name]:.0f}" for name in kinds),
        f"{rates['GPU exact'] / rates['CPU exact']:.1f}",
        f"{rates['GPU fast'] / rates['GPU exact']:.2f}",
        f"{len(changed)} of {max(8, options.items // 4)}",
        f"{flips(reference, cpu).flipped} of {len(work)}",
        f"{flips(reference, fast).flipped} of {len(work)}",
    ]
    return "| " + " | ".join(cells) + " |", len(changed)


if __name__ == "__main__":
    main()
