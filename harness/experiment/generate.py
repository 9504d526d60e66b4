"""Every planned request answered: from the store, else by its model, one file after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import EngineError
from harness.experiment.early import saved, until
from harness.experiment.opening import opened
from harness.experiment.prepare import Prepared
from harness.experiment.watch import Watcher
from harness.hashing import tagged_hash
from harness.protocols import Backend, Until
from harness.records import Generation, Request
from harness.store import Store


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
        if pending_of(planned.requests[item.cell], generations)
    ]
    try:
        for number, item in enumerate(planned.stage_models, start=1):
            pending = pending_of(planned.requests[item.cell], generations)
            name = str(item.cell)
            watcher.model(name, number, len(planned.stage_models), len(pending))
            about = item.engine_name(planned.settings[item.cell])
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
