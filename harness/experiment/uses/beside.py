"""The uses that an experiment names, asked beside its grid: the other half of a run."""

from __future__ import annotations

from pathlib import Path

from harness.config import Experiment, Uses
from harness.datasets.texts import locate_use
from harness.experiment.override import at_level, only_stages
from harness.experiment.uses.questions import ChoiceOptions, Questions, questions_of


def asked_beside(
    experiment: Experiment, limit: int | None, base_dir: Path
) -> tuple[Experiment, ChoiceOptions]:
    """The base and the instruct stage at the reference level, and what they are asked.

    ``limit`` is the run's. Raises SuiteError for a text that is not there.
    """
    uses = experiment.uses or Uses()
    few = min((most for most in (limit, uses.limit) if most is not None), default=None)
    options = ChoiceOptions(
        texts=tuple(locate_use(name, base_dir) for name in uses.text),
        suites=experiment.suites,
        infill=tuple(locate_use(name, base_dir) for name in uses.infill),
        examples=uses.examples,
        shots=tuple(sorted(set(uses.shots))),
        draws=uses.draws,
        fim="spm" if uses.spm else "psm",
        code=experiment.code,
        wrappers=uses.wrappers,
        limit=few,
        suite_limit=limit,
        window=uses.window,
        windows=uses.windows,
        base_dir=base_dir,
    )
    return at_level(only_stages(experiment, experiment.ends()), None), options


def read_uses(experiment: Experiment, limit: int | None, base_dir: Path) -> Questions | None:
    """What the experiment's uses ask, None without any; ConfigError for what cannot be asked."""
    if experiment.uses is None:
        return None
    narrowed, options = asked_beside(experiment, limit, base_dir)
    return questions_of(narrowed, options)


def uses_lines(questions: Questions | None) -> list[str]:
    """What the uses ask beside the grid, for whoever plans a run; the time it takes is not told."""
    if questions is None:
        return []
    sides = questions.sides
    ways = sum(len(sides.ways(stage)) for stage in (sides.base, sides.instruct))
    return [
        f"uses, beside the grid and not in the estimate, in each of {ways} ways to ask "
        f"{sides.base} and {sides.instruct}: {', '.join(questions.sizes)}; what the grid has "
        "answered is not asked again"
    ]
