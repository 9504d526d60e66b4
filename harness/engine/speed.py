"""The speed of one model file: a prefill and a decode of fixed size, apart, as llama-bench does.

One sequence and no sampling: what is timed is llama.cpp alone, whatever the run's engine mode.
"""

from __future__ import annotations

import time

from harness.engine.runner import Model, Runner, Shape

_BATCH = 512
"""Tokens of one prefill batch: llama.cpp's own default for what is computed at once."""


def timed(
    model: Model, prefill: int, decode: int, threads: int
) -> tuple[Runner, tuple[float, float]]:
    """Seconds that ``prefill`` tokens of prompt take, then ``decode`` tokens one after another.

    Both are done twice and the second time counts: the first maps the weights and starts the
    threads. Gives the context too, still open, so that what it holds can be seen.
    """
    runner = Runner(
        model,
        Shape(
            slots=1,
            room=prefill + decode,
            batch=min(_BATCH, prefill),
            outputs=1,
            threads=threads,
        ),
    )
    seconds = (0.0, 0.0)
    for _ in range(2):
        runner.clear()
        seconds = (_prefilled(runner, prefill), _decoded(runner, prefill, decode))
    return runner, seconds


def _prefilled(runner: Runner, count: int) -> float:
    start = time.perf_counter()
    for begin in range(0, count, _BATCH):
        places = range(begin, min(begin + _BATCH, count))
        last = places[-1] == count - 1
        outputs = [last and place == count - 1 for place in places]
        runner.decode(_tokens(runner, places), places, [0] * len(places), outputs)
    return time.perf_counter() - start


def _decoded(runner: Runner, begin: int, count: int) -> float:
    start = time.perf_counter()
    for place in range(begin, begin + count):
        runner.decode(_tokens(runner, range(place, place + 1)), [place], [0], [True])
    return time.perf_counter() - start


def _tokens(runner: Runner, places: range) -> list[int]:
    """Made-up tokens, another at every place: which they are does not change the work."""
    size = runner.model.vocabulary.size
    return [(place * 7919 + 13) % size for place in places]
