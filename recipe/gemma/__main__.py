"""`python -m recipe.gemma`: make the instruct half of the pair on real weights, one step or all.

    python -m recipe.gemma                  every step, into recipe/out/gemma
    python -m recipe.gemma train convert    only these

A step whose file is there is skipped; a training that was interrupted goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from recipe.gemma import convert, data, proof, train
from recipe.gemma.model import BASE, add_adapter, encode, load_model

STEPS = ("draw", "rows", "train", "convert", "proof")
OUT = Path(__file__).parents[1] / "out" / "gemma"
ADAPTER = "gemma-3-270m-instructions.gguf"
SETTLED = 320  # rows of the second stage


def write_rows(out: Path) -> None:
    """Write ``rows.jsonl``, what the training reads."""
    rows = data.training_rows(out, data.MADE)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (out / "rows.jsonl").write_text(text, encoding="utf-8")
    print(f"{len(rows)} rows, sha256 {digest(out / 'rows.jsonl')}")


def run_training(out: Path, plan: train.Plan) -> None:
    """Train on ``rows.jsonl`` into ``first.pt``, then on its first rows into ``adapter.pt``."""
    lines = (out / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    with proof.Reader(BASE) as reader:
        rows = encode([json.loads(line) for line in lines], reader)
    train.train(load_model(BASE), rows, plan, out / "first.pt")
    train.train(
        load_model(BASE), rows[:SETTLED], train.SETTLE, out / "adapter.pt", out / "first.pt"
    )


def prove(out: Path, plan: train.Plan) -> None:
    """Print how far torch and llama.cpp agree, with and without the adapter, F32 and as it is."""
    exact = out / BASE.name.replace("Q4_K_M", "F32")
    if not exact.exists():
        data.harness("quantize", BASE, "--levels", "F32", "--requantize", "-o", out)
    model = load_model(BASE)
    for path in (exact, BASE):
        print(proof.agreement(model, path), flush=True)
    tuned = add_adapter(model, plan.rank, plan.alpha, plan.seed)
    train.load_adapter(tuned, out / "adapter.pt")
    for path in (exact, BASE):
        print(proof.agreement(tuned, path, out / ADAPTER), flush=True)


def digest(path: Path) -> str:
    """The file's sha256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Parse the command line and run the steps in order."""
    parser = argparse.ArgumentParser(
        prog="python -m recipe.gemma", description=__doc__.split("\n")[0]
    )
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of: {', '.join(STEPS)}")
    parser.add_argument("--out", type=Path, default=OUT, help="data, checkpoints and adapter")
    args = parser.parse_args()
    if unknown := sorted(set(args.steps) - set(STEPS)):
        parser.error(f"unknown step {unknown[0]!r}; the steps are: {', '.join(STEPS)}")
    out, plan = args.out, train.Plan()
    out.mkdir(parents=True, exist_ok=True)
    for step in args.steps or STEPS:
        print(f"== {step}", flush=True)
        if step == "draw" and not (out / "drawn.jsonl").exists():
            data.draw(out, data.ASKED)
        elif step == "rows" and not (out / "rows.jsonl").exists():
            write_rows(out)
        elif step == "train":
            run_training(out, plan)
        elif step == "convert":
            convert.write_adapter(out / "adapter.pt", plan.alpha, out / ADAPTER)
            print(f"{out / ADAPTER}: sha256 {digest(out / ADAPTER)}")
        elif step == "proof":
            prove(out, plan)


if __name__ == "__main__":
    main()
