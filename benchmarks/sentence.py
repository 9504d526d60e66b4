"""How often the sentence of `harness levels` is right, through the function the report calls.

    python -m benchmarks.sentence

A level that is truly two margins worse may be called equivalent in 5 % of runs at most; one that
costs nothing must be found equivalent in 80 % at least, with as many items as the report itself
says show it.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from harness.analysis import analyse
from harness.analysis.levels import level_decisions
from harness.records import (
    CheckResult,
    CheckSpec,
    Condition,
    Generation,
    Message,
    Sample,
    Scored,
)
from harness.stats.power import items_for_margin

ARM = Condition("model", "F16", "native")
LEVEL = "Q4_K_M"
REPEATS = 300


def drawn(n: int, discordance: float, loss: float, rng: random.Random) -> list[Scored]:
    """``n`` items at two levels: so many flip, and the level passes ``loss`` fewer in truth."""
    lost, gained = (discordance + loss) / 2, (discordance - loss) / 2
    rows = []
    for number in range(n):
        draw = rng.random()
        before = draw < lost or (draw >= lost + gained and rng.random() < 0.6)
        after = before if draw >= lost + gained else not before
        sample = Sample(f"{number:05d}", (Message("user", "?"),), (CheckSpec("target"),))
        for level, passed in ((ARM.level, before), (LEVEL, after)):
            key = f"{level}/{number}"
            rows.append(
                Scored(
                    sample,
                    replace(ARM, level=level),
                    Generation(key, "", "", (1,), "eos", 1, 1),
                    key=key,
                    results=(CheckResult(key, 0, "target", 1, passed, passed, ""),),
                )
            )
    return rows


def verdicts(
    repeats: int, n: int, *, margin: float, discordance: float, loss: float, seed: int
) -> Counter[str]:
    """What the report's sentence says of the level, how often."""
    found: Counter[str] = Counter()
    rng = random.Random(seed)
    for _ in range(repeats):
        analysis = analyse(
            drawn(n, discordance, loss, rng),
            recovery=None,
            contrasts=(),
            reference_level=ARM.level,
            seed=0,
            bits_per_weight={("model", "F16"): 16.0, ("model", LEVEL): 5.0},
            levels=(ARM.level, LEVEL),
            margin=margin,
        )
        (decision,) = level_decisions(analysis)
        said = f"take {LEVEL}" in decision.sentence
        assert said == (decision.verdict == "equivalent")
        found["equivalent" if said else decision.verdict] += 1
    return found


def main() -> None:
    """The table of benchmarks/RESULTS.md."""
    print("| margin | discordance | items | truth | called equivalent | worse | cannot tell |")
    print("|---|---|---|---|---|---|---|")
    for margin, discordance in ((0.1, 0.1), (0.05, 0.1), (0.05, 0.05), (0.03, 0.05)):
        n = items_for_margin(margin, discordance)
        truths = {"the same": 0.0, "one margin worse": margin, "two margins worse": 2 * margin}
        for name, loss in truths.items():
            psi = max(discordance, loss)
            found = verdicts(REPEATS, n, margin=margin, discordance=psi, loss=loss, seed=1)
            cells = [
                f"{100 * found[kind] / REPEATS:.1f} %"
                for kind in ("equivalent", "worse", "cannot tell")
            ]
            head = f"{100 * margin:g} points | {100 * psi:g} % | {n} | {name}"
            print(f"| {head} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
