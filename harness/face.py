"""What ``import harness`` offers beyond records: run an experiment, judge answers, from Python.

Every command is one of these calls with its options read and its result printed.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import checks as registry
from harness.checks import CodeMode, CodeSettings
from harness.choice import Choice
from harness.config import Experiment, load_experiment
from harness.datasets.texts import locate_use
from harness.errors import ConfigError
from harness.experiment import RunOptions, rescore, with_pair
from harness.experiment import run as walk
from harness.experiment.progress import watch
from harness.experiment.responses import as_run, judged, read_responses
from harness.experiment.uses import WRAPPERS, ChoiceOptions
from harness.experiment.uses import choose as measured_choice
from harness.reporting import Run, write_run
from harness.reporting.html.choose import write_choice


def run(
    experiment: str | Path | Experiment = "tiny",
    *,
    limit: int | None = None,
    out: str | Path | None = None,
    use_cache: bool = True,
    jobs: int | None = None,
    progress: bool | None = None,
) -> Run:
    """Run an experiment (a file, a shipped name, an Experiment) and write its folder.

    ``limit`` items of each suite, spread over its categories; ``out`` is the folder (default:
    ``reports/<name>/<time>``); answers in the store are not generated again unless ``use_cache``
    is false; ``jobs`` processes judge. ``progress`` draws a live bar (default: where somebody
    watches, a terminal or a notebook; a notebook without ipywidgets gets lines instead). The same
    call goes on where an interrupted one stopped. Raises HarnessError.
    """
    found = experiment if isinstance(experiment, Experiment) else load_experiment(experiment)
    watched = (sys.stderr.isatty() or in_notebook()) if progress is None else progress
    options = RunOptions(
        limit=limit,
        use_cache=use_cache,
        out=None if out is None else Path(out),
        jobs=jobs,
        command=f"harness.run({found.name!r})",
        progress=watched,
    )
    with watch(interactive=watched and can_draw(), quiet=not watched) as watcher:
        return walk(with_pair(found, None), options, watcher=watcher).run


def choose(
    experiment: str | Path | Experiment = "tiny",
    *,
    suites: Sequence[str | Path] = (),
    texts: Sequence[str | Path] = (),
    infill: Sequence[str | Path] = (),
    examples: str | Path | None = None,
    wrappers: Sequence[str] = WRAPPERS,
    level: str | None = None,
    limit: int | None = None,
    code: CodeMode = "off",
    out: str | Path | None = None,
) -> Choice:
    """Which of an experiment's two models to use for what, on the files that are given.

    ``suites`` are prompts with checks, ``texts`` to go on with, ``infill`` gaps, ``examples`` a
    task (docs/choose.md); nothing is claimed of a use that nothing was given for. ``wrappers`` are
    the base's strategies. Nothing is written unless ``out`` names a folder. Raises HarnessError.
    """
    found = experiment if isinstance(experiment, Experiment) else load_experiment(experiment)
    options = ChoiceOptions(
        suites=tuple(map(str, suites)),
        texts=tuple(locate_use(str(name)) for name in texts),
        infill=tuple(locate_use(str(name)) for name in infill),
        examples=None if examples is None else str(examples),
        wrappers=tuple(wrappers),
        level=level,
        limit=limit,
        suite_limit=limit,
        code=code,
        command=f"harness.choose({found.name!r})",
    )
    made = measured_choice(found, options)
    if out is not None:
        write_choice(made, Path(out))
    return made


def score(
    run: str | Path | Run | None = None,
    *,
    responses: str | Path | Mapping[str, str] | Iterable[Mapping[str, Any]] | None = None,
    suite: str | None = None,
    checks: Sequence[str | Path] = (),
    code: CodeMode = "off",
    jobs: int | None = None,
    out: str | Path | None = None,
) -> Run:
    """Judge a run's stored answers again, or ``responses`` that somebody else generated.

    A run keeps every answer and every earlier verdict. ``responses`` are a JSONL file, rows with
    key and response, or a mapping from key to response; ``suite`` says what the keys asked.
    ``checks`` are Python files with checks of your own, ``code`` whether ``code_passes`` may run
    answers. Nothing is written unless ``out`` names a folder. Raises HarnessError.
    """
    if (run is None) == (responses is None):
        raise ConfigError("give either a run or responses to judge")
    if responses is None:
        if suite is not None:
            raise ConfigError("suite goes with responses; a run brings its own questions")
        assert run is not None
        again = rescore(run, jobs=jobs, plugins=[Path(name) for name in checks], code=code)
        found, stale = again.run, again.stale
    else:
        registry.load_plugins([Path(name) for name in checks])
        given = Path(responses) if isinstance(responses, str) else responses
        read = read_responses(given, suite)
        rows = judged(read, jobs=jobs, code=CodeSettings(code))
        found, stale = as_run(read, rows, folder=Path(out or "responses")), ()
    if out is None:
        return found
    placed = replace(found, folder=Path(out), samples_sha256="")
    write_run(placed, stale=stale)
    return placed


def can_draw() -> bool:
    """Whether a live bar can be drawn: on a terminal, or in a notebook that has widgets."""
    return not in_notebook() or importlib.util.find_spec("ipywidgets") is not None


def in_notebook() -> bool:
    """Whether this is a Jupyter kernel, where a progress bar is drawn too."""
    shell = sys.modules.get("IPython")
    kernel = shell.get_ipython() if shell is not None else None
    return kernel is not None and "IPKernelApp" in kernel.config
