"""Which of the two models, for what: each stage is loaded once and asked for every use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from harness import checks
from harness.checks import CodeSettings
from harness.choice.sides import Sides
from harness.choice.uses import USES
from harness.choice.values import ArmScores, Choice, Perplexity, Use
from harness.choice.verdict import row_of
from harness.config import Experiment
from harness.datasets import Source, load_suite, suite_name, suite_sha256
from harness.datasets.infill import load_infill
from harness.datasets.texts import Document, files_in, load_documents
from harness.errors import ConfigError
from harness.experiment.backend import (
    Backends,
    DoesNotFit,
    Finding,
    StageModel,
    fitted_settings,
    opened,
)
from harness.experiment.kept import Kept
from harness.experiment.override import at_level
from harness.experiment.rescore import CodeMode
from harness.experiment.resolve import pair_notes, resolve_models, with_pair
from harness.experiment.suites import limited
from harness.experiment.uses.continuation import Continuation, perplexity
from harness.experiment.uses.control import DRAWS, Predictability
from harness.experiment.uses.infill import FillIn
from harness.experiment.uses.instructions import Instructions, judgeable
from harness.experiment.uses.seats import Seat, sides_of
from harness.experiment.uses.shots import NEW_TOKENS, SHOTS, Adaptation, task_of
from harness.experiment.uses.style import Style
from harness.experiment.uses.windows import SHORTEST, strided
from harness.experiment.uses.words import Cloze
from harness.experiment.watch import Watcher
from harness.hashing import file_sha256
from harness.protocols import Backend
from harness.records import Cell, EngineSettings
from harness.store import Store, default_store
from harness.strategies import load_templates

WRAPPERS = ("qa", "sys_qa")


@dataclass(frozen=True, slots=True)
class ChoiceOptions:
    """What is to be compared on what.

    ``texts`` are files to be continued; ``window`` are its characters, ``windows`` the most that
    are taken of one document; ``perplexity`` is the chunk of llama-perplexity's own figure;
    ``suites`` hold prompts with checks, ``examples`` rows of a task with targets, of which
    ``shots`` are given, in so many seeded ``draws`` (also of answers at a temperature; 0: none);
    ``infill`` are files of gaps, ``fim`` the order of their prompts, ``code`` whether tests may run
    what was filled in; ``limit`` are items (documents, rows) of each use, ``suite_limit`` those of
    a suite that are asked as instructions; ``wrappers`` are the base's.
    """

    texts: tuple[Path, ...] = ()
    suites: tuple[Source, ...] = ()
    infill: tuple[Path, ...] = ()
    examples: str | None = None
    shots: tuple[int, ...] = SHOTS
    draws: int = DRAWS
    fim: Literal["psm", "spm"] = "psm"
    code: CodeMode = "off"
    wrappers: tuple[str, ...] = WRAPPERS
    level: str | None = None
    limit: int | None = None
    suite_limit: int | None = None
    window: int = 1000
    windows: int | None = None
    perplexity: int | None = None
    store: Path = field(default_factory=default_store)
    base_dir: Path = field(default_factory=Path.cwd)
    command: str = ""
    progress: bool = False


class Trial(Protocol):
    """A kind of measurement: asked of each stage while it is loaded, then made into uses."""

    @property
    def size(self) -> str:
        """What it asks of each way of a stage (``60 windows of text to score``); empty: nothing."""

    def measure(self, seat: Seat) -> Iterator[ArmScores]:
        """The scores of each way of a stage."""

    def uses(self, arms: Sequence[ArmScores]) -> Iterator[Use]:
        """The uses, once every stage was measured."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What the models are to be asked, read and checked before any of them is loaded.

    The trials keep what they are told: each asking needs its own. ``files`` are the sha256 of what
    was read, by name.
    """

    sides: Sides
    documents: tuple[Document, ...]
    trials: tuple[Trial, ...]
    files: Mapping[str, str]

    @property
    def sizes(self) -> tuple[str, ...]:
        """How much each trial asks of each way of a stage, in words."""
        return tuple(size for trial in self.trials if (size := trial.size))


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
    questions_of(experiment, options)  # better refused now than after the models were fetched
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
                return measured(experiment, options, models, watcher, notes=[*told, *fitted])
        except DoesNotFit as error:
            lowered[error.cell] = error.layers
        finally:
            backends.dismiss()


def questions_of(experiment: Experiment, options: ChoiceOptions) -> Questions:
    """What is asked of the experiment's stages. Raises HarnessError naming what cannot be."""
    sides = sides_of(experiment, options.wrappers)
    documents = load_documents(options.texts, limit=options.limit)
    trials = [
        *_suite_trials(options, experiment),
        *_text_trials(options, documents, experiment.seed),
        *_gap_trials(options),
        *_example_trials(options, experiment, sides),
    ]
    return Questions(sides, documents, tuple(trials), _digests(options))


def _digests(options: ChoiceOptions) -> dict[str, str]:
    """The sha256 of every text, gap and example that is read, by the file's name."""
    places = [place for given in (*options.texts, *options.infill) for place in files_in(given)]
    found = {place.name: file_sha256(place) for place in places}
    if options.examples is not None:
        found[suite_name(options.examples)] = suite_sha256(options.examples)
    return found


def measured(
    experiment: Experiment,
    options: ChoiceOptions,
    models: Models,
    watcher: Watcher,
    *,
    notes: Sequence[str] = (),
) -> Choice:
    """The table of these models, asked one after the other. Raises HarnessError, and DoesNotFit."""
    questions = questions_of(experiment, options)
    arms, chunks, told = _asked(experiment, questions, options, models, watcher)
    found = {use.name: use for trial in questions.trials for use in trial.uses(arms)}
    return Choice(
        base=questions.sides.base,
        instruct=questions.sides.instruct,
        level=experiment.level_names[0],
        columns=questions.sides.columns,
        models={item.stage: _named(item) for item in models.items},
        rows=tuple(row_of(found.get(name, use), questions.sides) for name, use in USES.items()),
        notes=tuple(dict.fromkeys((*notes, *told, *_left_out(questions.documents)))),
        perplexities=chunks,
        command=options.command,
        files=questions.files,
    )


def _text_trials(options: ChoiceOptions, documents: Sequence[Document], seed: int) -> list[Trial]:
    """What the user's texts are good for."""
    trials: list[Trial] = []
    if documents:
        windows = strided(documents, size=options.window, most=options.windows)
        if not windows:
            raise ConfigError(
                f"--text: every document is shorter than {SHORTEST} characters; give longer ones"
            )
        first = Continuation(windows)
        cloze = Cloze(windows, first.units, first.named, seed)
        trials += [first, cloze, Style(windows, first.units, first.named)]
    return trials


def _suite_trials(options: ChoiceOptions, experiment: Experiment) -> list[Trial]:
    """Prompts with checks; the experiment's own suites where nothing at all was given."""
    given = options.suites
    if not (given or options.texts or options.infill or options.examples):
        given = experiment.suites
    loaded = [(s, judgeable(load_suite(s, validate=checks.validate))) for s in given]
    most = options.suite_limit
    shipped = [row for s, rows in loaded if not _own(s) for row in limited(rows, most)]
    own = [row for s, rows in loaded if _own(s) for row in limited(rows, most)]
    if given and not (shipped or own):
        raise ConfigError("--suite: no item has a check or a target, so nothing can be judged")
    if not given:
        return []
    sampling, code = experiment.sampling.record(), CodeSettings(options.code)
    trials: list[Trial] = [Instructions(shipped, own, sampling, code)]
    if options.draws:
        few = [row for _, rows in loaded for row in limited(rows, options.limit)]
        trials.append(Predictability(few, sampling, code, options.draws))
    return trials


def _own(suite: Source) -> bool:
    """Whether a suite is a file of the user's, not one that is shipped or published."""
    return isinstance(suite, str | Path) and Path(suite).is_file()


def _gap_trials(options: ChoiceOptions) -> list[Trial]:
    """Gaps to fill."""
    gaps = load_infill(options.infill, limit=options.limit)
    return [FillIn(gaps, CodeSettings(options.code), options.fim)] if gaps else []


def _example_trials(options: ChoiceOptions, experiment: Experiment, sides: Sides) -> list[Trial]:
    """Examples to learn from."""
    if options.examples is None:
        return []
    rows = load_suite(options.examples, validate=checks.validate)
    task = task_of(rows, shots=options.shots, draws=options.draws or 1, seed=experiment.seed)
    kept = replace(task, asked=task.asked[: options.limit])
    budget = min(experiment.sampling.max_tokens, NEW_TOKENS)
    sampling = replace(experiment.sampling.record(), max_tokens=budget)
    return [Adaptation(kept, sides, sampling, experiment.seed)]


def _asked(
    experiment: Experiment,
    questions: Questions,
    options: ChoiceOptions,
    models: Models,
    watcher: Watcher,
) -> tuple[list[ArmScores], tuple[Perplexity, ...], list[str]]:
    """Every stage's scores in every trial, and the engines' notes; one model at a time."""
    templates = load_templates([Path(name) for name in experiment.templates])
    arms: list[ArmScores] = []
    chunks: list[Perplexity] = []
    notes: list[str] = []
    for item in models.items:
        one = models.settings[item.cell]
        opening = partial(_loaded, experiment, item, one, models.backends, watcher)
        with Kept(
            item, one, models.backends, models.store, opening, trusted=models.trusted
        ) as model:
            seat = Seat(questions.sides, model, templates, experiment.seed, watcher.say)
            arms += [scores for trial in questions.trials for scores in trial.measure(seat)]
            if options.perplexity:
                texts = [document.text for document in questions.documents]
                found = perplexity(seat, texts, options.perplexity)
                chunks += [found] if found else []
            notes += [f"{item.stage}: {note}" for note in model.notes]
    return arms, tuple(chunks), notes


def _loaded(
    experiment: Experiment,
    item: StageModel,
    settings: EngineSettings,
    backends: Backends,
    watcher: Watcher,
) -> AbstractContextManager[Backend]:
    watcher.say(f"loading {item.stage}")
    return opened(experiment, item, settings, backends, 1)


def _named(item: StageModel) -> Mapping[str, str]:
    return {"file": item.model.path.name, "sha256": item.model.sha256, "level": item.model.level}


def _left_out(documents: Sequence[Document]) -> list[str]:
    """Which documents were too short, if any."""
    short = [document.name for document in documents if len(document.text.rstrip()) < SHORTEST]
    told = f"{len(short)} documents are shorter than {SHORTEST} characters and left out"
    return [told] if short else []
