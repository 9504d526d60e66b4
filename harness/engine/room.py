"""The context that answers are generated in: as large as the jobs need, as memory allows."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness import native
from harness.engine.limits import allocatable
from harness.engine.loop import Layout
from harness.engine.probe import agreeing_sizes
from harness.engine.runner import Model, Runner, Shape
from harness.errors import OutOfMemory

_WORKING_MEMORY = 8 << 20
"""What Python and ggml's scratch buffers may grow by while jobs run."""

_SMALLEST_CONTEXT = 64 << 20
"""With less than this, and a stack for every thread, not even a context to measure is made."""

_THREAD_STACK = 8 << 20
_CELL_RECORD = 52  # llama_kv_cells: 3 positions, a token, a bit for each of 256 sequences, a shift
_USED_CELL = 2 * 48  # ... and a node in each of two sets while a token is there
_CANDIDATE = 12  # bytes of a llama_token_data: a token, its logit, its probability


@dataclass(frozen=True, slots=True)
class _Cost:
    """Bytes that contexts of a model take, as a small one showed.

    ``own`` is what any has: graphs, scheduler, activations. ``cell`` is a token's place in the
    cache, ``used`` what a token adds there, ``attention`` is for every row of a batch and every
    cell it may look at, ``output`` for every row of logits, ``chain`` for every sampler chain.
    """

    own: float
    cell: float
    used: float
    attention: float
    output: float
    chain: float

    def of(self, shape: Shape, longest: int, *, chains: bool) -> float:
        """The most a context of this shape takes, with ``longest`` tokens in every slot."""
        room = -(-shape.room // 256) * 256  # as llama.cpp rounds it, and the rows below
        cells = shape.slots * room
        rows = -(-max(shape.batch, shape.slots) // shape.slots) * shape.slots
        return (
            self.own
            + self.cell * cells
            + self.used * shape.slots * longest
            + self.attention * rows * (cells if shape.unified else room)
            + self.output * shape.outputs
            + (self.chain * shape.slots if chains else 0)
        )


class Room:
    """A model's context, kept from one batch of jobs to the next, and what contexts of it take.

    ``settings`` are those of the command that loaded the model.
    """

    def __init__(self, model: Model, settings: Mapping[str, Any]) -> None:
        self.model, self._settings = model, settings
        self._held: tuple[Layout, Runner] | None = None
        self._sizes: tuple[int, ...] | None = None
        self._chains = False
        self._cost: _Cost | None = None

    def leave(self) -> None:
        """Close the context."""
        if self._held is not None:
            self._held[1].close()
            self._held = None

    def enter(self, room: int, *, chains: bool) -> tuple[Layout, Runner]:
        """A context with room for the longest job: the one at hand if it is large enough.

        Where memory is short the plan has fewer slots; in exact mode only as few as give the same
        bits. The first job that needs a sampler chain counts as larger: chains were not planned
        for. Raises OutOfMemory when even the smallest plan does not fit.
        """
        longest, room = room, max(room, self._settings["n_ctx"])
        planned = self._chains or not chains or not self._settings.get("limited")
        if self._held is not None and self._held[1].room >= room and planned:
            self._held[1].clear()
            return self._held
        self.leave()
        self._chains = self._chains or chains
        plans = self._plans()
        for plan in plans:
            shape = self._shape(plan, room)
            if not self._fits(shape, longest, chains=self._chains):
                continue
            with contextlib.suppress(OutOfMemory):
                self._held = (plan, Runner(self.model, shape))
                return self._held
        raise _too_large(plans[-1].slots, room)

    def _fits(self, shape: Shape, longest: int, *, chains: bool) -> bool:
        """Whether memory suffices for a context; an allocation that fails may end the process.

        Only asked on the CPU: a GPU's driver says no without harm.
        """
        free = allocatable()
        if free is None or not self._settings.get("limited"):
            return True
        if self._cost is None:
            if free < _SMALLEST_CONTEXT + _THREAD_STACK * self._settings["threads"]:
                return False
            self._cost = self._measure(max(shape.batch, self._settings["chunk"]))
            free = allocatable() or 0
        return self._cost.of(shape, longest, chains=chains) + _WORKING_MEMORY <= free

    def _measure(self, batch: int) -> _Cost:
        """What contexts take: a small one is made, and one decode starts the threads.

        llama.cpp says how large the cache is; the rest of what the process grew by is there in any
        context. Its compute buffer grows with the room, whatever the number of slots, by a mask of
        attention for each cache (a sliding window has its own): two bytes for each row and cell
        with flash attention, else four, and there also scores, twice, for every head.
        """
        model = self.model
        before = allocatable() or 0
        small = Runner(model, self._shape_of(2, 256, batch))
        grown, size = before - (allocatable() or 0), small.memory_size()
        log = native.log_tail(200)
        caches = sum(line.startswith("llama_kv_cache") and ": size =" in line for line in log)
        flash = any("Flash Attention enabled" in line for line in log)
        small.decode([0, 0], [0, 0], [0, 1], [True, True])
        small.close()
        heads = model.low.llama_model_n_head(model.handle)
        n_vocab = model.vocabulary.size
        return _Cost(
            own=max(0, grown - size),
            cell=size / (2 * 256) + _CELL_RECORD * caches,
            used=_USED_CELL * caches,
            attention=2 * caches if flash else 4 * caches + 8 * heads,
            output=3 * 4 * n_vocab,  # in the compute buffer, in the output buffer, and for copies
            chain=2 * _CANDIDATE * n_vocab,  # top-p without top-k sorts a copy of the candidates
        )

    def _plans(self) -> list[Layout]:
        """From the plan the settings ask for to the smallest that gives the same answers."""
        settings = self._settings
        slots, chunk = settings["width"], settings["chunk"]
        if settings["mode"] == "exact":
            if self._sizes is None:
                if not self._fits(self._shape_of(slots, 256, slots), 256, chains=False):
                    raise _too_large(slots, 256)
                self._sizes = agreeing_sizes(
                    lambda rows: Runner(self.model, self._shape_of(rows, 256, rows)), slots
                )
            counts, sizes = self._sizes[::-1], self._sizes
        else:
            counts = tuple(slots >> halvings for halvings in range(slots.bit_length()))
            # llama.cpp's matrix kernels take rows by fours: the odd ones cost more one at a time.
            sizes = (1, *range(4, slots, 4))
        return [
            Layout(
                slots=count,
                parallel=min(count, settings["parallel"]),
                chunk=chunk,
                exact=settings["mode"] == "exact",
                mixed=settings["mixed"],
                sizes=(*(size for size in sizes if size < count), count),
                on_device=settings["on_device"],
            )
            for count in counts
        ]

    def _shape(self, plan: Layout, room: int) -> Shape:
        holder = 0 if self.model.trimmable else 1
        return replace(self._shape_of(plan.slots + holder, room, plan.batch), unified=plan.mixed)

    def _shape_of(self, slots: int, room: int, batch: int) -> Shape:
        return Shape(
            slots=slots, room=room, batch=batch, outputs=slots, threads=self._settings["threads"]
        )


def _too_large(slots: int, room: int) -> OutOfMemory:
    return OutOfMemory(
        f"{slots} sequences of {room} tokens do not fit into memory; lower sampling.max_tokens, "
        "shorten the prompts, or lower engine.width (engine.parallel in fast mode)"
    )
