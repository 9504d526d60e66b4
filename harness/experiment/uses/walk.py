"""Which of the two models, for what: each stage is loaded once and asked for every use."""

from __future__ import annotations

from harness import checks
from harness.choice.values import Choice
from harness.config import Experiment
from harness.experiment.backend import Backends, Finding
from harness.experiment.opening import DoesNotFit
from harness.experiment.override import at_level, with_pair
from harness.experiment.resolve import fitted_settings, pair_notes, resolve_models
from harness.experiment.uses.questions import ChoiceOptions, questions_of
from harness.experiment.uses.table import Models, measured
from harness.experiment.watch import Watcher
from harness.records import Cell
from harness.store import Store


def choose(
    experiment: Experiment,
    options: ChoiceOptions,
    *,
    watcher: Watcher | None = None,
    backends: Backends | None = None,
) -> Choice:
    """Measure every use that was given something to measure, and decide each.

    Nothing is claimed of a use that was not run. Raises HarnessError; answers and scores are
    stored, and the same call goes on from there.
    """
    watcher, backends = watcher or Watcher(), backends or Backends()
    checks.load_plugins([options.base_dir / name for name in experiment.checks])
    experiment = at_level(with_pair(experiment, None), options.level)
    questions = questions_of(experiment, options)  # better refused now than after a long fetch
    finding = Finding(options.base_dir, options.progress, watcher.say)
    items = resolve_models(experiment, finding, backends)
    differences, warnings = pair_notes(experiment, items)
    told = [*warnings, *differences, *(note for item in items for note in item.notes)]
    lowered: dict[Cell, int] = {}
    while True:
        settings, fitted = fitted_settings(experiment, items, backends, lowered)
        try:
            with Store(options.store) as store:
                models = Models(items, settings, backends, store)
                return measured(questions, models, watcher, notes=[*told, *fitted])
        except DoesNotFit as error:
            lowered[error.cell] = error.layers
            questions = questions_of(experiment, options)
        finally:
            backends.dismiss()
