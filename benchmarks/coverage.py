"""Coverage of the report's intervals, by simulation through the functions that the report calls.

``python -m benchmarks.coverage [--quick] [--repeats N]`` prints a Markdown table: nominal against
measured, with the Monte-Carlo error. Nothing here is timed and no model is loaded.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.gate.sequential import LOOKS, is_settled
from harness.records import Estimate
from harness.stats.best import Level, best_of_many
from harness.stats.pairs import noninferiority, paired
from harness.stats.power import default_margin
from harness.stats.rates import clustered_rate
from harness.stats.recovery import recovered_shares
from harness.stats.sequential import foreseen

Floats = NDArray[np.float64]
Row = tuple[str, int, int, int, float]
"""Figure, items, hits, simulations that gave an interval, nominal coverage."""

RESAMPLES = 1000


def correlated(rng: np.random.Generator, n: int, rates: Sequence[float]) -> Floats:
    """Pass/fail outcomes ``(n, arms)``: half of the items' difficulty is common to all arms."""
    from scipy.special import ndtr

    common, own = rng.standard_normal((n, 1)), rng.standard_normal((n, len(rates)))
    hard = ndtr((common + own) / math.sqrt(2))
    return np.asarray(hard < np.array(rates), dtype=float)


def holds(estimate: Estimate, truth: float) -> bool | None:
    """Whether the interval holds the truth; None where no number is printed."""
    if estimate.low is None or estimate.high is None:
        return None
    return estimate.low - 1e-12 <= truth <= estimate.high + 1e-12


def counted(figure: str, n: int, told: Sequence[bool | None], nominal: float = 0.95) -> Row:
    """A row of the table."""
    known = [item for item in told if item is not None]
    return figure, n, sum(known), len(known), nominal


def simple(n: int, repeats: int) -> list[Row]:
    """Rates, paired differences and shares of fixed arms, near 0, in the middle, and near 1."""
    rows = []
    for label, (b, w, i) in {
        "near 0": (0.02, 0.04, 0.3),
        "middle": (0.2, 0.4, 0.7),
        "nothing": (0.1, 0.1, 0.6),
        "everything": (0.05, 0.7, 0.7),
        "all of W": (0.02, 0.97, 0.75),
    }.items():
        rng = np.random.default_rng([n, len(label)])
        rate, difference, share, fieller = [], [], [], []
        for number in range(repeats):
            base, wrapped, instruct = correlated(rng, n, (b, w, i)).T
            rate.append(holds(clustered_rate(wrapped, np.ones(n)), w))
            difference.append(holds(paired(base, wrapped).delta, w - b))
            found = recovered_shares(
                [(wrapped, base, instruct)], np.arange(n), seed=number, resamples=RESAMPLES
            )[0]
            share.append(holds(found.share, (w - b) / (i - b)))
            fieller.append(holds(found.fieller, (w - b) / (i - b)))
        rows += [
            counted(f"score, {label}", n, rate),
            counted(f"wrapper − raw, {label}", n, difference),
            counted(f"share, {label}", n, share),
            counted(f"share (Fieller), {label}", n, fieller),
        ]
    return rows


def selected(n: int, k: int, rate: float, repeats: int) -> list[Row]:
    """The best of ``k`` wrappers that all pass ``rate``; raw too: any claim of a gain is false.

    With ties the selection's true worth is the common rate, whatever is chosen.
    """
    rng = np.random.default_rng([n, k, round(1000 * rate)])
    score, gain, named, beats, claims = [], [], [], [], 0
    for number in range(repeats):
        arms = correlated(rng, n, [rate] * (k + 1) + [0.5 + rate / 2])
        level = Level(arms[:, :k], arms[:, k], arms[:, k + 1])
        folds = rng.permutation(n) % 5
        found = best_of_many(level, [], folds, np.arange(n), seed=number, resamples=RESAMPLES)
        if found is None:
            continue
        chosen, winner = found[2][0], found[1]
        score.append(holds(chosen.score, rate))
        gain.append(holds(chosen.recovery.gain, 0.0))
        claims += chosen.recovery.gain.low is not None and chosen.recovery.gain.low > 0
        named.append(holds(winner.score, rate))
        beats.append(holds(winner.gain, 0.0))
    what = f"{k} equal wrappers at {rate:g}"
    return [
        counted(f"best wrapper's score, {what}", n, score),
        counted(f"best wrapper − raw, {what}", n, gain),
        counted(f"named winner's score, {what}", n, named),
        counted(f"named winner − raw, {what}", n, beats),
        (f"headline claims no gain, {what}", n, repeats - claims, repeats, 0.95),
    ]


def failing(n: int, repeats: int, failed: float = 0.2) -> list[Row]:
    """A wrapper that fails on a fifth of the items: what is missing is wrong, as reports count."""
    rng = np.random.default_rng([n, 7])
    difference, share = [], []
    base, wrapped, instruct = 0.1, 0.4 * (1 - failed), 0.7
    for number in range(repeats):
        b, w, i = correlated(rng, n, (base, 0.4, instruct)).T
        w = w * (rng.random(n) >= failed)
        difference.append(holds(paired(b, w).delta, wrapped - base))
        found = recovered_shares([(w, b, i)], np.arange(n), seed=number, resamples=RESAMPLES)[0]
        share.append(holds(found.share, (wrapped - base) / (instruct - base)))
    return [
        counted("wrapper − raw, the wrapper fails on 20 % of items", n, difference),
        counted("share, the wrapper fails on 20 % of items", n, share),
    ]


def carried(n: int, k: int, repeats: int) -> list[Row]:
    """The choice among ``k`` equal wrappers, carried to a level at which all do worse."""
    rng = np.random.default_rng([n, k, 11])
    share, change = [], []
    for number in range(repeats):
        arms = correlated(rng, n, [0.4] * k + [0.1, 0.7] + [0.3] * k + [0.1, 0.6])
        here, there = arms[:, : k + 2], arms[:, k + 2 :]
        levels = [Level(part[:, :k], part[:, k], part[:, k + 1]) for part in (here, there)]
        folds = rng.permutation(n) % 5
        found = best_of_many(
            levels[0], levels[1:], folds, np.arange(n), seed=number, resamples=RESAMPLES
        )
        if found is None or found[2][1].interaction is None:
            continue
        share.append(holds(found[2][1].fixed, 0.2 / 0.6))
        change.append(holds(found[2][1].interaction, -0.1))
    return [
        counted(f"level's share of the fixed gap, {k} equal wrappers", n, share),
        counted(f"difference in differences, {k} equal wrappers", n, change),
    ]


def repeated(n: int, repeats: int, epochs: int = 4) -> list[Row]:
    """Item means over epochs: items differ in difficulty, epochs within an item are independent."""
    rng = np.random.default_rng([n, epochs])
    rate, difference = [], []
    for _ in range(repeats):
        hard = rng.beta(0.6, 0.6, n)
        a, b = (rng.binomial(epochs, hard) / epochs for _ in range(2))
        rate.append(holds(clustered_rate(a, np.ones(n), repeats=epochs), 0.5))
        difference.append(holds(paired(a, b).delta, 0.0))
    return [
        counted(f"score, {epochs} epochs", n, rate),
        counted(f"difference, {epochs} epochs", n, difference),
    ]


def gate(n: int, repeats: int, margin: float = 0.05) -> list[Row]:
    """A model exactly ``margin`` worse must not pass more than once in twenty."""
    rng = np.random.default_rng([n, 5])
    cells = [0.05, 0.05 + margin, 0.9 - margin]
    false = 0
    for _ in range(repeats):
        wins, losses, _ = (int(x) for x in rng.multinomial(n, cells))
        old, new = np.zeros(n), np.zeros(n)
        new[:wins] = 1
        old[wins : wins + losses] = 1
        false += noninferiority(new, old, margin).verdict == "pass"
    return [(f"gate does not pass at −{100 * margin:g} points", n, repeats - false, repeats, 0.95)]


def looking(n: int, repeats: int) -> list[Row]:
    """A gate in looks: how often its outcome is not the full run's, and what items it spares.

    An unchanged tree, a change that costs 10 points, one as bad as the margin, and harmless noise.
    """
    margin = default_margin(n)
    cases = {
        "no item changes": (0.0, 0.0),
        "3 % of items each way": (0.03, 0.03),
        "10 points lost": (0.02, 0.12),
        "the margin lost": (0.05, 0.05 + margin),
    }
    rows = []
    for label, (win, loss) in cases.items():
        rng = np.random.default_rng([n, len(label)])
        right, used = 0, []
        for _ in range(repeats):
            suite = rng.choice([1.0, -1.0, 0.0], n, p=[win, loss, 1 - win - loss])
            full = noninferiority(suite, np.zeros(n), margin).verdict
            seen, share = looked(suite, margin)
            right += full in seen
            used.append(share)
        spared = f"{100 * (1 - float(np.median(used))):.0f} % of items spared"
        rows.append((f"gate in looks, {label} ({spared})", n, right, repeats, 0.95))
    return rows


def looked(suite: Floats, margin: float) -> tuple[frozenset[str], float]:
    """The verdicts left when a gate in looks stops, and the share seen; inconclusive is no pass."""
    n = len(suite)
    for look in range(1, LOOKS):
        drawn = suite[: math.ceil(n * look / LOOKS)]
        verdicts = foreseen(drawn, n, margin, independent=True).verdicts
        if is_settled(verdicts, frozenset({"pass"})):
            return frozenset(verdicts), len(drawn) / n
    return frozenset({noninferiority(suite, np.zeros(n), margin).verdict}), 1.0


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| figure | items | nominal | measured | Monte-Carlo error | intervals printed |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for figure, n, hits, total, nominal in rows:
        if total == 0:
            lines.append(f"| {figure} | {n} | {100 * nominal:.0f} % | — | — | 0 |")
            continue
        rate = hits / total
        error = math.sqrt(max(rate * (1 - rate), 1 / total / 4) / total)
        lines.append(
            f"| {figure} | {n} | {100 * nominal:.0f} % | {100 * rate:.1f} % "
            f"| ± {100 * error:.1f} | {total} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the simulations and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 simulations, fewer cases")
    parser.add_argument("--repeats", type=int, default=0, help="simulations per case (1,000)")
    options = parser.parse_args()
    repeats = options.repeats or (100 if options.quick else 1000)
    sizes = (40, 100) if options.quick else (40, 100, 300)
    several = (2, 5) if options.quick else (2, 5, 20)
    work: list[Callable[[], list[Row]]] = []
    for n in sizes:
        work += [lambda n=n: simple(n, repeats), lambda n=n: repeated(n, repeats)]  # type: ignore[misc]
        work += [lambda n=n: gate(n, repeats), lambda n=n: looking(n, repeats // 5)]  # type: ignore[misc]
        work += [lambda n=n: failing(n, repeats)]  # type: ignore[misc]
        for k in several:
            work += [lambda n=n, k=k: carried(n, k, repeats)]  # type: ignore[misc]
            for rate in (0.3,) if options.quick else (0.02, 0.3, 0.95):
                work += [lambda n=n, k=k, rate=rate: selected(n, k, rate, repeats)]  # type: ignore[misc]
    rows = [row for job in work for row in job()]
    print(table(rows))


if __name__ == "__main__":
    main()
