"""The child process: one model, commands in, events out.

It reads frames from its standard input and writes frames to its standard output; what libraries
print goes to standard error, which the parent keeps as the child's last words. When the parent
dies, its end of the pipe closes and the child ends at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from harness import native
from harness.engine import wire
from harness.engine.limits import allocatable, peak_memory, restrain
from harness.engine.logprobs import Scorer, rows_per_block, scored
from harness.engine.loop import Loop
from harness.engine.room import Room
from harness.engine.runner import Model, Runner, Shape
from harness.engine.sampling import needs_chain
from harness.engine.scheduler import in_order
from harness.engine.sequence import Sequence as Decoding
from harness.engine.speed import timed
from harness.errors import EngineError, HarnessError
from harness.records import Passage

Command = Mapping[str, Any]

_LARGE_BLOCK = 4 << 20
_PLENTY = 2 << 30
"""With so much memory free, some dozens of MB that glibc keeps decide nothing."""

EARLY_EVERY = 4
"""Tokens between two looks at whether an answer's verdicts are settled."""

_M_MMAP_THRESHOLD = -3  # malloc.h


class Worker:
    """Serves one parent: loads a model, tokenizes, generates."""

    def __init__(self, commands: queue.Queue[Command], output: BinaryIO) -> None:
        self._commands = commands
        self._output = output
        self._room: Room | None = None
        self._settings: dict[str, Any] = {}
        self._free: int | None = None

    def serve(self) -> None:
        """Answer commands until there are no more (the process is ended from outside)."""
        handlers = {
            "load": self.load,
            "tokenize": self.tokenize,
            "generate": self.generate,
            "score": self.score,
            "rows": self.rows,
            "speed": self.speed,
            "end": self._late,
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
            if (allocatable() or _PLENTY) < _PLENTY:
                _return_large_blocks()
        adapter = command.get("adapter")
        self._free = self._device_free()
        start = time.perf_counter()
        model = Model(
            Path(command["model"]),
            vocab_only=command["vocab_only"],
            n_gpu_layers=command.get("n_gpu_layers", 0),
            device=command.get("device"),
            adapter=(Path(adapter[0]), float(adapter[1])) if adapter else None,
        )
        self._room = Room(model, self._settings)
        vocabulary = model.vocabulary
        self.tell(
            "loaded",
            seconds=time.perf_counter() - start,
            n_ctx_train=model.n_ctx_train,
            n_vocab=vocabulary.size,
            bos=vocabulary.bos,
            eos=vocabulary.eos,
            add_bos=vocabulary.add_bos,
            eog=sorted(vocabulary.eog),
            control=list(vocabulary.control.items()),
            fim=vocabulary.fim,
            chat_template=vocabulary.chat_template,
        )

    def tokenize(self, command: Command) -> None:
        """Token ids of texts, or the texts (or bytes, in hexadecimal) of token ids."""
        vocabulary = self._ready().model.vocabulary
        if "pieces" in command:
            self.tell(
                "pieces", pieces=[vocabulary.piece(token).hex() for token in command["pieces"]]
            )
            return
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
        plan, runner = self._ready().enter(
            max(job.room for job in jobs), chains=any(needs_chain(job.sampling) for job in jobs)
        )
        loop = Loop(runner, plan)
        for sequence in loop.run(
            in_order(jobs, plan.kinship),
            on_start=lambda job: self.tell("started", key=job.key),
            on_text=self._stream,
            ended=self._ended,
        ):
            self.tell("finished", **wire.sequence_to_json(sequence))
        self.tell("done", tally=asdict(loop.tally), slots=plan.slots, sizes=plan.sizes)

    def score(self, command: Command) -> None:
        """Score texts; tells each one's numbers as soon as they are there."""
        texts = [Passage(tuple(entry["tokens"]), entry["start"]) for entry in command["texts"]]
        with self._scorer(texts) as scorer:
            scored(scorer, texts, lambda scores: self.tell("scored", **asdict(scores)))
        self.tell("done")

    def rows(self, command: Command) -> None:
        """Put each block of logits into a file both sides have mapped, and wait to be told on."""
        texts = [Passage(tuple(entry["tokens"]), entry["start"]) for entry in command["texts"]]
        window = np.memmap(command["path"], dtype=np.float32, mode="r+")
        with self._scorer(texts) as scorer:
            for index, text in enumerate(texts):
                for block in scorer.blocks(index, text):
                    window[: block.rows.size] = block.rows.reshape(-1)
                    self.tell("rows", index=index, start=block.start, count=len(block.rows))
                    if self._commands.get()["op"] != "next":
                        raise EngineError("the stream of logits was broken off")
        self.tell("done")

    def speed(self, command: Command) -> None:
        """Time a fixed prefill and a fixed decode, in a context of their own."""
        self._ready().leave()
        runner, seconds = timed(
            self._ready().model, command["prefill"], command["decode"], self._settings["threads"]
        )
        free = self._device_free()
        runner.close()
        held = None if self._free is None or free is None else max(0, self._free - free)
        self.tell("speed", seconds=seconds, peak=peak_memory(), device=held)

    def _device_free(self) -> int | None:
        """Free bytes of the devices layers go to; None where none do."""
        if not self._settings.get("n_gpu_layers"):
            return None
        chosen = self._settings.get("device")
        found = native.devices() if chosen is None else native.devices()[chosen : chosen + 1]
        free = [device.free_memory for device in found if device.kind in ("gpu", "igpu")]
        return sum(free) if free else None

    @contextlib.contextmanager
    def _scorer(self, texts: Sequence[Passage]) -> Iterator[Scorer]:
        """A context of its own: scoring outputs every row of a chunk, generation none."""
        self._ready().leave()
        model = self._ready().model
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
        key, size = sequence.job.key, len(sequence.tokens)
        if sequence.job.early:
            if sequence.open and size % EARLY_EVERY == 0 and (text := sequence.take_shown()):
                self.tell("so far", key=key, text=text, tokens=size)
        elif text := sequence.take_shown():
            self.tell("text", key=key, text=text)

    def _late(self, _: Command) -> None:
        """The answer that was to end has ended by itself meanwhile."""

    def _ended(self) -> Sequence[str]:
        """The keys whose answers the parent wants no further."""
        keys = []
        while not self._commands.empty():
            command = self._commands.get()
            if command["op"] == "end":
                keys.append(command["key"])
        return keys

    def _ready(self) -> Room:
        if self._room is None:
            raise EngineError("no model is loaded")
        return self._room


def _return_large_blocks() -> None:
    """Make glibc give large blocks back when they are freed.

    By itself it raises its threshold with every such block, and keeps the later ones: they would
    count as used by whoever asks what may still be allocated.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


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
