"""Which prompts are put to which models: the grid as requests, before any weight is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from harness import checks, strategies
from harness.config import Experiment
from harness.errors import ConfigError
from harness.experiment.backend import Backends, StageModel
from harness.hashing import tagged_hash
from harness.intake import near
from harness.protocols import Tokenizer
from harness.records import (
    Arm,
    Cell,
    Condition,
    EngineIdentity,
    EngineSettings,
    RenderedPrompt,
    Request,
    Sample,
    Sampling,
)
from harness.strategies import Template, load_templates

Rendered = tuple[dict[str, RenderedPrompt], dict[str, str]]
"""Prompts by sample id, and by sample id the reason for each item left out."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """An item that an arm cannot express: missing on purpose, visibly."""

    sample_id: str
    condition: Condition
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All that will be asked: requests per stage model, and what is left out."""

    samples: tuple[Sample, ...]
    stage_models: tuple[StageModel, ...]
    requests: Mapping[Cell, tuple[Request, ...]]
    skipped: tuple[Skipped, ...]
    templates: Mapping[str, str]
    sources: Mapping[str, str]
    settings: Mapping[Cell, EngineSettings]

    def all_requests(self) -> Iterable[Request]:
        """Every request of the grid, stage model by stage model."""
        for group in self.requests.values():
            yield from group


def checked_arms(
    experiment: Experiment, templates: Mapping[str, Template]
) -> Mapping[str, tuple[Arm, ...]]:
    """Each stage's arms, every template known and every variable supplied (else ConfigError)."""
    arms = {stage: experiment.arms(stage) for stage in experiment.stages}
    for stage, entries in arms.items():
        for arm in entries:
            template = templates.get(arm.strategy)
            if template is None:
                raise ConfigError(
                    f"{experiment.origin}: strategies of {stage}: {arm.strategy!r} is unknown; "
                    f"{near(arm.strategy, templates)}accepted: {', '.join(sorted(templates))}"
                )
            missing = strategies.required_variables(template) - set(arm.variables)
            if missing:
                raise ConfigError(
                    f"{experiment.origin}: strategies of {stage}: {arm.strategy!r} needs the "
                    f"variable(s) {', '.join(sorted(missing))}; supply them under `vars:`"
                )
    return arms


def plan(
    experiment: Experiment,
    stage_models: Sequence[StageModel],
    samples: Sequence[Sample],
    settings: Mapping[Cell, EngineSettings],
    backends: Backends,
) -> Plan:
    """Render and tokenize every prompt of the grid and name every request by its key."""
    templates = load_templates([Path(folder) for folder in experiment.templates])
    arms = checked_arms(experiment, templates)
    requests: dict[Cell, tuple[Request, ...]] = {}
    skipped: list[Skipped] = []
    sampling = _sampling(experiment, samples)
    form = experiment.early
    early = {sample.id: checks.early_digest(sample, form) for sample in samples} if form else {}
    with _Prompts(templates, backends) as prompts:
        for item in stage_models:
            cell = item.cell
            identity_of = backends.namer(item, settings[cell])
            group: list[Request] = []
            for arm in arms[item.stage]:
                condition = Condition(item.stage, item.level, arm.label)
                asked = _asked_of(experiment, arm, samples)
                rendered, left_out = prompts.of(item, arm, asked)
                skipped += [Skipped(name, condition, reason) for name, reason in left_out.items()]
                able = "early" in backends.of(item).abilities
                for name, prompt in rendered.items():
                    cut = early.get(name, "") if able and prompt.rerank is None else ""
                    identity = identity_of(name)
                    group += _requests(
                        experiment, sampling[name], item, condition, name, prompt, identity, cut
                    )
            requests[cell] = tuple(group)
    used = {arm.strategy for entries in arms.values() for arm in entries}
    return Plan(
        samples=tuple(samples),
        stage_models=tuple(stage_models),
        requests=requests,
        skipped=tuple(skipped),
        templates={name: templates[name].sha256 for name in sorted(used)},
        sources={name: templates[name].written for name in sorted(used)},
        settings=settings,
    )


def _sampling(experiment: Experiment, samples: Sequence[Sample]) -> Mapping[str, Sampling]:
    """How each item is decoded: as the experiment says, within the item's own budget if any."""
    usual = experiment.sampling.record()
    return {
        sample.id: usual
        if sample.max_tokens is None
        else replace(usual, max_tokens=sample.max_tokens)
        for sample in samples
    }


def _asked_of(experiment: Experiment, arm: Arm, samples: Sequence[Sample]) -> Sequence[Sample]:
    """The items an arm is asked: all, or for an ablated one those that can be ablated."""
    if not arm.ablated:
        return samples
    able = [sample for sample in samples if sample.ablated is not None]
    if not able:
        raise ConfigError(
            f"{experiment.origin}: strategy {arm.label!r}: no item of the suites has an "
            "`ablated` text (the request without its instruction); give rows one "
            "(datasets/README.md), or leave the strategy out"
        )
    return able


class _Prompts:
    """Rendered prompts, shared by all stage models with the same tokenizer and chat template.

    One child process per distinct tokenizer, closed with the ``with`` statement.
    """

    def __init__(self, templates: Mapping[str, Template], backends: Backends) -> None:
        self._templates, self._backends = templates, backends
        self._tokenizers: dict[str, Tokenizer | None] = {}
        self._done: dict[tuple[str, str, Arm], Rendered] = {}
        self._open = ExitStack()

    def __enter__(self) -> _Prompts:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def of(self, item: StageModel, arm: Arm, samples: Sequence[Sample]) -> Rendered:
        """The arm's prompt by sample id, and the reason for each item it cannot express."""
        frozen = replace(arm, label=arm.strategy, variables=_Hashable(arm.variables))
        chat = item.chat_template
        own = chat if chat is None or isinstance(chat, str) else chat.digest
        key = (_vocabulary(item), own or "", frozen)
        if key not in self._done:
            self._done[key] = self._render(item, arm, samples)
        return self._done[key]

    def _render(self, item: StageModel, arm: Arm, samples: Sequence[Sample]) -> Rendered:
        template = self._templates[arm.strategy]
        lacking = strategies.demanded_abilities(template) - self._backends.of(item).abilities
        missing = f"backend {item.backend} has no {' and no '.join(sorted(lacking))}"
        refusal = missing if lacking else item.refusal(arm, template)
        reasons = {s.id: refusal or strategies.inexpressible(s, arm, template) for s in samples}
        able = [sample for sample in samples if reasons[sample.id] is None]
        rendered = strategies.render_many(
            able, arm, template, self._tokenizer(item), chat_template=item.chat_template
        )
        return (
            {sample.id: prompt for sample, prompt in zip(able, rendered, strict=True)},
            {name: reason for name, reason in reasons.items() if reason is not None},
        )

    def _tokenizer(self, item: StageModel) -> Tokenizer | None:
        name = _vocabulary(item)
        if name not in self._tokenizers:
            opening = self._backends.of(item).tokenizer(item.model)
            self._tokenizers[name] = self._open.enter_context(opening) if opening else None
        return self._tokenizers[name]


def _vocabulary(item: StageModel) -> str:
    """What prompts' token ids depend on: backend, tokens, the header's tokenizer settings.

    And what tells a generator from other models: a file of another kind is opened too, which
    refuses it before anything is generated.
    """
    model = item.model
    settings = {k: str(v) for k, v in model.metadata.items() if _TELLING.search(k)}
    return tagged_hash(
        "vocabulary", [item.backend, model.tokenizer_digest, dict(model.special), settings]
    )


_TELLING = re.compile(r"^tokenizer\.|^general\.architecture$|\.(pooling_type|attention\.causal)$")


class _Hashable(dict[str, str]):
    """Variables as part of a dictionary key."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(sorted(self.items())))


def _requests(
    experiment: Experiment,
    sampling: Sampling,
    item: StageModel,
    condition: Condition,
    sample_id: str,
    prompt: RenderedPrompt,
    identity: EngineIdentity,
    early: str,
) -> list[Request]:
    return [
        Request.keyed(
            prompt,
            sampling,
            sample_id=sample_id,
            condition=condition,
            model_sha256=item.model.sha256,
            engine=identity,
            seed=experiment.seed,
            epoch=epoch,
            early=early,
        )
        for epoch in range(experiment.epochs)
    ]
