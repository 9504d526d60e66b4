"""Speed and memory of several model files, measured in turns and apart from any run's answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial

from harness.errors import EngineError
from harness.experiment.backend import StageModel
from harness.experiment.measure.session import Session
from harness.measured import Speed
from harness.protocols import Measurable

PREFILL, DECODE = 512, 64
"""The workload: tokens of the prompt, and tokens after it."""
TURNS = 3

Opener = Callable[[], AbstractContextManager[Measurable]]


def speeds_of(session: Session, items: Sequence[StageModel]) -> dict[str, Speed]:
    """Medians by cell; cells of one and the same file are measured once."""
    names: dict[str, list[str]] = {}
    openers: dict[str, Opener] = {}
    for item in items:
        file = f"{item.model.sha256} {item.adapter.sha256 if item.adapter else ''}"
        names.setdefault(file, []).append(str(item.cell))
        settings = session.planned.settings[item.cell]
        openers.setdefault(names[file][0], partial(session.opened, item, settings))
    try:
        turns = speeds(openers, say=lambda text: session.say(f"measuring speed, {text}"))
    except EngineError as error:
        session.notes.append(f"speed was not measured: {error}")
        return {}
    return {cell: Speed.middle(turns[cells[0]]) for cells in names.values() for cell in cells}


def speeds(
    files: Mapping[str, Opener],
    *,
    turns: int = TURNS,
    prefill: int = PREFILL,
    decode: int = DECODE,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, tuple[Speed, ...]]:
    """Every turn of every file, by name: ``Speed.middle`` makes medians of them.

    Files take turns, so that a machine whose speed wanders is slow to all of them alike; each is
    opened anew, so that only one is in memory. Raises EngineError when one cannot be loaded.
    """
    found: dict[str, list[Speed]] = {name: [] for name in files}
    for turn in range(1, turns + 1):
        for name, opener in files.items():
            say(f"turn {turn} of {turns}: {name}")
            with opener() as model:
                found[name].append(model.speed(prefill, decode))
    return {name: tuple(measured) for name, measured in found.items()}


def ratios(speed: Speed, first: Speed) -> dict[str, float | None]:
    """Each figure as a multiple of the first file's; None where one of them is not known."""
    pairs = {
        name: (getattr(speed, name), getattr(first, name))
        for name in ("prefill", "decode", "load_seconds", "peak_bytes", "device_bytes")
    }
    return {name: one / other if one and other else None for name, (one, other) in pairs.items()}
