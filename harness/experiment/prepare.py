"""Before anything is generated: models found, samples loaded, prompts planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness import checks
from harness.config import Experiment
from harness.errors import ContextOverflow
from harness.experiment.backend import Backends, Finding
from harness.experiment.measure.text import ComparedText, compared_text
from harness.experiment.override import with_pair
from harness.experiment.plan import Plan, plan
from harness.experiment.resolve import fitted_settings, pair_notes, resolve_models
from harness.experiment.suites import load_samples
from harness.experiment.uses.beside import read_uses
from harness.experiment.uses.questions import Questions
from harness.experiment.watch import Watcher
from harness.records import Cell
from harness.store import default_store


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
    """An experiment with its models found, its samples loaded and its grid planned.

    ``uses`` are what is asked beside the grid, ``text`` is what levels are compared over; None
    where nothing is.
    """

    experiment: Experiment
    plan: Plan
    backends: Backends
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    suites: Mapping[str, str]
    uses: Questions | None = None
    text: ComparedText | None = None


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
    text = compared_text(experiment.measure, options.base_dir)  # refused now, not after the answers
    uses = read_uses(experiment, options.limit, options.base_dir)
    samples, suites = load_samples(experiment, options.limit)
    watcher.say("finding the models")
    finding = Finding(options.base_dir, options.progress, watcher.say, options.dry)
    stage_models = resolve_models(experiment, finding, backends)
    notes, warnings = pair_notes(experiment, stage_models)
    settings, fit_notes = fitted_settings(experiment, stage_models, backends, layers or {})
    watcher.say("tokenizing the prompts")
    planned = plan(experiment, stage_models, samples, settings, backends)
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
        uses,
        text,
    )


def require_room(prepared: Prepared) -> None:
    """Raise ContextOverflow for the first prompt that cannot fit, as the engine would later."""
    planned = prepared.plan
    for item in planned.stage_models:
        limit = planned.settings[item.cell].n_ctx or item.model.context_length
        for request in planned.requests[item.cell]:
            need = len(request.prompt.token_ids) + request.sampling.max_tokens
            if limit and need > limit:
                prompt = need - request.sampling.max_tokens
                raise ContextOverflow(
                    f"sample {request.sample_id} ({request.condition}) needs {prompt} prompt "
                    f"tokens + {request.sampling.max_tokens} generated tokens, the context holds "
                    f"{limit}; shorten the prompt or lower sampling.max_tokens"
                )
