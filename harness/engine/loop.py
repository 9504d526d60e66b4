"""The loop: admit, decode a row for every slot, take the tokens; until nothing is left.

In exact mode what a micro-batch computes for an item is a function of the settings and of the
item's own prompt, never of its neighbours:

- a prompt is prefilled alone, in chunks that end at multiples of ``chunk``; its last token is fed
  as a decode row, so that every logit that chooses a token comes out of a decode;
- every decode has one of the ``sizes`` in rows, neighbouring slots in ascending order; an idle
  slot among them gets a dummy row, which is forgotten at once. ``sizes`` holds the width, and
  smaller ones only where the same inputs gave the same bits at both (see :mod:`.probe`);
- cached prompt tokens are handed from slot to slot only if whole chunks made them.

Fast mode is the same loop with these rules off: decodes have as many rows as it takes, and prefixes
are shared to the token. On a GPU it is also mixed: prompts are fed along with the decodes of other
slots, in one KV cache for all. On a CPU that is no clear gain: each row's attention works through
every slot's cells (benchmarks/RESULTS.md), so there prompts are fed alone.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.engine.runner import Runner
from harness.engine.sampling import Chain, apply_rules, needs_chain
from harness.engine.scheduler import best_source, choose_slot, common, shared_prefix
from harness.engine.sequence import Job, Sequence, Slot

_SHORT_TAIL = 1
"""A last prefill chunk of one token would be computed by other kernels, which split the cache
among threads; so few tokens go through decodes instead."""

_MIXED_BATCH = 512
"""Rows of a mixed batch at most: llama.cpp's own default for what a device computes at once."""

_WORTH_SHARING = 32
"""Fast mode decodes a prefix ahead of the prompts that share it from so many tokens on."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How to run: ``slots`` of which ``parallel`` may hold work, prefill in ``chunk`` tokens.

    ``sizes`` are the rows a decode may have, ascending, the largest being ``slots``; ``mixed``
    feeds prompts along with the decodes of others, in batches of up to ``batch`` rows instead.
    ``on_device`` lets the device choose where every job is plainly greedy.
    """

    slots: int
    parallel: int
    chunk: int
    exact: bool
    sizes: tuple[int, ...]
    mixed: bool = False
    on_device: bool = False

    @property
    def batch(self) -> int:
        """The most tokens of one decode."""
        return max(self.chunk, _MIXED_BATCH) if self.mixed else self.chunk

    @property
    def align(self) -> int:
        """What the length of a shared prefix is a multiple of."""
        return self.chunk if self.exact else 1

    @property
    def kinship(self) -> int:
        """How many first tokens prompts have in common that are answered one after another."""
        return self.chunk if self.exact else min(self.chunk, _WORTH_SHARING)


@dataclass(slots=True)
class Tally:
    """What a run of the loop did: seconds of wall time and inside llama.cpp, tokens and rows."""

    seconds: float = 0.0
    native_seconds: float = 0.0
    decodes: int = 0
    rows: int = 0
    busy_rows: int = 0
    prefilled: int = 0
    reused: int = 0
    generated: int = 0


class Loop:
    """Runs jobs on a runner, by a plan.

    A model whose memory cannot be cut back (recurrent, hybrid) needs one sequence more than the
    plan has slots: it holds the shared prefix, and ends exactly there.
    """

    def __init__(self, runner: Runner, plan: Layout) -> None:
        self._runner = runner
        self._plan = plan
        self._slots = [Slot(index) for index in range(plan.slots)]
        self._usable = self._slots[: plan.parallel]
        self._holder = plan.slots
        self._held: tuple[int, ...] = ()
        self._chains: dict[str, Chain] = {}
        self._vocabulary = runner.model.vocabulary
        self._trimmable = runner.model.trimmable
        self._eog = np.asarray(sorted(self._vocabulary.eog), dtype=np.int64)
        self._dummy = self._vocabulary.bos or 0
        self._on_device = False
        self.tally = Tally()

    def run(
        self,
        jobs: Seq[Job],
        *,
        on_start: Callable[[Job], None],
        on_text: Callable[[Sequence], None],
        ended: Callable[[], Collection[str]] = tuple,
    ) -> Iterator[Sequence]:
        """Yield each job's sequence as it finishes.

        ``ended`` is asked before every decode for the keys whose answers are not wanted further.
        """
        queue = deque(jobs)
        prefixes = {} if self._trimmable else shared_prefix(jobs, self._plan.kinship)
        plain = all(not needs_chain(job.sampling) and job.rules is None for job in jobs)
        self._on_device = self._runner.choose_on_device(self._plan.on_device and plain)
        begin, native_before = time.perf_counter(), self._runner.seconds
        try:
            while queue or self._busy():
                while queue and (free := [s for s in self._usable if s.sequence is None]):
                    job = queue.popleft()
                    on_start(job)
                    ahead = self._worth_sharing(job, queue)
                    self._admit(choose_slot(free, job), job, prefixes.get(job.key, 0), ahead)
                yield from self._step(on_text)
                yield from self._end(ended())
                self.tally.seconds = time.perf_counter() - begin
                self.tally.native_seconds = self._runner.seconds - native_before
        finally:
            for slot in self._busy():
                self._release(slot)

    def _busy(self) -> list[Slot]:
        return [slot for slot in self._usable if slot.sequence is not None]

    def _admit(self, slot: Slot, job: Job, prefix: int, ahead: int) -> None:
        """Give the slot the job's prompt, all but the tokens that go through decodes."""
        start = self._reuse(slot, job) if self._trimmable else self._from_holder(slot, job, prefix)
        body = self._body(job, start, ahead)
        self._prefill(slot.index, job.tokens[:body], start)
        if self._trimmable:
            slot.cached = job.tokens[: body // self._plan.align * self._plan.align]
        slot.position = body
        slot.pending = list(job.tokens[body:])
        slot.sequence = Sequence(job)
        self.tally.prefilled += body - start
        self.tally.reused += start
        if needs_chain(job.sampling):
            self._chains[job.key] = Chain(
                self._runner.model.low, self._vocabulary.size, job.sampling, job.seed, job.tokens
            )

    def _body(self, job: Job, start: int, ahead: int) -> int:
        """How many prompt tokens are decoded alone, the ``start`` cached ones among them."""
        if self._plan.mixed:
            return ahead if ahead >= start + _WORTH_SHARING else start
        body = len(job.tokens) - 1
        odd = body % self._plan.chunk
        return body - odd if odd <= _SHORT_TAIL else body

    def _worth_sharing(self, job: Job, queue: Seq[Job]) -> int:
        """Tokens to decode alone before mixing in the others that begin like this job."""
        if not (self._plan.mixed and self._trimmable and queue):
            return 0
        return min(common(job.tokens, queue[0].tokens), len(job.tokens) - 1)

    def _reuse(self, slot: Slot, job: Job) -> int:
        """Put the longest cached prefix any slot has of this prompt into ``slot``; its length."""
        source, length = best_source(self._slots, job, self._plan.align)
        own = best_source([slot], job, self._plan.align)[1]
        if length > own:
            self._runner.copy(source.index, slot.index)
        self._runner.trim(slot.index, max(length, own))
        return max(length, own)

    def _from_holder(self, slot: Slot, job: Job, prefix: int) -> int:
        """Put the job's shared prefix into ``slot`` from a state that ends exactly there."""
        self._runner.trim(slot.index, 0)
        if not prefix:
            return 0
        if self._held != job.tokens[:prefix]:
            self._held = ()
            self._runner.trim(self._holder, 0)
            self._prefill(self._holder, job.tokens[:prefix], 0)
            self._held = job.tokens[:prefix]
            self.tally.prefilled += prefix
        self._runner.copy(self._holder, slot.index)
        return prefix

    def _prefill(self, index: int, tokens: tuple[int, ...], start: int) -> None:
        """Decode ``tokens[start:]`` in one sequence, alone, in chunks that end at fixed places."""
        while start < len(tokens):
            end = min(len(tokens), (start // self._plan.chunk + 1) * self._plan.chunk)
            size = end - start
            self._runner.decode(
                tokens[start:end], range(start, end), [index] * size, [False] * size
            )
            start = end

    def _step(self, on_text: Callable[[Sequence], None]) -> Iterator[Sequence]:
        """One decode, then the next token of each busy slot whose prompt is through."""
        feeds = self._mixture() if self._plan.mixed else [(slot, 1) for slot in self._window()]
        row = output = -1  # of the batch, of its logits: the last of each slot
        wanted = self._decode(feeds)
        logits = None if self._on_device or not wanted else self._runner.logits(wanted)
        for slot, count in feeds:
            row += count
            output += self._is_output(slot, count)
            if slot.sequence is None:
                self._runner.trim(slot.index, slot.position)
                continue
            self.tally.busy_rows += 1
            slot.position += count
            del slot.pending[:count]
            if self._plan.mixed:
                self._remember(slot, slot.sequence.job)
                self.tally.prefilled += count - 1
            if not slot.pending:
                if logits is None:
                    self._accept(slot, slot.sequence, self._runner.chosen(row))
                else:
                    self._take(slot, slot.sequence, row, logits[output])
                if slot.sequence.job.stream or slot.sequence.job.early:
                    on_text(slot.sequence)
            if slot.sequence.finish is not None:
                yield self._release(slot)

    def _end(self, keys: Collection[str]) -> Iterator[Sequence]:
        for slot in self._busy() if keys else ():
            if slot.sequence is not None and slot.sequence.job.key in keys:
                slot.sequence.finish = "decided"
                yield self._release(slot)

    def _decode(self, feeds: Seq[tuple[Slot, int]]) -> int:
        """Decode the next tokens of each slot, a dummy for an idle one; how many logits it made."""
        tokens: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        outputs: list[bool] = []
        for slot, count in feeds:
            tokens += slot.pending[:count] if slot.sequence else [self._dummy]
            positions += range(slot.position, slot.position + count)
            slots += [slot.index] * count
            outputs += [False] * (count - 1) + [self._is_output(slot, count)]
        self._runner.decode(tokens, positions, slots, outputs)
        self.tally.decodes += 1
        self.tally.rows += len(tokens)
        return sum(outputs)

    def _is_output(self, slot: Slot, count: int) -> bool:
        """Whether the last of ``count`` tokens makes logits: unless mixed, every row does."""
        return not self._plan.mixed or count >= len(slot.pending)

    def _remember(self, slot: Slot, job: Job) -> None:
        """What a slot has decoded of its prompt among others may be shared at once."""
        if self._trimmable and len(slot.cached) < len(job.tokens):
            slot.cached = job.tokens[: slot.position]

    def _window(self) -> list[Slot]:
        """Neighbouring slots that include every busy one, as many as an allowed size says."""
        busy = [slot.index for slot in self._usable if slot.sequence is not None]
        span = busy[-1] + 1 - busy[0]
        size = next(size for size in self._plan.sizes if size >= span)
        start = min(busy[0], len(self._slots) - size)
        return self._slots[start : start + size]

    def _mixture(self) -> list[tuple[Slot, int]]:
        """A row of every busy slot, then more of the prompts, up to a batch in all."""
        busy = self._busy()
        spare = max(0, self._plan.batch - len(busy))
        feeds = []
        for slot in busy:
            more = min(spare, len(slot.pending) - 1)
            spare -= more
            feeds.append((slot, 1 + more))
        return feeds

    def _take(
        self, slot: Slot, sequence: Sequence, row: int, logits: npt.NDArray[np.float32]
    ) -> None:
        """Choose the sequence's next token from its row of logits."""
        job = sequence.job
        if job.rules is not None:
            apply_rules(logits, job.rules, sequence.tokens, self._eog)
        best = int(logits.argmax())  # NaN counts as the largest: a bad row is found without a scan
        if not np.isfinite(logits[best]):
            sequence.fail("the model's logits are not finite numbers")
            return
        chain = self._chains.get(job.key)
        self._accept(slot, sequence, chain.sample(self._runner.context, row) if chain else best)

    def _accept(self, slot: Slot, sequence: Sequence, token: int) -> None:
        """Give the sequence its next token, which is also the slot's next row."""
        if token < 0:
            sequence.fail("the device chose no token")
            return
        end = token in self._vocabulary.eog
        sequence.accept(token, b"" if end else self._vocabulary.piece(token), end=end)
        slot.pending.append(token)
        self.tally.generated += 1

    def _release(self, slot: Slot) -> Sequence:
        """Take the sequence out of its slot, and its tokens out of the cache."""
        sequence = slot.sequence
        assert sequence is not None
        slot.sequence, slot.pending = None, []
        slot.position = len(slot.cached)
        self._runner.trim(slot.index, slot.position)
        if chain := self._chains.pop(sequence.job.key, None):
            chain.close()
        return sequence
