"""`python -m recipe`: rebuild the bundled family, one stage or all of them.

    python -m recipe                     everything, into recipe/out, then models/ and datasets/
    python -m recipe base sft            only these stages
    python -m recipe --preset mini       the whole chain in about a minute, into recipe/out/mini

A stage that is done is skipped; a stage that was interrupted continues from its checkpoint.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from recipe import card, convert, proof, suite, uses
from recipe.presets import PRESETS, Preset, world_of
from recipe.stages import STAGES

ROOT = Path(__file__).parent.parent
STEPS = (*STAGES, "convert", "card", "suite", "proof")


def convert_all(preset: Preset, out: Path, models: Path) -> None:
    """Write the three models and the adapter as GGUF."""
    models.mkdir(parents=True, exist_ok=True)
    about = {
        "base": "pretrained on a synthetic corpus; continues text, does not answer",
        "sft": "base after supervised tuning on instructions with verifiable constraints",
        "dpo": "sft after preference tuning towards direct answers that end by themselves",
    }
    for stage, text in about.items():
        convert.write_model(out / f"{stage}.pt", out / "tokenizer.json", preset.shape,
                            models / f"tiny-{stage}-F16.gguf", stage, text)  # fmt: skip
    template = convert.CHAT_TEMPLATE + "\n"  # for the adapter, whose base file has none
    (models / "tiny.jinja").write_text(template, encoding="utf-8")
    convert.write_adapter(out / "lora.pt", preset.shape, preset.lora.adapter_rank,
                          models / "tiny-sft-lora.gguf",
                          "supervised tuning of tiny-base as a low-rank adapter")  # fmt: skip


def main() -> None:
    """Parse the command line and run the steps in order."""
    parser = argparse.ArgumentParser(prog="python -m recipe", description=__doc__.split("\n")[0])
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of: {', '.join(STEPS)}")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="full")
    parser.add_argument("--out", type=Path, help="checkpoints (default: recipe/out)")
    parser.add_argument("--models", type=Path, help="GGUF files (default: models, or OUT/models)")
    parser.add_argument("--datasets", type=Path, help="suite (default: datasets, or OUT/datasets)")
    args = parser.parse_args()
    if unknown := sorted(set(args.steps) - set(STEPS)):
        parser.error(f"unknown step {unknown[0]!r}; the steps are: {', '.join(STEPS)}")
    preset, full = PRESETS[args.preset], args.preset == "full" and args.out is None
    out = args.out or (ROOT / "recipe" / "out" / ("" if full else args.preset))
    models = args.models or (ROOT if full else out) / "models"
    datasets = args.datasets or (ROOT if full else out) / "datasets"
    for step in args.steps or STEPS:
        print(f"== {step}", flush=True)
        if step in STAGES:
            STAGES[step](preset, out)
        elif step == "convert":
            convert_all(preset, out, models)
        elif step == "card":
            card.write_table(models)
        elif step == "suite":
            datasets.mkdir(parents=True, exist_ok=True)
            tasks = suite.suite_tasks(world_of(preset), preset.items or suite.ITEMS)
            suite.write_suite(tasks, datasets / "tiny.jsonl")
            uses.write_uses(world_of(preset), datasets)
        else:
            proof.write_reference(preset, out, models)
            print(*proof.compare(models), sep="\n")


if __name__ == "__main__":
    main()
