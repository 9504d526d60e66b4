"""One stage at a time: its model loaded, and the ways it can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harness import strategies
from harness.choice.sides import Sides
from harness.errors import ConfigError, ContextOverflow
from harness.experiment.kept import Kept
from harness.protocols import Tokenizer
from harness.records import (
    Arm,
    Generation,
    Message,
    Passage,
    RenderedPrompt,
    Sample,
    Sampling,
    TokenScores,
)
from harness.strategies import Template, find_template

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Seat:
    """A stage that can be asked in each of its ways; its model is loaded when that is needed."""

    sides: Sides
    model: Kept
    templates: Mapping[str, Template]
    seed: int
    say: Say

    @property
    def stage(self) -> str:
        """The stage's name."""
        return self.model.item.stage

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The model's tokenizer; None where nobody is told."""
        return self.model.tokenizer

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
            self.tokenizer,
            self.model.item.chat_template,
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
        return self.model.answers(
            [
                self.model.request(way, prompt, decoding, seed=self.seed, epoch=epoch)
                for prompt, decoding in zip(prompts, own, strict=True)
            ]
        )

    def scores(self, passages: Sequence[Passage]) -> Iterator[TokenScores]:
        """Each text's scores, in order; what is stored already is not scored again.

        Raises ConfigError for a text that does not fit the model's context.
        """
        try:
            yield from self.model.scores(passages)
        except ContextOverflow as error:
            told = f"{self.stage}: {error}; a smaller --window makes shorter ones"
            raise ConfigError(told) from error


def asked(texts: Sequence[str], kind: str) -> list[Sample]:
    """Plain user turns as items, named by their place."""
    return [
        Sample(id=f"{kind}-{number}", messages=(Message("user", text),), checks=())
        for number, text in enumerate(texts, 1)
    ]
