"""What two models are to be asked for each use: read and checked before either is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from harness import checks, strategies
from harness.checks import CodeMode, CodeSettings
from harness.choice.sides import NATIVE, Sides
from harness.choice.values import ArmScores, Use
from harness.config import Experiment
from harness.datasets import Source, limited, load_suite, suite_name, suite_sha256
from harness.datasets.infill import load_infill
from harness.datasets.texts import Document, files_in, load_documents
from harness.errors import ConfigError
from harness.experiment.uses.continuation import Continuation
from harness.experiment.uses.control import DRAWS, Predictability
from harness.experiment.uses.infill import FillIn
from harness.experiment.uses.instructions import Instructions
from harness.experiment.uses.seats import Seat
from harness.experiment.uses.shots import NEW_TOKENS, SHOTS, Adaptation, task_of
from harness.experiment.uses.style import Style
from harness.experiment.uses.windows import SHORTEST, strided
from harness.experiment.uses.words import Cloze
from harness.hashing import file_sha256
from harness.records import Sample
from harness.store import default_store

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

    ``experiment`` is at the level they are asked at, ``options`` what they are to be asked. The
    trials keep what they are told: each asking needs its own. ``files`` are the sha256 of what was
    read, by name.
    """

    experiment: Experiment
    options: ChoiceOptions
    sides: Sides
    documents: tuple[Document, ...]
    trials: tuple[Trial, ...]
    files: Mapping[str, str]

    @property
    def sizes(self) -> tuple[str, ...]:
        """How much each trial asks of each way of a stage, in words."""
        return tuple(size for trial in self.trials if (size := trial.size))


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
    return Questions(experiment, options, sides, documents, tuple(trials), _digests(options))


def sides_of(experiment: Experiment, wrappers: Sequence[str]) -> Sides:
    """Which stages are compared. Raises ConfigError where there is only one."""
    stages = tuple(experiment.stages)
    base, instruct = experiment.ends()
    if instruct not in stages or instruct == base:
        raise ConfigError(
            f"{experiment.name}: one stage ({stages[0]}) leaves nothing to choose between; give a "
            "pair, or --base and --instruct"
        )
    unfit = [name for name in wrappers if name in strategies.UNTOUCHED or name == NATIVE]
    if unfit:
        raise ConfigError(f"--wrappers: {unfit[0]} is no wrapper; for example qa,sys_qa")
    return Sides(stages, base, instruct, tuple(dict.fromkeys(wrappers)))


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
    loaded = [(s, _judgeable(load_suite(s, validate=checks.validate))) for s in given]
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


def _judgeable(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """The items that are instructions, and have something to judge."""
    return tuple(item for item in samples if item.kind == "instruction" and item.checks)


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


def _digests(options: ChoiceOptions) -> dict[str, str]:
    """The sha256 of every text, gap and example that is read, by the file's name."""
    places = [place for given in (*options.texts, *options.infill) for place in files_in(given)]
    found = {place.name: file_sha256(place) for place in places}
    if options.examples is not None:
        found[suite_name(options.examples)] = suite_sha256(options.examples)
    return found
