"""A backend in one file: no model, the last line of its prompt as the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from harness.config import Experiment
from harness.experiment import Finding, StageModel
from harness.protocols import Ability
from harness.records import EngineIdentity, Generation, ModelFile, Request

IDENTITY = EngineIdentity("exact", 1, 1, "echo 1", "none", "", 0)


class EchoBackend:
    abilities: frozenset[Ability] = frozenset()
    identity, tokenizer, notes = IDENTITY, None, ("nobody thought about these answers",)

    def generate(self, requests: Sequence[Request], *, on_token: Any = 0) -> Iterator[Generation]:
        for request in requests:
            said = request.prompt.text.rstrip().splitlines()[-1]
            yield Generation(request.key, said, said, (), "stop", 0, len(said))

    def logprobs(self, texts: Any) -> Iterator[Any]:
        raise NotImplementedError

    def expect_another(self) -> None: ...

    close = expect_another


class Echo:
    name, abilities = "echo", EchoBackend.abilities

    def models(
        self, experiment: Experiment, stages: Sequence[str], finding: Finding
    ) -> list[StageModel]:
        chat, level = "{{ messages[-1].content }}", experiment.level_names[0]
        models = {s: ModelFile.named(experiment.stages[s].model, "1") for s in stages}
        return [StageModel(s, level, models[s], None, chat, self.name) for s in stages]

    def identity(self, _: object) -> EngineIdentity:
        return IDENTITY

    def tokenizer(self, model: ModelFile) -> None:
        return None

    def devices(self) -> tuple[()]:
        return ()

    def about(self) -> Mapping[str, Any]:
        return {"echo": "1"}

    def open(self, model: ModelFile, *_: object) -> closing[EchoBackend]:
        return closing(EchoBackend())

    def dismiss(self) -> None: ...
