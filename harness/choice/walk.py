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
from harness.choice.continuation import Continuation, perplexity
from harness.choice.control import DRAWS, Predictability
from harness.choice.infill import FillIn
from harness.choice.instructions import Instructions, judgeable
from harness.choice.seats import Seat, Sides, sides_of
from harness.choice.shots import NEW_TOKENS, SHOTS, Adaptation, task_of
from harness.choice.style import Style
from harness.choice.uses import USES
from harness.choice.values import ArmScores, Choice, Perplexity, Use
from harness.choice.verdict import row_of
from harness.choice.windows import SHORTEST, strided
from harness.choice.words import Cloze
from harness.config import Experiment
from harness.datasets import Source, load_suite
from harness.datasets.infill import load_infill
from harness.datasets.texts import Document, load_documents
from harness.errors import ConfigError
from harness.experiment import Backends, Finding, StageModel, Watcher, resolve_models, with_pair
from harness.experiment.backend import fitted_settings, opened
from harness.experiment.kept import Kept
from harness.experiment.override import at_level
from harness.experiment.rescore import CodeMode
from harness.experiment.resolve import pair_notes
from harness.experiment.suites import limited
from harness.protocols import Backend
from harness.records import EngineSettings
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
    what was filled in; ``limit`` are items (documents, rows) of each use; ``wrappers`` are the
    base's.
    """

    texts: tuple[Path, ...] = ()
    suites: tuple[str, ...] = ()
    infill: tuple[Path, ...] = ()
    examples: str | None = None
    shots: tuple[int, ...] = SHOTS
    draws: int = DRAWS
    fim: Literal["psm", "spm"] = "psm"
    code: CodeMode = "off"
    wrappers: tuple[str, ...] = WRAPPERS
    level: str | None = None
    limit: int | None = None
    window: int = 1000
    windows: int | None = None
    perplexity: int | None = None
    store: Path = field(default_factory=default_store)
    base_dir: Path = field(default_factory=Path.cwd)
    command: str = ""
    progress: bool = False


class Trial(Protocol):
    """A kind of measurement: asked of each stage while it is loaded, then made into uses."""

    def measure(self, seat: Seat) -> Iterator[ArmScores]:
        """The scores of each way of a stage."""

    def uses(self, arms: Sequence[ArmScores]) -> Iterator[Use]:
        """The uses, once every stage was measured."""


def choose(
    experiment: Experiment,
    options: ChoiceOptions,
    *,
    watcher: Watcher | None = None,
    backends: Backends | None = None,
) -> Choice:
    """Measure every use that was given something to measure, and decide each.

    Nothing is claimed of a use that was not run. Raises HarnessError; generated answers are stored,
    and the same call goes on from there.
    """
    watcher, backends = watcher or Watcher(), backends or Backends()
    documents = load_documents(options.texts, limit=options.limit)
    experiment = at_level(with_pair(experiment, None), options.level)
    sides = sides_of(experiment, options.wrappers)
    trials = [
        *_suite_trials(options, experiment),
        *_text_trials(options, documents, experiment.seed),
        *_gap_trials(options),
        *_example_trials(options, experiment, sides),
    ]
    finding = Finding(options.base_dir, options.progress, watcher.say)
    items = resolve_models(experiment, finding, backends)
    arms, chunks, told = _measured(
        experiment, sides, items, trials, documents, options, watcher, backends
    )
    found = {use.name: use for trial in trials for use in trial.uses(arms)}
    return Choice(
        base=sides.base,
        instruct=sides.instruct,
        level=experiment.level_names[0],
        columns=sides.columns,
        models={item.stage: _named(item) for item in items},
        rows=tuple(row_of(found.get(name, use), sides) for name, use in USES.items()),
        notes=_notes(experiment, items, documents, told),
        perplexities=chunks,
        command=options.command,
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
    given: Sequence[Source] = options.suites
    if not (given or options.texts or options.infill or options.examples):
        given = experiment.suites
    loaded = [(s, judgeable(load_suite(s, validate=checks.validate))) for s in given]
    shipped = [row for s, rows in loaded if not _own(s) for row in limited(rows, options.limit)]
    own = [row for s, rows in loaded if _own(s) for row in limited(rows, options.limit)]
    if given and not (shipped or own):
        raise ConfigError("--suite: no item has a check or a target, so nothing can be judged")
    if not given:
        return []
    sampling, code = experiment.sampling.record(), CodeSettings(options.code)
    trials: list[Trial] = [Instructions(shipped, own, sampling, code)]
    if options.draws:
        trials.append(Predictability([*shipped, *own], sampling, code, options.draws))
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


def _measured(
    experiment: Experiment,
    sides: Sides,
    items: Sequence[StageModel],
    trials: Sequence[Trial],
    documents: Sequence[Document],
    options: ChoiceOptions,
    watcher: Watcher,
    backends: Backends,
) -> tuple[list[ArmScores], tuple[Perplexity, ...], list[str]]:
    """Every stage's scores in every trial; one model is loaded at a time."""
    settings, notes = fitted_settings(experiment, items, backends, {})
    templates = load_templates([Path(name) for name in experiment.templates])
    arms: list[ArmScores] = []
    chunks: list[Perplexity] = []
    try:
        with Store(options.store) as store:
            for item in items:
                one = settings[item.cell]
                opening = partial(_loaded, experiment, item, one, backends, watcher)
                with Kept(item, one, backends, store, opening) as model:
                    seat = Seat(sides, model, templates, experiment.seed, watcher.say)
                    arms += [scores for trial in trials for scores in trial.measure(seat)]
                    if options.perplexity:
                        texts = [document.text for document in documents]
                        found = perplexity(seat, texts, options.perplexity)
                        chunks += [found] if found else []
                    notes += [f"{item.stage}: {note}" for note in model.notes]
    finally:
        backends.dismiss()
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


def _notes(
    experiment: Experiment,
    items: Sequence[StageModel],
    documents: Sequence[Document],
    told: Sequence[str],
) -> tuple[str, ...]:
    """What a reader must know: what makes the pair odd, which documents were too short."""
    differences, warnings = pair_notes(experiment, tuple(items))
    short = [document.name for document in documents if len(document.text.rstrip()) < SHORTEST]
    left = [f"{len(short)} documents are shorter than {SHORTEST} characters and left out"] * bool(
        short
    )
    own = [note for item in items for note in item.notes]
    return tuple(dict.fromkeys((*warnings, *differences, *own, *told, *left)))
