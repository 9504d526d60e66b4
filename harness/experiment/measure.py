"""What is measured of a run's files beside its answers: speed, and how far levels are apart."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from harness import models
from harness.analysis import Analysis
from harness.config import Measure
from harness.errors import ConfigError, EngineError
from harness.experiment.backend import Backends, StageModel
from harness.experiment.divergence import answers, arms_of, divergences, taken_up, walking, windows
from harness.experiment.plan import Plan
from harness.experiment.speed import Opener, speeds
from harness.experiment.watch import Watcher
from harness.hashing import file_sha256
from harness.intake import read_text
from harness.measured import NOTHING, Divergence, Measured, Shift, Speed
from harness.protocols import Backend, Measurable
from harness.records import Condition, EngineSettings, Generation, Passage

_TEXT_BYTES = 64 << 20


def measure(
    asked: Measure | None,
    planned: Plan,
    backends: Backends,
    generations: Mapping[str, Generation],
    analysis: Analysis,
    base_dir: Path,
    watcher: Watcher,
) -> Measured:
    """Everything that the experiment asks to measure; what fails is a note, and the run stands.

    Raises ConfigError for a text that is not there.
    """
    if asked is None:
        return NOTHING
    text = read_asked(asked, base_dir)
    able = [item for item in planned.stage_models if "measure" in backends.of(item).abilities]
    notes = [
        f"{item.cell}: backend {item.backend} cannot be measured"
        for item in planned.stage_models
        if item not in able
    ]
    session = _Session(planned, backends, watcher, notes)
    timed = session.speeds(able) if asked.speed else {}
    found: list[Divergence] = []
    for arm in dict.fromkeys(item.reference for item in analysis.equivalences):
        own = [item for item in able if item.stage == arm.stage]
        found += session.divergences(own, arm, generations, asked, text)
    walked = session.shifts(able, analysis, generations, asked.tokens) if asked.shift else ()
    shifted = tuple(walked)
    named = {Path(asked.text).name: file_sha256(base_dir / asked.text)} if asked.text else {}
    told = tuple(dict.fromkeys(notes))
    return Measured(timed, tuple(found), shifted, named, session.pieces, told)


def read_asked(asked: Measure | None, base_dir: Path) -> str | None:
    """The text to compare distributions over; ConfigError when it cannot be read."""
    if asked is None or asked.text is None:
        return None
    return read_text(base_dir / asked.text, limit=_TEXT_BYTES)


OWN = "own answers"
"""What a divergence over the reference's own answers is named after."""


class _Session:
    """The files of one run being measured; ``notes`` grows by what could not be."""

    def __init__(
        self, planned: Plan, backends: Backends, watcher: Watcher, notes: list[str]
    ) -> None:
        self._planned, self._backends = planned, backends
        self._watcher, self._notes = watcher, notes
        self.pieces: dict[str, tuple[str, ...]] = {}

    def speeds(self, items: Sequence[StageModel]) -> dict[str, Speed]:
        """Medians by cell; cells of one and the same file are measured once."""
        names: dict[str, list[str]] = {}
        openers: dict[str, Opener] = {}
        for item in items:
            file = f"{item.model.sha256} {item.adapter.sha256 if item.adapter else ''}"
            names.setdefault(file, []).append(str(item.cell))
            settings = self._planned.settings[item.cell]
            openers.setdefault(names[file][0], partial(self._opened, item, settings))
        try:
            turns = speeds(openers, say=lambda text: self._watcher.say(f"measuring speed, {text}"))
        except EngineError as error:
            self._notes.append(f"speed was not measured: {error}")
            return {}
        return {cell: Speed.middle(turns[cells[0]]) for cells in names.values() for cell in cells}

    def divergences(
        self,
        items: Sequence[StageModel],
        arm: Condition,
        generations: Mapping[str, Generation],
        asked: Measure,
        text: str | None,
    ) -> Iterator[Divergence]:
        """Each level of a stage against the arm's own, over its answers and over the text."""
        reference = next((item for item in items if item.level == arm.level), None)
        if reference is None or not (asked.tokens or text):
            return
        requests = [r for r in self._planned.requests[reference.cell] if r.condition == arm]
        own = answers(requests, generations, asked.tokens) if asked.tokens else []
        with self._noting(str(arm.cell)), self._walked(reference) as left:
            texts = {OWN: own} if own else {}
            if text is not None and asked.text is not None:
                tokenizer = cast(Backend, left).tokenizer
                if tokenizer is None:
                    raise EngineError(f"backend {reference.backend} tells nobody its tokens")
                tokens = tokenizer.tokenize([text], add_special=True, parse_special=False)[0]
                texts[text_name(asked.text)] = windows(tokens, asked.window, tokenizer)
            for item in items:
                if item.level != arm.level:
                    with self._noting(str(item.cell)):
                        yield from self._apart(left, reference, item, texts)

    def shifts(
        self,
        items: Sequence[StageModel],
        analysis: Analysis,
        generations: Mapping[str, Generation],
        most: int,
    ) -> Iterator[Shift]:
        """Every arm of the base over the instruct model's own answers, at the reference level."""
        raw, instruct = analysis.raw, analysis.instruct
        cells = {item.cell: item for item in items}
        base = cells.get(raw.cell) if raw else None
        tuned = cells.get(instruct.cell) if instruct else None
        if instruct is None or base is None or tuned is None or not most:
            return
        if different := models.first_token_difference(base.model, tuned.model):
            self._notes.append(
                f"no token distribution shift: {base.stage} and {tuned.stage} have different "
                f"tokenizers: {different}"
            )
            return
        asked = self._planned.requests
        own = [r for r in asked[tuned.cell] if r.condition == instruct and r.epoch == 0]
        arms = arms_of(asked[base.cell])
        with self._noting(str(tuned.cell)), self._walked(tuned) as left:
            tokenizer = cast(Backend, left).tokenizer
            ends = tokenizer.eog_ids if tokenizer else frozenset()
            taken = taken_up(own, generations, arms, ends, most)
            if tokenizer:
                read = (pieces(tokenizer.token_bytes(tokens)) for tokens in taken.tokens)
                self.pieces = dict(zip(taken.items, read, strict=True))
            with self._noting(str(base.cell)), self._walked(base) as right:
                for arm, theirs in taken.theirs.items():
                    self._watcher.say(f"token distribution shift: {arm} over {instruct}'s answers")
                    try:
                        walked = divergences(left, right, taken.mine, theirs)
                        shift = walked.shift(str(arm), str(instruct))
                        yield replace(shift, items=taken.items)
                    except ValueError as error:
                        self._notes.append(f"{arm}: no token distribution shift: {error}")

    def _apart(
        self,
        left: Measurable,
        reference: StageModel,
        item: StageModel,
        texts: Mapping[str, Sequence[Passage]],
    ) -> Iterator[Divergence]:
        cell, against = (str(one.cell) for one in (item, reference))
        with self._walked(item) as right:
            for over, passages in texts.items():
                count = sum(len(text.tokens) - text.start for text in passages)
                self._watcher.say(f"comparing {cell} with {against}: {count} tokens, {over}")
                try:
                    yield divergences(left, right, passages).summary(cell, against, over)
                except ValueError as error:
                    self._notes.append(f"{cell}: not compared over {over}: {error}")

    def _walked(self, item: StageModel) -> AbstractContextManager[Measurable]:
        return self._opened(item, walking(self._planned.settings[item.cell], item.model))

    @contextmanager
    def _opened(self, item: StageModel, settings: EngineSettings) -> Iterator[Measurable]:
        with self._backends.of(item).open(item.model, settings) as backend:
            yield cast(Measurable, backend)

    @contextmanager
    def _noting(self, cell: str) -> Iterator[None]:
        """A file that cannot be walked is a note; the run's answers stand."""
        try:
            yield
        except (EngineError, ConfigError) as error:
            self._notes.append(f"{cell}: not compared: {error}")


def pieces(tokens: Sequence[bytes]) -> tuple[str, ...]:
    """Each token as text; of a character that several tokens make, the last one has it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return tuple(decoder.decode(token) for token in tokens)


def text_name(name: str) -> str:
    """What a divergence over a text is named after."""
    return f"text {Path(name).name}"
