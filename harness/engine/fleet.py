"""Several devices at work on one model: a child process each, fed from one queue."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from harness import native
from harness.engine.engine import Engine
from harness.errors import EngineError
from harness.protocols import OnToken
from harness.records import EngineSettings, Generation, Request


class Fleet:
    """Answers requests on several devices at once; implements :class:`harness.protocols.Generator`.

    Each device holds the whole model in a child process of its own and takes the next few requests
    when it has finished its last. In exact mode devices of one kind give the same answers, so it
    does not matter which device answered what. Raises EngineError for a device that is not there.
    """

    def __init__(
        self, model: Path, model_sha256: str, settings: EngineSettings, devices: Sequence[str]
    ) -> None:
        self._taking = threading.Lock()
        self._least = 4 * settings.parallel
        self._engines = _started(
            [
                partial(Engine, model, model_sha256, settings, device=index)
                for index in device_indices(devices)
            ]
        )
        first = self._engines[0]
        self.identity, self.notes, self.tokenizer = first.identity, first.notes, first.tokenizer
        self.logprobs, self.logit_rows = first.logprobs, first.logit_rows

    @property
    def tally(self) -> dict[str, float]:
        """What all devices did together; seconds are added up."""
        names = {name for engine in self._engines for name in engine.tally}
        return {name: sum(e.tally.get(name, 0) for e in self._engines) for name in names}

    def generate(
        self, requests: Sequence[Request], *, on_token: OnToken | None = None
    ) -> Iterator[Generation]:
        """Yield each request's generation as it finishes on any device, in any order."""
        self._engines[0].require_room(requests)
        # Prompts that share an opening stay together, so that a device decodes it once.
        waiting = deque(sorted(requests, key=lambda request: request.prompt.token_ids))
        results: queue.Queue[Generation | BaseException | None] = queue.Queue()
        stop = threading.Event()
        crew = [
            threading.Thread(
                target=self._work, args=(engine, waiting, results, stop, on_token), daemon=True
            )
            for engine in self._engines
        ]
        for worker in crew:
            worker.start()
        working = len(crew)
        try:
            while working:
                result = results.get()
                if isinstance(result, BaseException):
                    raise result
                if result is None:
                    working -= 1
                else:
                    yield result
        finally:
            stop.set()
            if working:
                self._kill()
            for worker in crew:
                worker.join()

    def close(self) -> None:
        """End every child process."""
        for engine in self._engines:
            engine.close()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(
        self,
        engine: Engine,
        waiting: deque[Request],
        results: queue.Queue[Generation | BaseException | None],
        stop: threading.Event,
        on_token: OnToken | None,
    ) -> None:
        try:
            while not stop.is_set():
                share = self._take(waiting)
                if not share:
                    break
                for generation in engine.generate(share, on_token=on_token):
                    results.put(generation)
            results.put(None)
        except BaseException as error:  # handed to the caller's thread, which raises it
            results.put(error)

    def _take(self, waiting: deque[Request]) -> list[Request]:
        """The next share of the work: half of an equal part of what is left, but no crumbs.

        Slots run empty at the end of every share, so there should be few; what is left at the end
        should be small, so that no device waits long for another (guided self-scheduling,
        Polychronopoulos and Kuck 1987).
        """
        share: list[Request] = []
        with self._taking:
            size = max(self._least, len(waiting) // (2 * len(self._engines)))
            while waiting and len(share) < size:
                share.append(waiting.popleft())
        return share

    def _kill(self) -> None:
        for engine in self._engines:
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
    index = device_indices(devices)[0] if devices else None
    return Engine(model, model_sha256, settings, device=index)


def device_indices(names: Sequence[str]) -> list[int | None]:
    """Where ggml lists the named devices; None for the CPU, which is not offloaded to."""
    handles = native.device_handles()
    known = [native.device_name(handle) for handle in handles]
    found: list[int | None] = []
    for name in names:
        if name not in known:
            raise EngineError(f"device {name} was asked for, this machine has {', '.join(known)}")
        index = known.index(name)
        found.append(None if native.device_kind(handles[index]) == "cpu" else index)
    return found
