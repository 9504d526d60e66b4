"""The founding exercise: one question to the raw base, the wrapped base and the instruct model.

>>> from harness import ask
>>> for answer in ask("What is the capital of France?", "tiny"):
...     print(answer.condition, answer.text)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from harness import strategies
from harness.config import Experiment, load_experiment
from harness.errors import ConfigError
from harness.experiment import Backends, Finding, StageModel, resolve_models, with_pair
from harness.experiment.override import at_level
from harness.experiment.resolve import fitted_settings
from harness.protocols import Backend
from harness.records import (
    Arm,
    Condition,
    Generation,
    Message,
    RenderedPrompt,
    Request,
    Sample,
)
from harness.store import Store, default_store
from harness.strategies import Template, find_template, load_templates

RAW = "raw"
WRAPPER = "sys_qa"
NATIVE = "native"
OnText = Callable[[Condition, str], None]
"""Called with a condition and the text that was just decoded for it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one condition said: the answer up to the first stop string, and how it came about.

    ``stored``: it had been asked before, in a run or here, and no model was asked again.
    """

    condition: Condition
    prompt: RenderedPrompt
    generation: Generation
    stored: bool = False

    @property
    def text(self) -> str:
        """The answer with its prefilled opening, if it has one."""
        return f"{self.prompt.prefill}{self.generation.answer}"


@dataclass(frozen=True, slots=True)
class _Seat:
    """A loaded stage and the arms that are asked on it."""

    model: StageModel
    backend: Backend
    arms: tuple[Arm, ...]


class Asking:
    """Loaded models to which any number of questions can be put; a context manager.

    ``chosen`` are strategies of the base stage beside ``raw`` (default: ``sys_qa``); the instruct
    stage answers through ``native``. ``store`` is the file in which answers are looked up and kept
    (None: neither). Raises HarnessError for whatever an experiment may lack.
    """

    def __init__(
        self,
        experiment: Experiment,
        *,
        chosen: Sequence[str] | None = None,
        level: str | None = None,
        base_dir: Path | None = None,
        backends: Backends | None = None,
        store: Path | None = None,
    ) -> None:
        self.experiment = at_level(with_pair(experiment, None), level)
        self._templates = load_templates([Path(name) for name in self.experiment.templates])
        arms = _arms(self.experiment, chosen, self._templates)
        self._backends = backends or Backends()
        self._open = ExitStack()
        self._store = self._open.enter_context(Store(store)) if store else None
        try:
            self._seats = tuple(self._load(arms, Finding(base_dir or Path.cwd())))
        except BaseException:
            self._open.close()
            raise

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Who answers, in order: raw base, wrapped base, instruct."""
        return tuple(
            Condition(*seat.model.cell, arm.label) for seat in self._seats for arm in seat.arms
        )

    def ask(
        self, question: str, *, system: str | None = None, on_text: OnText | None = None
    ) -> Iterator[Answer]:
        """Yield each condition's answer as it finishes, one model after another.

        ``system`` replaces the system part of every strategy but the bare controls. Raises
        TemplateError before any model answers when one of the prompts breaks its contract.
        """
        sample = Sample(id="question", messages=(Message("user", question),), checks=())
        asked = [
            (seat, {request.key: request for request in self._requests(seat, sample, system)})
            for seat in self._seats
        ]
        for seat, requests in asked:
            known = self._stored(requests.values())
            for key, generation in known.items():
                yield Answer(requests[key].condition, requests[key].prompt, generation, True)
            waiting = {key: request for key, request in requests.items() if key not in known}

            def tell(key: str, text: str, asked: Mapping[str, Request] = waiting) -> None:
                if on_text is not None and key in asked:
                    on_text(asked[key].condition, text)

            if not waiting:
                continue
            for generation in seat.backend.generate(
                list(waiting.values()), on_token=tell if on_text else None
            ):
                request = waiting[generation.request_key]
                self._keep(request, generation)
                yield Answer(request.condition, request.prompt, generation)

    def _stored(self, requests: Iterable[Request]) -> dict[str, Generation]:
        """Answers that a run or an earlier question left, by the keys of these requests."""
        if self._store is None:
            return {}
        keys = {request.key: _run_key(request) for request in requests}
        found = self._store.find(keys.values())
        return {
            key: replace(found[stored], request_key=key)
            for key, stored in keys.items()
            if stored in found
        }

    def _keep(self, request: Request, generation: Generation) -> None:
        if self._store is not None:
            key = _run_key(request)
            self._store.add(replace(request, key=key), replace(generation, request_key=key))

    def close(self) -> None:
        """End the child processes and give their memory back."""
        self._open.close()

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load(self, arms: Mapping[str, tuple[Arm, ...]], finding: Finding) -> Iterator[_Seat]:
        """The stages' models, run as wide as a run's: so an answer here is the run's answer.

        Fewer rows would be faster and round otherwise: another wrapper beside it would change what
        a wrapper's column says.
        """
        found = resolve_models(_only(self.experiment, arms), finding, self._backends)
        settings, _ = fitted_settings(self.experiment, found, self._backends, {})
        for item in found:
            opening = self._backends.of(item).open(item.model, settings[item.cell])
            yield _Seat(item, self._open.enter_context(opening), arms[item.stage])

    def _requests(self, seat: _Seat, sample: Sample, system: str | None) -> Iterator[Request]:
        sampling = self.experiment.sampling.record()
        for number, given in enumerate(seat.arms):
            own = given if system is None or given.strategy in strategies.UNTOUCHED else None
            arm = own or replace(given, system=system)
            if why := seat.model.refusal(arm, self._templates[arm.strategy]):
                raise ConfigError(f"{seat.model.stage}: {arm.label} cannot be asked: {why}")
            prompt = strategies.render(
                sample,
                arm,
                self._templates[arm.strategy],
                seat.backend.tokenizer,
                chat_template=seat.model.chat_template,
            )
            request = Request.keyed(
                prompt,
                sampling,
                sample_id=sample.id,
                condition=Condition(*seat.model.cell, arm.label),
                model_sha256=seat.model.model.sha256,
                engine=seat.backend.identity,
                seed=self.experiment.seed,
            )
            # Two strategies may come to the same tokens; each has its own column here.
            yield replace(request, key=f"{request.key}-{number}")


def ask(
    question: str,
    experiment: str | Path | Experiment = "tiny",
    *,
    strategies: Sequence[str] | None = None,
    system: str | None = None,
    level: str | None = None,
    base_dir: Path | None = None,
    use_cache: bool = True,
) -> list[Answer]:
    """Ask one question of the raw base, the wrapped base and the instruct model.

    ``experiment`` names their files (a YAML file, a shipped name, or an Experiment);
    ``strategies`` are the wrappers of the base (default: ``sys_qa``), ``system`` replaces their
    system part and the instruct model's. Answers are stored, and not asked for twice unless
    ``use_cache`` is false. Models are loaded and freed by each call: keep an :class:`Asking` to ask
    more than once. Raises HarnessError.
    """
    found = experiment if isinstance(experiment, Experiment) else load_experiment(experiment)
    store = default_store() if use_cache else None
    with Asking(found, chosen=strategies, level=level, base_dir=base_dir, store=store) as asking:
        order = {condition: place for place, condition in enumerate(asking.conditions)}
        answers = list(asking.ask(question, system=system))
    return sorted(answers, key=lambda answer: order[answer.condition])


def _run_key(request: Request) -> str:
    """The request's key without its column: what a run would store its answer under."""
    return request.key.rpartition("-")[0]


def _arms(
    experiment: Experiment, chosen: Sequence[str] | None, templates: Mapping[str, Template]
) -> dict[str, tuple[Arm, ...]]:
    """Which arms each of the two stages is asked through."""
    base, instruct = experiment.ends()
    arms = {base: tuple(_arm(experiment, base, name, templates) for name in _wrappers(chosen))}
    if instruct in experiment.stages and instruct != base:
        arms[instruct] = (_arm(experiment, instruct, NATIVE, templates),)
    return arms


def _wrappers(chosen: Sequence[str] | None) -> list[str]:
    return list(dict.fromkeys([RAW, *(chosen if chosen is not None else [WRAPPER])]))


def _arm(experiment: Experiment, stage: str, name: str, templates: Mapping[str, Template]) -> Arm:
    """The experiment's own entry of that label on that stage, else the plain strategy."""
    for arm in experiment.arms(stage):
        if arm.label == name:
            return arm
    template = find_template(templates, name)
    strategies.check_variables(Arm(strategy=name, label=name), template)
    return Arm(strategy=name, label=name)


def _only(experiment: Experiment, arms: Mapping[str, Sequence[Arm]]) -> Experiment:
    """The experiment without the stages that nobody asks, so that they are not fetched."""
    stages = {name: stage for name, stage in experiment.stages.items() if name in arms}
    # An entry per stage, whatever the file said: a stage without strategies is not resolved.
    entries = tuple({"id": arm.strategy} for group in arms.values() for arm in group[:1])
    data = experiment.model_dump(by_alias=True, exclude_unset=True)
    data |= {
        "stages": {name: stage.model_dump(exclude_unset=True) for name, stage in stages.items()},
        "strategies": list(dict.fromkeys(entry["id"] for entry in entries)),
        "contrasts": [],
    }
    return Experiment.model_validate(data)
