"""Each stage loaded once and asked for every use, and what comes of it: a table with verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.choice.uses import USES
from harness.choice.values import ArmScores, Choice, Perplexity
from harness.choice.verdict import row_of
from harness.datasets.texts import Document
from harness.errors import ConfigError, EngineError
from harness.experiment.backend import Backends, StageModel
from harness.experiment.kept import Kept
from harness.experiment.plan import Plan
from harness.experiment.uses.continuation import perplexity
from harness.experiment.uses.questions import Questions
from harness.experiment.uses.seats import Seat
from harness.experiment.uses.windows import SHORTEST
from harness.experiment.watch import Watcher
from harness.records import Cell, EngineSettings, Generation
from harness.store import Store
from harness.strategies import load_templates


@dataclass(frozen=True, slots=True)
class Models:
    """The models that are asked, and the store that keeps what they say.

    ``trusted`` as in :class:`harness.experiment.kept.Kept`.
    """

    items: tuple[StageModel, ...]
    settings: Mapping[Cell, EngineSettings]
    backends: Backends
    store: Store
    trusted: set[str] | None = None


def measure_uses(
    questions: Questions | None,
    planned: Plan,
    backends: Backends,
    store: Store,
    watcher: Watcher,
    *,
    answered: Mapping[str, Generation] | None = None,
) -> tuple[Choice | None, tuple[str, ...]]:
    """The table of a run's uses, or why there is none: what fails leaves the run standing.

    What the grid has answered is looked up, not asked again: everything in the store, or
    ``answered`` alone where earlier answers are not to be used. Raises DoesNotFit.
    """
    if questions is None:
        return None, ()
    level = questions.experiment.level_names[0]
    stages = questions.experiment.stages
    items = tuple(
        item for item in planned.stage_models if item.level == level and item.stage in stages
    )
    trusted = None if answered is None else set(answered)
    models = Models(items, planned.settings, backends, store, trusted)
    watcher.say("which of the two, for what: measuring the uses")
    try:
        return measured(questions, models, watcher), ()
    except (ConfigError, EngineError) as error:
        return None, (f"the uses were not measured: {error}",)
    finally:
        backends.dismiss()


def measured(
    questions: Questions, models: Models, watcher: Watcher, *, notes: Sequence[str] = ()
) -> Choice:
    """The table of these models, asked one after the other. Raises HarnessError, and DoesNotFit."""
    arms, chunks, told = _asked(questions, models, watcher)
    found = {use.name: use for trial in questions.trials for use in trial.uses(arms)}
    return Choice(
        base=questions.sides.base,
        instruct=questions.sides.instruct,
        level=questions.experiment.level_names[0],
        columns=questions.sides.columns,
        models={item.stage: _named(item) for item in models.items},
        rows=tuple(row_of(found.get(name, use), questions.sides) for name, use in USES.items()),
        notes=tuple(dict.fromkeys((*notes, *told, *_left_out(questions.documents)))),
        perplexities=chunks,
        command=questions.options.command,
        files=questions.files,
    )


def _asked(
    questions: Questions, models: Models, watcher: Watcher
) -> tuple[list[ArmScores], tuple[Perplexity, ...], list[str]]:
    """Every stage's scores in every trial, and the engines' notes; one model at a time."""
    experiment, chunked = questions.experiment, questions.options.perplexity
    templates = load_templates([Path(name) for name in experiment.templates])
    arms: list[ArmScores] = []
    chunks: list[Perplexity] = []
    notes: list[str] = []
    for item in models.items:
        kept = Kept(
            experiment,
            item,
            models.settings[item.cell],
            models.backends,
            models.store,
            watcher.say,
            trusted=models.trusted,
        )
        with kept as model:
            seat = Seat(questions.sides, model, templates, experiment.seed, watcher.say)
            arms += [scores for trial in questions.trials for scores in trial.measure(seat)]
            if chunked:
                texts = [document.text for document in questions.documents]
                found = perplexity(seat, texts, chunked)
                chunks += [found] if found else []
            notes += [f"{item.stage}: {note}" for note in model.notes]
    return arms, tuple(chunks), notes


def _named(item: StageModel) -> Mapping[str, str]:
    return {"file": item.model.path.name, "sha256": item.model.sha256, "level": item.model.level}


def _left_out(documents: Sequence[Document]) -> list[str]:
    """Which documents were too short, if any."""
    short = [document.name for document in documents if len(document.text.rstrip()) < SHORTEST]
    told = f"{len(short)} documents are shorter than {SHORTEST} characters and left out"
    return [told] if short else []
