"""Several devices at work on one model: a child process each, fed from one queue."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from harness import native
from harness.crew import Crew, Shares
from harness.engine.engine import ABILITIES, Engine, engine_identity
from harness.engine.pipe import keep_spares
from harness.errors import EngineCrashed, EngineError
from harness.protocols import OnToken, Until
from harness.records import EngineSettings, Generation, Request


class Fleet:
    """Answers requests on several devices at once; implements :class:`harness.protocols.Backend`.

    Each device holds the whole model in a child process of its own and takes the next few requests
    when it has finished its last. In exact mode devices of one kind give the same answers, so it
    does not matter which device answered what. Raises EngineError for a device that is not there.
    """

    abilities = ABILITIES

    def __init__(
        self, model: Path, model_sha256: str, settings: EngineSettings, devices: Sequence[str]
    ) -> None:
        self._least = 4 * settings.parallel
        self._engines = _started(
            [
                partial(Engine, model, model_sha256, settings, device=index)
                for index in device_indices(devices, settings)
            ]
        )
        self._opened = tuple(self._engines)
        first = self._engines[0]
        self.identity, self.notes, self.tokenizer = first.identity, first.notes, first.tokenizer
        self.logprobs, self.logit_rows = first.logprobs, first.logit_rows
        self.speed = first.speed

    @property
    def tally(self) -> dict[str, float]:
        """What all devices did together; seconds are added up."""
        names = {name for engine in self._opened for name in engine.tally}
        return {name: sum(e.tally.get(name, 0) for e in self._opened) for name in names}

    def generate(
        self,
        requests: Sequence[Request],
        *,
        on_token: OnToken | None = None,
        until: Until | None = None,
    ) -> Iterator[Generation]:
        """Yield each request's generation as it finishes on any device, in any order.

        A device whose child dies whatever it is asked is left out, and the others do its share;
        EngineCrashed when none is left.
        """
        self._engines[0].require_room(requests)

        def work(
            engine: Engine, put: Callable[[Generation], None], stopped: Callable[[], bool]
        ) -> None:
            share: dict[str, Request] = {}
            try:
                while not stopped() and (share := waiting.take()):
                    for generation in engine.generate(
                        list(share.values()), on_token=on_token, until=until
                    ):
                        del share[generation.request_key]
                        put(generation)
            finally:
                waiting.give_back(list(share.values()))

        waiting = Shares(requests, len(self._engines), least=self._least)
        while waiting:
            for engine in self._engines:
                engine.resume()
            crew = Crew(self._engines, work, expected=EngineCrashed, abandon=_abandon)
            yield from crew.run()
            if len(crew.lost) == len(self._engines):
                raise next(iter(crew.lost.values()))
            for engine, error in crew.lost.items():
                self._engines.remove(engine)
                engine.close()
                self.notes += (f"a device was lost, the others did its work: {error}",)

    def expect_another(self) -> None:
        """Another model will follow this one: start its processes while this one works."""
        keep_spares(len(self._engines))

    def close(self) -> None:
        """End every child process."""
        for engine in self._opened:  # a lost one may have started a child again to tokenize
            engine.close()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _abandon(engine: Engine) -> None:
    engine.abandon()


def _started(starts: Sequence[Callable[[], Engine]]) -> list[Engine]:
    """The engines, started at the same time; when one fails or Ctrl-C comes, all are closed."""
    engines: dict[int, Engine] = {}
    failures: list[BaseException] = []
    lock, wanted = threading.Lock(), True

    def begin(number: int) -> None:
        try:
            engine = starts[number]()
        except BaseException as error:  # handed to the caller's thread, which raises it
            failures.append(error)
            return
        with lock:
            if wanted:
                engines[number] = engine
                return
        engine.close()  # nobody waits for it any more

    crew = [
        threading.Thread(target=begin, args=(number,), daemon=True) for number in range(len(starts))
    ]
    for starter in crew:
        starter.start()
    try:
        for starter in crew:
            starter.join()
        if failures:
            raise failures[0]
    except BaseException:
        with lock:
            wanted = False
        for engine in engines.values():
            engine.close()
        raise
    return [engines[number] for number in range(len(starts))]


def open_engine(
    model: Path, model_sha256: str, settings: EngineSettings, devices: Sequence[str] = ()
) -> Engine | Fleet:
    """An engine on one device (llama.cpp's choice when none is named), or a fleet on several."""
    if len(devices) > 1:
        return Fleet(model, model_sha256, settings, devices)
    index = device_indices(devices, settings)[0] if devices else None
    return Engine(model, model_sha256, settings, device=index)


def device_indices(names: Sequence[str], settings: EngineSettings) -> list[int | None]:
    """Where ggml lists the named devices; None for the CPU, which is not offloaded to.

    Raises EngineError for a device that is not there, for devices of several kinds (an answer
    would depend on who gave it), and for layers on the CPU.
    """
    handles = native.device_handles()
    known = [native.device_name(handle) for handle in handles]
    found: list[int | None] = []
    for name in names:
        if name not in known:
            raise EngineError(f"device {name} was asked for, this machine has {', '.join(known)}")
        index = known.index(name)
        found.append(None if native.device_kind(handles[index]) == "cpu" else index)
    if None in found and any(index is not None for index in found):
        raise EngineError(
            f"devices {', '.join(names)} compute differently, so an answer would depend on which "
            "of them gave it; name devices of one kind"
        )
    if None in found and engine_identity(settings).n_gpu_layers:
        raise EngineError(
            f"device CPU was asked for and {settings.n_gpu_layers} layers on a GPU; "
            "set engine.n_gpu_layers to 0 or name the GPU"
        )
    return found
