"""The walk from an experiment file to its reports: prepare, generate, score, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.checks import CodeSettings
from harness.config import Experiment
from harness.experiment.backend import Backends
from harness.experiment.generate import generate
from harness.experiment.judging import collect, control_answers, score
from harness.experiment.live import shown_live
from harness.experiment.manifest import build_manifest
from harness.experiment.measure import measure
from harness.experiment.opening import DoesNotFit
from harness.experiment.prepare import Prepared, RunOptions, prepare
from harness.experiment.uses.table import measure_uses
from harness.experiment.watch import Watcher, together
from harness.records import Cell, Generation, Scored
from harness.reporting import Run, new_run_folder, writable, write_run, written_before
from harness.store import Store


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run leaves behind: its folder's content, how many answers are new, which failed.

    ``again``: a folder held the very same run, and was written again in place of a new one.
    """

    run: Run
    generated: int
    failed: tuple[Generation, ...]
    again: bool = False


def run(
    experiment: Experiment,
    options: RunOptions,
    *,
    watcher: Watcher | None = None,
    backends: Backends | None = None,
) -> RunResult:
    """Run an experiment to its reports; stored answers are never generated again.

    Raises HarnessError; what was finished before is stored, and the same call goes on from there.
    """
    folder = options.out or new_run_folder(experiment.name)
    writable(folder)
    with shown_live(folder, experiment.name) as live:
        told = together(watcher or Watcher(), live)
        return _walked(experiment, options, folder, told, backends or Backends())


def _walked(
    experiment: Experiment,
    options: RunOptions,
    folder: Path,
    watcher: Watcher,
    backends: Backends,
) -> RunResult:
    layers: dict[Cell, int] = {}
    while True:
        prepared = prepare(experiment, options, watcher=watcher, layers=layers, backends=backends)
        try:
            with Store(options.store) as store:
                answered = generate(prepared, store, options.use_cache, watcher=watcher)
                trusted = None if options.use_cache else answered.generations
                choice, told = measure_uses(
                    prepared.uses, prepared.plan, backends, store, watcher, answered=trusted
                )
            break
        except DoesNotFit as error:
            # Fewer layers are another identity, so other keys: plan again; what is stored stays.
            layers[error.cell] = error.layers
    watcher.say("scoring")
    scored = score_all(prepared, answered.generations, options.jobs)
    manifest = build_manifest(
        prepared.experiment,
        prepared.plan,
        builds=prepared.backends.about(prepared.plan.stage_models),
        limit=options.limit,
        suites=prepared.suites,
        notes=[*prepared.notes, *answered.notes, *told],
        warnings=prepared.warnings,
        command=options.command,
        declared=answered.declared,
        uses=prepared.uses.files if prepared.uses else {},
    )
    finished = Run(folder, manifest, tuple(scored), choice=choice)
    if asked := prepared.experiment.measure:
        finished = finished.with_measured(
            measure(
                asked,
                prepared.text,
                prepared.plan,
                prepared.backends,
                answered.generations,
                finished.analysis,
                watcher,
            )
        )
    watcher.say("writing the reports")
    before = written_before(finished) if options.out is None else None
    write_run(before or finished)
    return RunResult(
        before or finished, answered.generated, answered.failed, again=before is not None
    )


def score_all(
    prepared: Prepared, generations: Mapping[str, Generation], jobs: int | None
) -> list[Scored]:
    """Every planned answer, every gap and every control responder, judged."""
    experiment, planned = prepared.experiment, prepared.plan
    answers = collect(planned, generations) + control_answers(experiment, planned.samples)
    code = CodeSettings(experiment.code)
    return score(answers, jobs=jobs, code=code, elsewhere=prepared.backends.judge)
