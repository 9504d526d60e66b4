"""The walk from an experiment file to its reports: plan, generate, score, analyse, report."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from harness import checks
from harness.checks import CodeSettings
from harness.config import Experiment
from harness.errors import ContextOverflow, EngineError
from harness.experiment.backend import (
    Backends,
    Cell,
    DoesNotFit,
    Finding,
    StageModel,
    fitted_settings,
    opened,
)
from harness.experiment.early import saved, until
from harness.experiment.judging import collect, control_answers, score
from harness.experiment.live import shown_live
from harness.experiment.manifest import build_manifest
from harness.experiment.measure import measure, read_asked
from harness.experiment.plan import Plan, plan
from harness.experiment.resolve import pair_notes, resolve_models, with_pair
from harness.experiment.suites import load_samples
from harness.experiment.watch import Watcher, together
from harness.hashing import tagged_hash
from harness.protocols import Backend, Until
from harness.records import Generation, Request, Scored
from harness.reporting import Run, writable, write_run, written_before
from harness.resources import reports_dir
from harness.store import Store, default_store


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a command line may say beyond the experiment file."""

    limit: int | None = None
    pair: str | None = None
    use_cache: bool = True
    out: Path | None = None
    store: Path = field(default_factory=default_store)
    base_dir: Path = field(default_factory=Path.cwd)
    jobs: int | None = None
    command: str = ""
    progress: bool = False
    dry: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """An experiment with its models found, its samples loaded and its grid planned."""

    experiment: Experiment
    plan: Plan
    backends: Backends
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    suites: Mapping[str, str]


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
        notes=[*prepared.notes, *answered.notes],
        warnings=prepared.warnings,
        command=options.command,
        declared=answered.declared,
    )
    finished = Run(folder, manifest, tuple(scored))
    if asked := prepared.experiment.measure:
        finished = finished.with_measured(
            measure(
                asked,
                prepared.plan,
                prepared.backends,
                answered.generations,
                finished.analysis,
                options.base_dir,
                watcher,
            )
        )
    watcher.say("writing the reports")
    before = written_before(finished) if options.out is None else None
    write_run(before or finished)
    return RunResult(
        before or finished, answered.generated, answered.failed, again=before is not None
    )


def prepare(
    experiment: Experiment,
    options: RunOptions,
    *,
    watcher: Watcher | None = None,
    layers: Mapping[Cell, int] | None = None,
    backends: Backends | None = None,
) -> Prepared:
    """Everything up to the plan: no weights are loaded, only tokenizers.

    ``layers`` holds GPU layers of stage models that did not load with what ``auto`` chose.
    """
    watcher, backends = watcher or Watcher(), backends or Backends()
    checks.load_plugins([options.base_dir / name for name in experiment.checks])
    experiment = with_pair(experiment, options.pair)
    read_asked(experiment.measure, options.base_dir)  # better refused now than after the answers
    samples, suites = load_samples(experiment, options.limit)
    watcher.say("finding the models")
    finding = Finding(options.base_dir, options.progress, watcher.say, options.dry)
    stage_models = resolve_models(experiment, finding, backends)
    settings, fit_notes = fitted_settings(experiment, stage_models, backends, layers or {})
    watcher.say("tokenizing the prompts")
    planned = plan(experiment, stage_models, samples, settings, backends)
    notes, warnings = pair_notes(experiment, stage_models)
    told = [note for item in stage_models for note in item.notes]
    if experiment.warning:
        warnings = [experiment.warning, *warnings]
    return Prepared(
        experiment,
        planned,
        backends,
        (*told, *notes, *fit_notes),
        tuple(warnings),
        suites,
    )


@dataclass(frozen=True, slots=True)
class Answered:
    """Generations by request key, how many are new, which failed, and the engines' notes.

    ``declared`` says when the experiment's contrasts were declared (see :func:`declared_when`).
    """

    generations: Mapping[str, Generation]
    generated: int
    failed: tuple[Generation, ...]
    notes: tuple[str, ...]
    declared: str = ""


def generate(
    prepared: Prepared,
    store: Store,
    use_cache: bool,
    *,
    watcher: Watcher,
) -> Answered:
    """Answer every request that the store does not hold, one model file after another."""
    planned = prepared.plan
    since = store.declare(declaration(prepared)) if prepared.experiment.contrasts else None
    every = {request.key: request for request in planned.all_requests()}
    generations = store.find(every) if use_cache else {}
    watcher.grid(planned.samples, list(planned.all_requests()), generations)
    watcher.begin(len(every), len(generations))
    before = len(generations)
    notes: list[str] = []
    if store.damaged:
        notes.append(
            f"{store.damaged} stored answers had changed on the disk and are generated again"
        )
        watcher.say(notes[-1])
    failed: list[Generation] = []
    form = prepared.experiment.early
    ends = until(planned, form) if form else None
    open_cells = [
        number
        for number, item in enumerate(planned.stage_models, start=1)
        if pending_of(planned.requests[item.stage, item.level], generations)
    ]
    try:
        for number, item in enumerate(planned.stage_models, start=1):
            pending = pending_of(planned.requests[item.stage, item.level], generations)
            name = f"{item.stage}/{item.level}"
            watcher.model(name, number, len(planned.stage_models), len(pending))
            about = _engine_name(prepared, item)
            if not pending:
                notes += [f"{name}: {note}" for note in store.notes(about)]
                continue
            settings = planned.settings[item.cell]
            with opened(
                prepared.experiment, item, settings, prepared.backends, len(pending)
            ) as backend:
                if number < open_cells[-1]:
                    backend.expect_another()
                for request, generation in _answers(backend, pending, name, ends):
                    store.add(request, generation, replace=not use_cache)
                    generations[request.key] = generation
                    if generation.finish_reason == "failed":
                        failed.append(generation)
                    watcher.answered(request, generation)
                said = backend.notes
            store.keep_notes(about, said)
            notes += [f"{name}: {note}" for note in dict.fromkeys((*store.notes(about), *said))]
    finally:
        prepared.backends.dismiss()
    watcher.finish(failed)
    if form and (told := saved(form, every.values(), generations.values())):
        notes.append(told)
    return Answered(
        generations,
        len(generations) - before,
        tuple(failed),
        tuple(dict.fromkeys(notes)),
        "" if since is None else declared_when(prepared, store, since),
    )


def declaration(prepared: Prepared) -> str:
    """The digest of the experiment's contrasts and of the suites they are about."""
    contrasts = [list(map(str, item)) for item in prepared.experiment.declared_contrasts()]
    return tagged_hash("contrasts", [contrasts, sorted(prepared.suites.items())])


def declared_when(prepared: Prepared, store: Store, since: float) -> str:
    """``before the run``: the contrasts were stored before any answer they compare; else
    ``in the file``. It is this store's word: what another cache has seen is not known here.
    """
    compared = {arm for _, *arms in prepared.experiment.declared_contrasts() for arm in arms}
    keys = [item.key for item in prepared.plan.all_requests() if item.condition in compared]
    first = store.first_added(keys)
    return "before the run" if first is not None and since <= first else "in the file"


def _engine_name(prepared: Prepared, item: StageModel) -> str:
    """What an engine's notes are kept under: the file, and how it is run."""
    settings = prepared.plan.settings[item.stage, item.level]
    return f"{item.model.sha256}/{settings.mode}/{settings.n_gpu_layers}"


def require_room(prepared: Prepared) -> None:
    """Raise ContextOverflow for the first prompt that cannot fit, as the engine would later."""
    planned = prepared.plan
    for item in planned.stage_models:
        limit = planned.settings[item.stage, item.level].n_ctx or item.model.context_length
        for request in planned.requests[item.stage, item.level]:
            need = len(request.prompt.token_ids) + request.sampling.max_tokens
            if limit and need > limit:
                prompt = need - request.sampling.max_tokens
                raise ContextOverflow(
                    f"sample {request.sample_id} ({request.condition}) needs {prompt} prompt "
                    f"tokens + {request.sampling.max_tokens} generated tokens, the context holds "
                    f"{limit}; shorten the prompt or lower sampling.max_tokens"
                )


def pending_of(requests: Sequence[Request], known: Mapping[str, Generation]) -> list[Request]:
    """Requests without an answer, each key once (two arms may put the very same tokens)."""
    distinct = {request.key: request for request in requests}
    return [request for key, request in distinct.items() if key not in known]


def _answers(
    backend: Backend, pending: Sequence[Request], name: str, ends: Until | None
) -> Iterator[tuple[Request, Generation]]:
    by_key = {request.key: request for request in pending}
    # A backend that can not end answers early does not know the argument.
    more: dict[str, Any] = {"until": ends} if ends and "early" in backend.abilities else {}
    for generation in backend.generate(pending, **more):
        yield by_key.pop(generation.request_key), generation
    if by_key:
        raise EngineError(
            f"{name}: the engine left {len(by_key)} of {len(pending)} requests unanswered; "
            "run the same command again"
        )


def score_all(
    prepared: Prepared, generations: Mapping[str, Generation], jobs: int | None
) -> list[Scored]:
    """Every planned answer, every gap and every control responder, judged."""
    experiment, planned = prepared.experiment, prepared.plan
    answers = collect(planned, generations) + control_answers(experiment, planned.samples)
    code = CodeSettings(experiment.code)
    return score(answers, jobs=jobs, code=code, elsewhere=prepared.backends.judge)


def new_run_folder(name: str) -> Path:
    """``reports/<experiment>/<UTC time>-<four hex digits>``, so that runs sort and never clash."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    return reports_dir() / name / f"{stamp}-{secrets.token_hex(2)}"
