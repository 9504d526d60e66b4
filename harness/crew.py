"""Several at work on one list of requests: shares of it, and the threads that see to them.

Devices of one machine (:mod:`harness.engine.fleet`) and actors of a cluster
(:mod:`harness.cluster`) differ in what works, not in how the work is shared.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from harness.records import Generation, Request

Worker = TypeVar("Worker")

_MORE_CAREFUL = 8
"""A share that was lost is an eighth of its size when it is tried again, and alone at last."""


class Shares:
    """What is still to be done, handed out in shares to ``workers``; for many threads.

    Prompts that share an opening stay together, so that a worker decodes it once. A share is half
    of an equal part of what is left and holds ``least`` to ``most`` requests: slots run empty at
    the end of every share, so there should be few; what is left at the end should be small, so that
    nobody waits long for another (guided self-scheduling, Polychronopoulos and Kuck 1987).
    """

    def __init__(
        self, requests: Sequence[Request], workers: int, *, least: int, most: int = 1 << 30
    ) -> None:
        self._workers, self._least, self._most = max(1, workers), least, most
        self._waiting = deque(
            sorted(requests, key=lambda item: (item.prompt.token_ids, item.prompt.text))
        )
        self._losses: dict[str, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> dict[str, Request]:
        """The next share by key, empty when nothing waits. What was lost comes in small ones."""
        with self._lock:
            size = max(self._least, len(self._waiting) // (2 * self._workers))
            size = min(size, self._most, len(self._waiting))
            if not size:
                return {}
            lost = self.losses(self._waiting[0].key)
            size = max(1, size // _MORE_CAREFUL**lost)
            taken: list[Request] = []
            while self._waiting and len(taken) < size:
                if self.losses(self._waiting[0].key) != lost:
                    break
                taken.append(self._waiting.popleft())
        return {request.key: request for request in taken}

    def give_back(self, requests: Sequence[Request], *, lost: bool = False) -> None:
        """Put what was not done in front again; ``lost``: it may be why its worker died."""
        with self._lock:
            for request in requests if lost else ():
                self._losses[request.key] = self.losses(request.key) + 1
            self._waiting.extendleft(reversed(requests))

    def losses(self, key: str) -> int:
        """How often a worker died with this request in its share."""
        return self._losses.get(key, 0)


class Crew(Generic[Worker]):
    """Workers, each in a thread of its own, and what they bring as it comes.

    ``work`` does one worker's part: it calls ``put`` with each generation and returns when nothing
    is left, or when ``stopped`` says so; what it raises is kept in ``lost`` where ``expected`` says
    that the others can go on without that worker, and raised otherwise.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        work: Callable[[Worker, Callable[[Generation], None], Callable[[], bool]], None],
        *,
        expected: type[Exception],
        abandon: Callable[[Worker], None],
    ) -> None:
        self._workers, self._do = tuple(workers), work
        self._expected, self._abandon = expected, abandon
        self._results: queue.SimpleQueue[Generation | tuple[Worker, BaseException | None]]
        self._results = queue.SimpleQueue()
        self._stop = threading.Event()
        self.lost: dict[Worker, Exception] = {}

    def run(self) -> Iterator[Generation]:
        """Yield what all of them bring. Left early, it ends them first."""
        threads = [
            threading.Thread(target=self._one, args=(worker,), daemon=True)
            for worker in self._workers
        ]
        for thread in threads:
            thread.start()
        working = len(threads)
        try:
            while working:
                result = self._results.get()
                if isinstance(result, Generation):
                    yield result
                    continue
                working -= 1
                worker, error = result
                if isinstance(error, self._expected):
                    self.lost[worker] = error
                elif error is not None:
                    raise error
        finally:
            self._stop.set()
            if working:
                for worker in self._workers:
                    self._abandon(worker)
            for thread in threads:
                thread.join()

    def _one(self, worker: Worker) -> None:
        try:
            self._do(worker, self._results.put, self._stop.is_set)
            self._results.put((worker, None))
        except BaseException as error:  # handed to the caller's thread, which raises it
            self._results.put((worker, error))
