"""Before a run: what its items can tell, and what it will cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.analysis.grid import unit_of
from harness.experiment.generate import generate, pending_of
from harness.experiment.prepare import Prepared
from harness.experiment.watch import Watcher
from harness.records import Cell, Generation, Sample
from harness.stats.power import (
    default_margin,
    exact_power,
    items_for_margin,
    minimum_detectable_effect,
)
from harness.store import Pace, Store

DISCORDANCES = (0.05, 0.1, 0.2, 0.3)
"""Shares of items that one of two arms passes alone: alike wrappers up to raw and instruct."""

GAPS = (0.05, 0.1, 0.2, 0.4)
"""Gaps between raw and instruct for which the chance of a recovered share is told."""

REVERSED = 0.02
"""Share of items that raw passes and instruct fails, in those chances."""

PROBED = 16
"""Requests that a probe answers of each model: one full decode of the default width."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a pair of arms needs to differ by, at one discordance, 80 % power and 5 %.

    ``alone`` in one test, ``adjusted`` at Holm's first step over the family; None: never so often.
    ``needed`` are the items that show two equal arms to be within the margin.
    """

    discordance: float
    alone: float | None
    adjusted: float | None
    needed: int


@dataclass(frozen=True, slots=True)
class SuitePower:
    """A suite's power: ``items`` are independent ones (paraphrases of one item count once).

    ``shares`` pairs a gap between raw and instruct with the chance that it is told from none:
    without that no recovered share is printed.
    """

    items: int
    family: int
    margin: float
    resolutions: tuple[Resolution, ...]
    shares: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """What is left to generate of one model.

    ``seconds`` are estimated from ``probed`` requests, else from ``earlier`` answers of the same
    file on this machine, whatever they were asked with; None without either.
    """

    model: str
    pending: int
    prompt_tokens: int
    most_tokens: int
    seconds: float | None = None
    probed: int = 0
    earlier: int = 0


def power(prepared: Prepared) -> SuitePower:
    """What the suites at hand can tell, by exact power of the test that reports use (McNemar)."""
    items = independent(prepared.plan.samples)
    experiment = prepared.experiment
    pair = experiment.recovery_pair()
    wrappers = len(experiment.arms(pair[0])) if pair else 0
    family = max(len(experiment.contrasts), wrappers * (wrappers - 1) // 2, 1)
    given = experiment.margin
    margin = default_margin(items) if given is None else given / 100
    return SuitePower(
        items,
        family,
        margin,
        tuple(
            Resolution(
                share,
                minimum_detectable_effect(items, share),
                minimum_detectable_effect(items, share, alpha=0.05 / family),
                items_for_margin(margin, share),
            )
            for share in DISCORDANCES
        ),
        tuple((gap, exact_power(gap, items, gap + 2 * REVERSED)) for gap in GAPS),
    )


def independent(samples: Sequence[Sample]) -> int:
    """How many judged instructions there are, paraphrases of one item counted once."""
    asked = [sample for sample in samples if sample.kind == "instruction" and sample.checks]
    return len({unit_of(sample) for sample in asked})


def costs(
    prepared: Prepared, store: Store, *, probe: bool, watcher: Watcher | None = None
) -> list[Cost]:
    """Requests and tokens left, model by model, and the seconds they take where that can be told.

    A probe answers a few of the run's own requests, spread over its arms; they are stored, so the
    run does not answer them again.
    """
    known = store.find(request.key for request in prepared.plan.all_requests())
    return [_cost(prepared, store, cell, known, probe, watcher) for cell in prepared.plan.requests]


def _cost(
    prepared: Prepared,
    store: Store,
    cell: Cell,
    known: dict[str, Generation],
    probe: bool,
    watcher: Watcher | None,
) -> Cost:
    pending = pending_of(prepared.plan.requests[cell], known)
    tokens = sum(len(request.prompt.token_ids) for request in pending)
    most = sum(request.sampling.max_tokens for request in pending)
    cost = Cost("/".join(cell), len(pending), tokens, most)
    if not pending:
        return cost
    if not probe:
        return _by_earlier(cost, store.pace(pending[0].model_sha256))
    chosen = pending[:: max(1, len(pending) // PROBED)][:PROBED]
    plan = prepared.plan
    alone = replace(
        plan,
        stage_models=tuple(item for item in plan.stage_models if item.cell == cell),
        requests={cell: tuple(chosen)},
    )
    begin = time.perf_counter()
    generate(replace(prepared, plan=alone), store, True, watcher=watcher or Watcher())
    seconds = (time.perf_counter() - begin) * len(pending) / len(chosen)
    return replace(cost, seconds=seconds, probed=len(chosen))


def _by_earlier(cost: Cost, pace: Pace | None) -> Cost:
    """With the seconds at the pace of earlier answers, which may be shorter than the limit."""
    if pace is None:
        return cost
    made = min(cost.most_tokens, cost.pending * pace.completion_tokens / pace.answers)
    seconds = (cost.prompt_tokens + made) * pace.seconds / pace.tokens
    return replace(cost, seconds=seconds, earlier=pace.answers)
