"""What is measured of a run's files beside its answers: speed, and how far levels are apart."""

from __future__ import annotations

from collections.abc import Mapping

from harness.analysis import Analysis
from harness.config import Measure
from harness.experiment.backend import Backends
from harness.experiment.measure.levels import level_divergences
from harness.experiment.measure.session import Session
from harness.experiment.measure.shift import shifts
from harness.experiment.measure.speed import speeds_of
from harness.experiment.measure.text import ComparedText
from harness.experiment.plan import Plan
from harness.experiment.watch import Watcher
from harness.measured import NOTHING, Divergence, Measured
from harness.records import Generation


def measure(
    asked: Measure | None,
    text: ComparedText | None,
    planned: Plan,
    backends: Backends,
    generations: Mapping[str, Generation],
    analysis: Analysis,
    watcher: Watcher,
) -> Measured:
    """Everything that the experiment asks to measure; what fails is a note, and the run stands."""
    if asked is None:
        return NOTHING
    able = [item for item in planned.stage_models if "measure" in backends.of(item).abilities]
    notes = [
        f"{item.cell}: backend {item.backend} cannot be measured"
        for item in planned.stage_models
        if item not in able
    ]
    session = Session(planned, backends, watcher, notes)
    timed = speeds_of(session, able) if asked.speed else {}
    found: list[Divergence] = []
    for arm in dict.fromkeys(item.reference for item in analysis.equivalences):
        own = [item for item in able if item.stage == arm.stage]
        found += level_divergences(session, own, arm, generations, asked, text)
    walked = shifts(session, able, analysis, generations, asked.tokens) if asked.shift else ()
    shifted = tuple(walked)
    named = {text.name: text.sha256} if text else {}
    told = tuple(dict.fromkeys(notes))
    return Measured(timed, tuple(found), shifted, named, session.pieces, told)
