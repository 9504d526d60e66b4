"""A loaded model and the store: what was answered or scored once is neither asked nor loaded again.

A request is named by its key, a text by its own; both are looked up first, and whatever is missing
is stored as it comes, so that a killed process loses only what was in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import astuple, fields, replace

import numpy as np

from harness.config import Experiment
from harness.experiment.backend import Backends, Say, StageModel
from harness.experiment.opening import opened
from harness.protocols import Backend, Tokenizer
from harness.records import (
    Condition,
    EngineSettings,
    Generation,
    Passage,
    RenderedPrompt,
    Request,
    Sampling,
    TokenScores,
    passage_key,
)
from harness.store import Store
from harness.store.scores import Figures

_FIGURES = tuple(field.name for field in fields(TokenScores) if field.name != "index")
_COUNTS = ("ranks", "tops")


class Kept:
    """A stage's model behind the store; a context manager. Weights are loaded when they are needed.

    ``say`` is told when they are. ``trusted`` are keys of the store that may be looked up: all
    (None), or without the cache those of what was made just now, to which whatever is made here is
    added.
    """

    def __init__(
        self,
        experiment: Experiment,
        item: StageModel,
        settings: EngineSettings,
        backends: Backends,
        store: Store,
        say: Say,
        *,
        trusted: set[str] | None = None,
    ) -> None:
        kind = backends.of(item)
        self.item, self.abilities = item, kind.abilities
        self.identity_of = backends.namer(item, settings)
        self._about, self._store, self._say = item.engine_name(settings), store, say
        self._opening = opened(experiment, item, settings, backends, 1)
        self._trusted = trusted
        self._open = ExitStack()
        self._backend: Backend | None = None
        tokens = kind.tokenizer(item.model)
        self.tokenizer: Tokenizer | None = self._open.enter_context(tokens) if tokens else None

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of how it ran, now or when its answers were made."""
        if self._backend is not None:
            self._store.keep_notes(self._about, self._backend.notes)
        return self._store.notes(self._about)

    def request(
        self,
        label: str,
        prompt: RenderedPrompt,
        sampling: Sampling,
        *,
        seed: int,
        epoch: int = 0,
    ) -> Request:
        """A prompt put to the model through the arm of that label."""
        return Request.keyed(
            prompt,
            sampling,
            sample_id=label,
            condition=Condition(*self.item.cell, label),
            model_sha256=self.item.model.sha256,
            engine=self.identity_of(label),
            seed=seed,
            epoch=epoch,
        )

    def answers(self, requests: Sequence[Request]) -> list[Generation]:
        """An answer per request, in order."""
        known = self._store.find(self._usable(request.key for request in requests))
        pending = {r.key: r for r in requests if r.key not in known}
        for generation in self._model().generate(list(pending.values())) if pending else ():
            request = pending[generation.request_key]
            self._store.add(request, generation, replace=self._trusted is not None)
            self._made(request.key)
            known[request.key] = generation
        return [known[request.key] for request in requests]

    def scores(self, passages: Sequence[Passage]) -> Iterator[TokenScores]:
        """Each text's scores, in order; raises what :meth:`Backend.logprobs` does."""
        sha, identity = self.item.model.sha256, self.identity_of("")
        keys = [passage_key(item, model_sha256=sha, engine=identity) for item in passages]
        stored = self._store.scores.find(self._usable(keys))
        known = {key: _scores(figures) for key, figures in stored.items()}
        pending = {k: item for k, item in zip(keys, passages, strict=True) if k not in known}
        fresh = self._model().logprobs(list(pending.values())) if pending else ()
        for key, scores in zip(pending, fresh, strict=True):
            self._store.scores.add(key, sha, np.array(astuple(scores)[1:], dtype=float))
            self._made(key)
            known[key] = scores
        for number, key in enumerate(keys):
            yield replace(known[key], index=number)

    def _usable(self, keys: Iterable[str]) -> list[str]:
        return [key for key in keys if self._trusted is None or key in self._trusted]

    def _made(self, key: str) -> None:
        if self._trusted is not None:
            self._trusted.add(key)

    def _model(self) -> Backend:
        if self._backend is None:
            self._say(f"loading {self.item.stage}")
            self._backend = self._open.enter_context(self._opening)
        return self._backend


def _scores(figures: Figures) -> TokenScores:
    rows = dict(zip(_FIGURES, figures.tolist(), strict=True))
    counted = {name: tuple(map(int, row)) for name, row in rows.items() if name in _COUNTS}
    return TokenScores(0, **{name: tuple(row) for name, row in rows.items()} | counted)
