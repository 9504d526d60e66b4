"""The child process: one model, commands in, events out.

It reads frames from its standard input and writes frames to its standard output; what libraries
print goes to standard error, which the parent keeps as the child's last words. When the parent
dies, its end of the pipe closes and the child ends at once.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from harness.engine import wire
from harness.engine.limits import allocatable, restrain
from harness.engine.loop import Loop, Plan
from harness.engine.probe import agreeing_sizes
from harness.engine.runner import Model, OutOfMemory, Runner, Shape
from harness.engine.scheduler import in_order
from harness.engine.scoring import Scorer, Text, rows_per_block, scored
from harness.engine.sequence import Sequence as Decoding
from harness.errors import EngineError, HarnessError

Command = Mapping[str, Any]

_WORKING_MEMORY = 16 << 20


class Worker:
    """Serves one parent: loads a model, tokenizes, generates."""

    def __init__(self, commands: queue.Queue[Command], output: BinaryIO) -> None:
        self._commands = commands
        self._output = output
        self._model: Model | None = None
        self._room: tuple[Plan, Runner] | None = None
        self._sizes: tuple[int, ...] | None = None
        self._cell_size = 0.0
        self._settings: dict[str, Any] = {}

    def serve(self) -> None:
        """Answer commands until there are no more (the process is ended from outside)."""
        handlers = {
            "load": self.load,
            "tokenize": self.tokenize,
            "generate": self.generate,
            "score": self.score,
            "rows": self.rows,
        }
        while True:
            command = self._commands.get()
            try:
                handlers[command["op"]](command)
            except HarnessError as error:
                self.tell("error", type=type(error).__name__, message=str(error))
            except MemoryError:
                self.tell("error", type="OutOfMemory", message="out of memory")

    def tell(self, event: str, **values: Any) -> None:
        """Send one event to the parent."""
        wire.send(self._output, {"event": event, **values})

    def load(self, command: Command) -> None:
        """Open the model file; answers what a parent needs to plan."""
        self._settings = dict(command)
        if command.get("limited"):
            restrain(command.get("memory"))
        adapter = command.get("adapter")
        self._model = model = Model(
            Path(command["model"]),
            vocab_only=command["vocab_only"],
            n_gpu_layers=command.get("n_gpu_layers", 0),
            device=command.get("device"),
            adapter=(Path(adapter[0]), float(adapter[1])) if adapter else None,
        )
        vocabulary = model.vocabulary
        self.tell(
            "loaded",
            n_ctx_train=model.n_ctx_train,
            n_vocab=vocabulary.size,
            bos=vocabulary.bos,
            eos=vocabulary.eos,
            add_bos=vocabulary.add_bos,
            eog=sorted(vocabulary.eog),
            control=list(vocabulary.control.items()),
            chat_template=vocabulary.chat_template,
        )

    def tokenize(self, command: Command) -> None:
        """Token ids of texts, or the texts of token ids."""
        vocabulary = self._loaded().vocabulary
        if "tokens" in command:
            self.tell("texts", texts=[vocabulary.text(token) for token in command["tokens"]])
            return
        self.tell(
            "tokens",
            tokens=[
                vocabulary.tokenize(
                    text,
                    add_special=command["add_special"],
                    parse_special=command["parse_special"],
                )
                for text in command["texts"]
            ],
        )

    def generate(self, command: Command) -> None:
        """Answer jobs; tells each start and each end, then a tally."""
        jobs = [wire.job_from_json(entry) for entry in command["jobs"]]
        plan, runner = self._room_for(max(job.room for job in jobs))
        loop = Loop(runner, plan)
        for sequence in loop.run(
            in_order(jobs, plan.kinship),
            on_start=lambda job: self.tell("started", key=job.key),
            on_text=self._stream,
        ):
            self.tell("finished", **wire.sequence_to_json(sequence))
        self.tell("done", tally=asdict(loop.tally), slots=plan.slots, sizes=plan.sizes)

    def score(self, command: Command) -> None:
        """Score texts; tells each one's numbers as soon as they are there."""
        texts = [Text(tuple(entry["tokens"]), entry["start"]) for entry in command["texts"]]
        with self._scorer(texts) as scorer:
            scored(scorer, texts, lambda scores: self.tell("scored", **asdict(scores)))
        self.tell("done")

    def rows(self, command: Command) -> None:
        """Put each block of logits into a file both sides have mapped, and wait to be told on."""
        texts = [Text(tuple(entry["tokens"]), entry["start"]) for entry in command["texts"]]
        window = np.memmap(command["path"], dtype=np.float32, mode="r+")
        with self._scorer(texts) as scorer:
            for index, text in enumerate(texts):
                for block in scorer.blocks(index, text):
                    window[: block.rows.size] = block.rows.reshape(-1)
                    self.tell("rows", index=index, start=block.start, count=len(block.rows))
                    if self._commands.get()["op"] != "next":
                        raise EngineError("the stream of logits was broken off")
        self.tell("done")

    @contextlib.contextmanager
    def _scorer(self, texts: Sequence[Text]) -> Iterator[Scorer]:
        """A context of its own: scoring outputs every row of a chunk, generation none."""
        if self._room is not None:
            self._room[1].close()
            self._room = None
        model = self._loaded()
        chunk = rows_per_block(model.vocabulary.size, self._settings["chunk"])
        room = max(len(text.tokens) for text in texts)
        runner = Runner(
            model,
            Shape(
                slots=2,
                room=room,
                batch=chunk,
                outputs=chunk,
                threads=self._settings["threads"],
            ),
        )
        try:
            yield Scorer(runner, chunk)
        finally:
            runner.close()

    def _stream(self, sequence: Decoding) -> None:
        if text := sequence.take_shown():
            self.tell("text", key=sequence.job.key, text=text)

    def _loaded(self) -> Model:
        if self._model is None:
            raise EngineError("no model is loaded")
        return self._model

    def _room_for(self, room: int) -> tuple[Plan, Runner]:
        """A context with room for the longest job: the one at hand if it is large enough.

        Where memory is short the plan has fewer slots; in exact mode only as few as give the same
        bits. Raises OutOfMemory when even the smallest plan does not fit.
        """
        room = max(room, self._settings["n_ctx"])
        if self._room is not None and self._room[1].room >= room:
            self._room[1].clear()
            return self._room
        if self._room is not None:
            self._room[1].close()
            self._room = None
        for plan in self._plans():
            shape = self._shape(plan, room)
            if not self._fits(shape):
                continue
            with contextlib.suppress(OutOfMemory):
                self._room = (plan, Runner(self._loaded(), shape))
                return self._room
        raise OutOfMemory(
            f"{self._plans()[-1].slots} sequences of {room} tokens do not fit into memory; lower "
            "sampling.max_tokens, shorten the prompts, or lower engine.width (engine.parallel in "
            "fast mode)"
        )

    def _fits(self, shape: Shape) -> bool:
        """Whether the cache leaves memory for the rest; an allocation that fails may also abort.

        Only asked on the CPU: a GPU's driver says no without harm.
        """
        free = allocatable()
        if free is None or not self._settings.get("limited"):
            return True
        if not self._cell_size:
            small = Runner(self._loaded(), self._shape_of(2, 256, 32))
            self._cell_size = small.memory_size() / (2 * 256)
            small.close()
        needed = self._cell_size * shape.slots * shape.room
        # Logits and the compute buffer hold a row of the vocabulary for every output.
        needed += 3 * 4 * self._loaded().vocabulary.size * shape.outputs + _WORKING_MEMORY
        return needed <= free

    def _plans(self) -> list[Plan]:
        """From the plan the settings ask for to the smallest that gives the same answers."""
        settings = self._settings
        slots, chunk = settings["width"], settings["chunk"]
        if settings["mode"] == "exact":
            if self._sizes is None:
                self._sizes = agreeing_sizes(
                    lambda rows: Runner(self._loaded(), self._shape_of(rows, 256, rows)), slots
                )
            counts, sizes = self._sizes[::-1], self._sizes
        else:
            counts = tuple(slots >> halvings for halvings in range(slots.bit_length()))
            # llama.cpp's matrix kernels take rows by fours: the odd ones cost more one at a time.
            sizes = (1, *range(4, slots, 4))
        return [
            Plan(
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

    def _shape(self, plan: Plan, room: int) -> Shape:
        holder = 0 if self._loaded().trimmable else 1
        return replace(self._shape_of(plan.slots + holder, room, plan.batch), unified=plan.mixed)

    def _shape_of(self, slots: int, room: int, batch: int) -> Shape:
        return Shape(
            slots=slots, room=room, batch=batch, outputs=slots, threads=self._settings["threads"]
        )


def main(make: Callable[[queue.Queue[Command], BinaryIO], Worker] = Worker) -> None:
    """Serve the parent at the other end of standard input and output."""
    faulthandler.enable()
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints to standard output must not break a frame
    commands: queue.Queue[Command] = queue.Queue()
    worker = make(commands, output)
    threading.Thread(target=_read, args=(commands,), daemon=True).start()
    try:
        worker.serve()
    except BrokenPipeError:
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # an ordinary exit would wait for the reading thread


def _read(commands: queue.Queue[Command]) -> None:
    source = os.fdopen(0, "rb", buffering=0)
    while True:
        try:
            command = wire.receive(source)
        except (EOFError, OSError, ValueError):
            os._exit(0)  # the parent is gone, whatever a decode is doing in the other thread
        commands.put(command)


if __name__ == "__main__":
    main()
