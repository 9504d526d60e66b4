"""A backend without a model whose engine differs by machine, and that dies of some prompts.

The variable WANDERING_FEATURES is what a machine's processor can do; a prompt that holds ``poison``
ends the process it is put to; WANDERING_PAUSE are the seconds an answer takes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from harness.config import Experiment
from harness.experiment import Finding, StageModel
from harness.protocols import Ability
from harness.records import EngineIdentity, Generation, ModelFile, Request


def features() -> str:
    return os.environ.get("WANDERING_FEATURES", "AVX2")


class WanderingBackend:
    abilities: frozenset[Ability] = frozenset()
    tokenizer, notes = None, ()

    @property
    def identity(self) -> EngineIdentity:
        return Wandering().identity(None)

    def generate(self, requests: Sequence[Request], *, on_token: Any = 0) -> Iterator[Generation]:
        for request in requests:
            if "poison" in request.prompt.text:
                os._exit(1)
            time.sleep(float(os.environ.get("WANDERING_PAUSE", "0")))
            said = f"re: {request.prompt.text.strip().splitlines()[-1]} ({features()})"
            yield Generation(request.key, said, said, (), "stop", 3, 5)

    def logprobs(self, texts: Any) -> Iterator[Any]:
        raise NotImplementedError

    def expect_another(self) -> None: ...

    close = expect_another


class Wandering:
    name, abilities = "wandering", WanderingBackend.abilities

    def models(
        self, experiment: Experiment, stages: Sequence[str], finding: Finding
    ) -> list[StageModel]:
        level = experiment.level_names[0]
        models = {s: ModelFile.named(experiment.stages[s].model, "1") for s in stages}
        return [StageModel(s, level, models[s], None, None, self.name) for s in stages]

    def identity(self, _: object) -> EngineIdentity:
        return EngineIdentity("exact", 1, 1, "wandering 1", "none", features(), 0)

    def tokenizer(self, model: ModelFile) -> None:
        return None

    def devices(self) -> tuple[()]:
        return ()

    def about(self) -> Mapping[str, Any]:
        return {"features": features()}

    def open(self, model: ModelFile, *_: object) -> closing[WanderingBackend]:
        return closing(WanderingBackend())

    def dismiss(self) -> None: ...
