"""The engine: answers requests through a child process, and survives its crashes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import native
from harness.engine.admission import Admission
from harness.engine.bisect import Bisection, Event, failure
from harness.engine.life import Life
from harness.engine.limits import physical_cores
from harness.engine.logprobs import rows_per_block
from harness.engine.pipe import WORKER, Child, ChildDied, keep_spares
from harness.engine.rerank import best, candidates, differences, merged, verdict_texts
from harness.engine.sequence import Job
from harness.engine.stream import Cutter, Stream
from harness.engine.tokenizer import ChildTokenizer
from harness.engine.wire import job_to_json
from harness.errors import ContextOverflow, EngineCrashed, EngineError, OutOfMemory
from harness.measured import LogitBlock, Speed
from harness.protocols import Ability, OnToken, Until
from harness.records import (
    EngineIdentity,
    EngineSettings,
    Generation,
    Passage,
    Request,
    Rerank,
    TokenScores,
)

ABILITIES: frozenset[Ability] = frozenset({"logprobs", "rules", "rerank", "early", "measure"})

_RESTARTED = "its process died while answering and was started again; see the failed answers"


def engine_identity(settings: EngineSettings) -> EngineIdentity:
    """What enters a request's key, known without loading a model.

    ``n_gpu_layers`` counts only where this build can offload; a CPU build runs none of them.
    """
    build = native.build_info()
    offloads = build.supports_gpu_offload and build.backend != "CPU"
    return EngineIdentity(
        mode=settings.mode,
        width=settings.width if settings.mode == "exact" else settings.parallel,
        chunk=settings.chunk,
        llama_build=f"{build.package}, {build.llama_build}",
        backend=build.backend,
        cpu_features=build.cpu_features,
        n_gpu_layers=settings.n_gpu_layers if offloads else 0,
        adapter_sha256=settings.adapter.sha256 if settings.adapter else "",
        adapter_scale=settings.adapter.scale if settings.adapter else 1.0,
    )


class Engine:
    """Answers requests on one model file; implements :class:`harness.protocols.Backend`.

    The weights live in a child process: a native assert, a kill or a lack of memory ends the
    child, never this process. Close it, or use it in a ``with`` statement. Raises ModelInvalid,
    UnsupportedModel or EngineError when the model cannot be loaded.

    ``memory`` is how many bytes the child may allocate beside the mapped file (what the machine
    has free when None); ``device`` is the number of the one device to use, in ggml's order;
    ``on_device`` lets the device choose greedy tokens, ``mixed`` lets fast mode feed prompts along
    with decodes (both by default where layers are offloaded);
    ``worker`` is the child's command line.
    """

    abilities = ABILITIES

    def __init__(
        self,
        model: Path,
        model_sha256: str,
        settings: EngineSettings,
        *,
        memory: int | None = None,
        device: int | None = None,
        on_device: bool | None = None,
        mixed: bool | None = None,
        worker: Sequence[str] = WORKER,
    ) -> None:
        _require_sane(settings)
        self.model, self.model_sha256, self.settings = model, model_sha256, settings
        self.identity = engine_identity(settings)
        self.notes: tuple[str, ...] = _notes(settings, self.identity)
        self.tally: dict[str, float] = {}
        self.plan: dict[str, Any] = {}
        self._worker = worker
        self._memory = memory
        self._device = device
        offloaded = self.identity.n_gpu_layers != 0
        self._on_device = offloaded if on_device is None else on_device
        self._mixed = settings.mode == "fast" and (offloaded if mixed is None else mixed)
        self._life = Life(lambda: Child(self._worker), self._load)
        self._bisection = Bisection()
        self._loaded: Mapping[str, Any] = {}
        self._life.child()
        self.tokenizer = ChildTokenizer(self._ask, self._loaded, lambda: None)
        self._admission = Admission(model.name, settings.n_ctx, self._loaded, self.tokenizer)

    @property
    def pid(self) -> int:
        """The child's process id; a new one after every crash."""
        return self._life.child().pid

    def generate(
        self,
        requests: Sequence[Request],
        *,
        on_token: OnToken | None = None,
        until: Until | None = None,
    ) -> Iterator[Generation]:
        """Yield each request's generation as it finishes, in any order.

        ``until`` ends answers early, those of reranked requests excepted.

        A request whose decoding kills the child comes back as ``failed``, with the child's last
        words. Raises ContextOverflow before anything is generated, EngineCrashed when the child
        dies whatever it is asked, EngineError while it is still answering an earlier call.
        """
        stream = Stream(on_token) if on_token else None
        cutter = Cutter(until) if until else None
        jobs = self._admission.jobs(requests, stream=on_token is not None)
        plain = [
            replace(job, early=cutter is not None)
            for request, job in zip(requests, jobs, strict=True)
            if request.prompt.rerank is None
        ]
        for event in self._finished(plain, stream, cutter):
            yield _generation(event)
        reranked = [
            (request, job, request.prompt.rerank)
            for request, job in zip(requests, jobs, strict=True)
            if request.prompt.rerank is not None
        ]
        # A group at a time: an interrupted run loses one group's candidates, not all.
        for start in range(0, len(reranked), self.settings.parallel):
            yield from self._rerank(reranked[start : start + self.settings.parallel])

    def require_room(self, requests: Sequence[Request]) -> None:
        """Raise ContextOverflow for the first request that does not fit, naming its sample."""
        self._admission.jobs(requests, stream=False)

    def abandon(self) -> None:
        """End the child at once, whatever another thread does with it, and start no other.

        That thread's call ends with Abandoned. After :meth:`resume` the engine answers again.
        """
        self._life.halt()

    def resume(self) -> None:
        """Let an abandoned engine, which no thread uses any more, start a child again."""
        self._life.resume()

    def logprobs(self, texts: Sequence[Passage]) -> Iterator[TokenScores]:
        """Yield each text's log-probabilities, in order (teacher forcing).

        Memory does not grow with the texts' length: the vocabulary is reduced row by row. Raises
        ContextOverflow for a text longer than the context, EngineCrashed when the child dies.
        """
        for event in self._score("score", texts):
            values = {
                name: tuple(event[name])
                for name in ("logprobs", "ranks", "entropies", "tops", "margins")
            }
            yield TokenScores(index=event["index"], **values)

    def logit_rows(self, texts: Sequence[Passage]) -> Iterator[LogitBlock]:
        """Yield the logits themselves, block by block, through a file both processes have mapped.

        A block is gone when the next one is asked for. Walk two engines in step with ``zip`` to
        compare two models' whole distributions (see :mod:`harness.stats.divergence`):
        blocks end at the same tokens where chunk and vocabulary are the same.
        """
        n_vocab = int(self._loaded["n_vocab"])
        block = rows_per_block(n_vocab, self.settings.chunk) * n_vocab
        with tempfile.TemporaryDirectory(prefix="harness-rows-") as folder:
            path = Path(folder) / "rows"
            window = np.memmap(path, dtype=np.float32, mode="w+", shape=(block,))
            for event in self._score("rows", texts, path=str(path)):
                size = event["count"] * n_vocab
                rows = window[:size].reshape(event["count"], n_vocab)
                yield LogitBlock(event["index"], event["start"], rows)

    def speed(self, prefill: int, decode: int) -> Speed:
        """Time a prompt of ``prefill`` tokens and ``decode`` tokens after it, with nothing else.

        Raises EngineCrashed when the child dies, OutOfMemory when so many tokens do not fit.
        """
        try:
            event = self._ask("speed", prefill=prefill, decode=decode)
        except ChildDied as death:
            raise EngineCrashed(f"timing {self.model.name}: {death}") from death
        before, after = event["seconds"]
        return Speed(
            prefill=prefill / before,
            decode=decode / after,
            load_seconds=float(self._loaded["seconds"]),
            peak_bytes=event["peak"],
            device_bytes=event["device"],
        )

    def expect_another(self) -> None:
        """Another model will follow this one: start its process while this one works."""
        keep_spares(1)

    def close(self) -> None:
        """End the child process and give its memory back."""
        self._life.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _finished(
        self, jobs: Sequence[Job], stream: Stream | None = None, cutter: Cutter | None = None
    ) -> Iterator[Event]:
        """The ``finished`` events of all jobs, failures included."""
        return self._bisection.survive(lambda batch: self._run(batch, stream, cutter), jobs)

    @contextmanager
    def _exchange(self) -> Iterator[Child]:
        """The child for one use; a death is noted."""
        try:
            with self._life.exchange() as child:
                yield child
        except ChildDied:
            if _RESTARTED not in self.notes:
                self.notes += (_RESTARTED,)
            raise

    def _run(
        self, jobs: Sequence[Job], stream: Stream | None, cutter: Cutter | None
    ) -> Iterator[Event]:
        """The child's events for one batch of jobs."""
        with self._exchange() as child:
            if stream:
                stream.begin()
            if cutter:
                cutter.begin()
            child.send("generate", jobs=[job_to_json(job) for job in jobs])
            while True:
                event = child.receive()
                if event["event"] == "done":
                    self._count(event["tally"])
                    self.plan = {name: event[name] for name in ("slots", "sizes")}
                    return
                if event["event"] == "so far":
                    if cutter and cutter.tell(event["key"], event["text"], event["tokens"]):
                        child.send("end", key=event["key"])
                elif event["event"] != "text":
                    yield cutter.cut(event) if cutter and event["event"] == "finished" else event
                elif stream:
                    stream.tell(event["key"], event["text"])

    def _score(self, op: str, texts: Sequence[Passage], **values: Any) -> Iterator[Event]:
        """The events of a scoring command."""
        self._admission.require_scorable(texts)
        if not texts:
            return
        entries = [{"tokens": list(text.tokens), "start": text.start} for text in texts]
        try:
            with self._exchange() as child:
                child.send(op, texts=entries, **values)
                while (event := child.receive())["event"] != "done":
                    yield event
                    if event["event"] == "rows":
                        child.send("next")
        except ChildDied as death:
            raise EngineCrashed(f"scoring {len(texts)} texts: {death}") from death

    def _rerank(self, group: Sequence[tuple[Request, Job, Rerank]]) -> Iterator[Generation]:
        """Draw every request's candidates, judge them, keep each request's best."""
        drawn = {job.key: candidates(request, job, rerank) for request, job, rerank in group}
        jobs = [job for drawings in drawn.values() for job in drawings]
        events = {event["key"]: event for event in self._finished(jobs)}
        for _, job, rerank in group:
            found = [events[drawing.key] for drawing in drawn[job.key]]
            texts = [
                text
                for event in found
                for text in verdict_texts(rerank, event["answer"], self.tokenizer)
            ]
            try:
                verdicts = self._verdicts(texts)
            except (EngineCrashed, OutOfMemory, ContextOverflow) as error:
                yield _generation(failure(job, f"judging its {len(found)} answers: {error}"))
                continue
            judged = sum(len(text.tokens) for text in texts)
            yield _generation(merged(job.key, found, best(found, verdicts), judged))

    def _verdicts(self, texts: Sequence[Passage]) -> list[float]:
        """How much more likely yes is than no, of each pair; once more where the child died."""
        try:
            return list(differences(list(self.logprobs(texts))))
        except EngineCrashed:  # the user may have killed it, as in `survive`
            return list(differences(list(self.logprobs(texts))))

    def _load(self, child: Child) -> None:
        self._loaded = child.ask("load", **self._load_values())

    def _load_values(self) -> dict[str, Any]:
        settings = self.settings
        adapter = settings.adapter
        return {
            "model": str(self.model),
            "vocab_only": False,
            "n_gpu_layers": self.identity.n_gpu_layers,
            "device": self._device,
            "adapter": [str(adapter.path), adapter.scale] if adapter else None,
            # A GPU driver maps far more than it uses, and keeps files of its own.
            "limited": self.identity.backend == "CPU",
            "memory": self._memory,
            "on_device": self._on_device,
            "mixed": self._mixed,
            "mode": settings.mode,
            "width": self.identity.width,
            "parallel": min(settings.parallel, self.identity.width),
            "chunk": settings.chunk,
            "n_ctx": settings.n_ctx,
            "threads": settings.threads or physical_cores(),
        }

    def _ask(self, op: str, **values: Any) -> Mapping[str, Any]:
        self._life.require_idle()
        child = self._life.child()
        try:
            return child.ask(op, **values)
        except ChildDied:
            self._life.give_up(child)
            raise

    def _count(self, tally: Mapping[str, float]) -> None:
        for name, value in tally.items():
            self.tally[name] = self.tally.get(name, 0) + value


def _generation(event: Mapping[str, Any]) -> Generation:
    tokens = tuple(event["tokens"])
    return Generation(
        request_key=event["key"],
        text=event["text"],
        answer=event["answer"],
        token_ids=tokens,
        finish_reason=event["finish"],
        prompt_tokens=event["prompt_tokens"],
        completion_tokens=event.get("completion_tokens", len(tokens)),
        seconds=event["seconds"],
        error=event["error"],
    )


def _require_sane(settings: EngineSettings) -> None:
    for name, lowest in (("width", 2), ("parallel", 1), ("chunk", 2)):
        if getattr(settings, name) < lowest:
            raise EngineError(
                f"engine.{name} is {getattr(settings, name)}; it must be at least {lowest}"
            )


def _notes(settings: EngineSettings, identity: EngineIdentity) -> tuple[str, ...]:
    notes = []
    if settings.n_gpu_layers and not identity.n_gpu_layers:
        notes.append(
            f"GPU offload of {settings.n_gpu_layers} layers was asked for; this build has no GPU "
            "backend, so everything ran on the CPU"
        )
    if settings.mode == "exact" and settings.parallel > settings.width:
        notes.append(
            f"parallel {settings.parallel} was asked for; exact mode has {settings.width} slots"
        )
    return tuple(notes)
