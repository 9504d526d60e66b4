"""One stage at a time: its model loaded, and the ways it can be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness import strategies
from harness.config import Experiment
from harness.errors import ConfigError
from harness.experiment import StageModel
from harness.protocols import Backend
from harness.records import (
    Arm,
    Condition,
    Generation,
    Message,
    RenderedPrompt,
    Request,
    Sample,
    Sampling,
    request_key,
)
from harness.store import Store
from harness.strategies import Template, find_template

RAW = "raw"
NATIVE = "native"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sides:
    """The stages in the ladder's order, the two that are chosen between, the base's wrappers."""

    stages: tuple[str, ...]
    base: str
    instruct: str
    wrappers: tuple[str, ...]

    def ways(self, stage: str) -> tuple[str, ...]:
        """How a stage is asked: the base raw and wrapped, a tuned one by its template and raw."""
        return (RAW, *self.wrappers) if stage == self.base else (NATIVE, RAW)

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Every arm, base first."""
        return tuple((stage, way) for stage in self.stages for way in self.ways(stage))


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


@dataclass(frozen=True, slots=True)
class Seat:
    """A loaded stage that can be asked in each of its ways."""

    sides: Sides
    item: StageModel
    backend: Backend
    templates: Mapping[str, Template]
    store: Store
    seed: int
    say: Say

    @property
    def stage(self) -> str:
        """The stage's name."""
        return self.item.stage

    @property
    def ways(self) -> tuple[str, ...]:
        """How it is asked."""
        return self.sides.ways(self.stage)

    def prompts(self, way: str, samples: Sequence[Sample]) -> list[RenderedPrompt]:
        """What the model sees when it is asked these items this way. Raises TemplateError."""
        return strategies.render_many(
            samples,
            Arm(strategy=way, label=way),
            find_template(self.templates, way),
            self.backend.tokenizer,
            self.item.chat_template,
        )

    def answers(
        self,
        way: str,
        prompts: Sequence[RenderedPrompt],
        sampling: Sampling,
        *,
        epoch: int = 0,
        budgets: Sequence[int | None] = (),
    ) -> list[Generation]:
        """An answer per prompt, in order; what is stored already is not generated again.

        ``budgets`` are the prompts' own limits of tokens (None: the sampling's).
        """
        own = [
            replace(sampling, max_tokens=budget) if budget else sampling
            for budget in budgets or [None] * len(prompts)
        ]
        requests = [
            self._request(way, prompt, decoding, epoch)
            for prompt, decoding in zip(prompts, own, strict=True)
        ]
        known = self.store.find(request.key for request in requests)
        pending = {r.key: r for r in requests if r.key not in known}
        for generation in self.backend.generate(list(pending.values())) if pending else ():
            self.store.add(pending[generation.request_key], generation)
            known[generation.request_key] = generation
        return [known[request.key] for request in requests]

    def _request(self, way: str, prompt: RenderedPrompt, sampling: Sampling, epoch: int) -> Request:
        key = request_key(
            prompt=prompt,
            model_sha256=self.item.model.sha256,
            sampling=sampling,
            seed=self.seed,
            epoch=epoch,
            engine=self.backend.identity,
        )
        condition = Condition(*self.item.cell, way)
        return Request(
            key, way, condition, self.item.model.sha256, prompt, sampling, self.seed, epoch
        )


def asked(texts: Sequence[str], kind: str) -> list[Sample]:
    """Plain user turns as items, named by their place."""
    return [
        Sample(id=f"{kind}-{number}", messages=(Message("user", text),), checks=())
        for number, text in enumerate(texts, 1)
    ]
