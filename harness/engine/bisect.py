"""Bisection: when the child dies, find the request it died of and go on with the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from harness.engine.pipe import ChildDied
from harness.engine.sequence import Job
from harness.errors import EngineCrashed, EngineError

Event = Mapping[str, Any]
Run = Callable[[Sequence[Job]], Iterator[Event]]

_DEATHS_ALONE = 2
"""A request that was alone when the child died gets one more try: the user may have killed it."""

_HOPELESS = 3
"""So many requests failing alone, and none ever finishing, means that it is not the requests."""


class Bisection:
    """One model's requests, whatever they do to its child; it remembers that the model answers."""

    def __init__(self) -> None:
        self._answered = False

    def survive(self, run: Run, jobs: Sequence[Job]) -> Iterator[Event]:
        """Yield the ``finished`` events of every job, whatever happens to the child.

        ``run`` yields ``started`` and ``finished`` events and raises EngineError: ChildDied, or
        what the child ran into (no memory left, a decode that failed). What was started and not
        finished by then is suspect: suspects are run again in halves until one that dies alone is
        left, which comes back as a failure. Raises EngineCrashed when the child dies before it
        starts anything, or when every request kills it and none was ever answered.
        """
        stack = [list(jobs)]
        alone: Counter[str] = Counter()
        failed: set[str] = set()
        idle_deaths, last_try, answered = 0, False, self._answered
        while stack:
            waiting = {job.key: job for job in stack.pop()}
            if not waiting:
                continue
            started: set[str] = set()
            try:
                for event in run(list(waiting.values())):
                    started.add(event["key"])
                    if event["event"] == "finished":
                        del waiting[event["key"]]
                        answered = True
                        self._answered |= event["finish"] != "failed"
                        yield event
            except EngineError as death:
                suspects = [job for key, job in waiting.items() if key in started]
                stack.append([job for key, job in waiting.items() if key not in started])
                if not suspects:
                    if not isinstance(death, ChildDied):
                        raise
                    idle_deaths += 1
                    if idle_deaths >= _DEATHS_ALONE:
                        raise EngineCrashed(
                            f"{death}; it died before it started a request"
                        ) from death
                    continue
                if len(suspects) > 1:
                    half = len(suspects) // 2
                    stack += [suspects[half:], suspects[:half]]
                    continue
                alone[suspects[0].key] += 1
                if alone[suspects[0].key] < _DEATHS_ALONE:
                    stack.append(suspects)
                    continue
                failed.add(_request_of(suspects[0]))
                if not answered and len(failed) >= _HOPELESS:
                    other = next((group for group in stack if group), None)
                    if last_try or other is None:
                        raise EngineCrashed(
                            f"every request ends the child process: {death}"
                        ) from death
                    last_try = True
                    stack.append([other.pop()])  # one that was not beside them before giving up
                yield failure(suspects[0], str(death))


def _request_of(job: Job) -> str:
    """The request's key: the candidates of one reranked request are one request."""
    return job.key.partition("#")[0]


def failure(job: Job, error: str) -> Event:
    """The event of a request that could not be answered."""
    return {
        "event": "finished",
        "key": job.key,
        "text": "",
        "answer": "",
        "tokens": [],
        "finish": "failed",
        "error": error,
        "prompt_tokens": len(job.tokens),
        "seconds": 0.0,
    }
