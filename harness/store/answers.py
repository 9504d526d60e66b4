"""The store: answers by request key, and what is held of each model file."""

from __future__ import annotations

import contextlib
import itertools
import math
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from harness.records import Generation, Request
from harness.resources import cache_dir
from harness.store.schema import connected, digest_of_row, rows_of, translated
from harness.store.scores import Scores

_ENOUGH = 32  # answers that tell a pace
_ANSWERS = (
    "SELECT key, text, answer, token_ids, finish_reason, prompt_tokens, completion_tokens, "
    "seconds, digest, model_sha256 FROM answers WHERE key IN"
)
_USAGE = """
    WITH held AS (
        SELECT model_sha256, 1 AS answer, length(text) + length(token_ids) AS size, created
        FROM answers
        UNION ALL
        SELECT model_sha256, 0, length(figures), created FROM scores
    )
    SELECT model_sha256, sum(answer), sum(1 - answer), sum(size),
        max(max(created), coalesce(used, 0)) AS last
    FROM held LEFT JOIN uses USING (model_sha256) GROUP BY model_sha256 ORDER BY last DESC
"""


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """What the store holds of one model file: answers, and texts that were scored.

    ``last_used``: when any were last added, or answers found, in seconds since 1970; ``size`` in
    bytes.
    """

    model_sha256: str
    answers: int
    texts: int
    size: int
    last_used: float


@dataclass(frozen=True, slots=True)
class Removed:
    """How many answers and scored texts were cleaned away."""

    answers: int
    texts: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the latest answers of a model file came: tokens are prompt and completion ones."""

    answers: int
    tokens: int
    completion_tokens: int
    seconds: float


def default_store() -> Path:
    """Where answers are kept unless said otherwise: ``answers.sqlite`` in the cache folder."""
    return cache_dir() / "answers.sqlite"


class Store:
    """Stored answers by request key. A context manager; StoreError when the file is unusable.

    ``damaged`` counts the answers that were found changed on the disk, and removed; ``scores`` are
    the figures of texts that were scored.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        self._db = connected(path)
        self.scores = Scores(path, self._db)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; its content needs nothing else."""
        self._db.close()

    def find(self, keys: Iterable[str]) -> dict[str, Generation]:
        """The stored generations among ``keys``; damaged ones are removed, as if never stored."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, Generation] = {}
        models: set[str] = set()
        spoiled: list[str] = []
        with translated(self.path, "read"):
            for *row, digest, model in rows_of(self._db, _ANSWERS, wanted):
                # Bytes that became text by a changed type code have the same digest.
                if not isinstance(row[3], bytes) or digest_of_row(*row) != digest:
                    spoiled.append(row[0])
                    continue
                found[row[0]] = _generation(tuple(row))
                if isinstance(model, str) and model.isascii():  # else damage beside the answer
                    models.add(model)
            self._forget(spoiled)
            self._note_use(models)
        return found

    def _forget(self, keys: Sequence[str]) -> None:
        self.damaged += len(keys)
        for key in keys:
            self._db.execute("DELETE FROM answers WHERE key = ?", (key,))

    def _note_use(self, models: Iterable[str]) -> None:
        with contextlib.suppress(sqlite3.OperationalError):  # a store that is only there to read
            self._db.executemany(
                "INSERT OR REPLACE INTO uses VALUES (?, ?)",
                [(model, time.time()) for model in sorted(models)],
            )

    def add(self, request: Request, generation: Generation, *, replace: bool = False) -> None:
        """Store one answer; a failed one is not an answer and is left to be tried again.

        ``replace`` overwrites an earlier answer (``--no-cache``).
        """
        if generation.finish_reason == "failed":
            return
        verb = "REPLACE" if replace else "IGNORE"
        held = (
            _storable(generation.text),
            _storable(generation.answer),
            np.asarray(generation.token_ids, dtype="<i4").tobytes(),
            generation.finish_reason,
            generation.prompt_tokens,
            generation.completion_tokens,
            float(generation.seconds),
        )
        with translated(self.path, "written"):
            self._db.execute(
                f"INSERT OR {verb} INTO answers VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    request.key,
                    request.model_sha256,
                    request.sample_id,
                    *held,
                    time.time(),
                    digest_of_row(request.key, *held),
                ),
            )

    def declare(self, digest: str) -> float:
        """Remember that something was declared; when it first was, in seconds since 1970.

        Infinity where the store may only be read, and was not told before.
        """
        row = (digest, time.time())
        with contextlib.suppress(sqlite3.OperationalError):  # a store that is only there to read
            self._db.execute("INSERT OR IGNORE INTO declared VALUES (?, ?)", row)
        with translated(self.path, "read"):
            query = "SELECT stored FROM declared WHERE digest = ?"
            found = self._db.execute(query, (digest,)).fetchone()
        return float(found[0]) if found else math.inf

    def first_added(self, keys: Iterable[str]) -> float | None:
        """When the earliest of these answers was added (seconds since 1970); None without any."""
        wanted = list(dict.fromkeys(keys))
        with translated(self.path, "read"):
            query = "SELECT min(created) FROM answers WHERE key IN"
            found = [row[0] for row in rows_of(self._db, query, wanted)]
        return min((float(when) for when in found if when is not None), default=None)

    def pace(self, model_sha256: str, *, latest: int = 2000, pause: float = 20.0) -> Pace | None:
        """The pace of a model's latest answers by the times they were added; None with too few.

        A gap of more than ``pause`` seconds is not work but a run that had ended.
        """
        with translated(self.path, "read"):
            rows = self._db.execute(
                "SELECT created, prompt_tokens, completion_tokens FROM answers "
                "WHERE model_sha256 = ? ORDER BY created DESC LIMIT ?",
                (model_sha256, latest),
            ).fetchall()
        steps = [(later[0] - row[0], later[1], later[2]) for later, row in itertools.pairwise(rows)]
        work = [step for step in steps if step[0] <= pause]
        seconds = float(sum(step[0] for step in work))
        if len(work) < _ENOUGH or seconds <= 0:
            return None
        made = sum(step[2] for step in work)
        return Pace(len(work), sum(step[1] for step in work) + made, made, seconds)

    def keep_notes(self, engine: str, notes: Iterable[str]) -> None:
        """Remember what an engine had to say about itself, for runs that need not open it again."""
        with translated(self.path, "written"):
            self._db.executemany(
                "INSERT OR IGNORE INTO notes VALUES (?, ?)", [(engine, note) for note in notes]
            )

    def notes(self, engine: str) -> tuple[str, ...]:
        """What :meth:`keep_notes` was told of that engine."""
        with translated(self.path, "read"):
            rows = self._db.execute(
                "SELECT note FROM notes WHERE engine = ? ORDER BY note", (engine,)
            )
            return tuple(str(row[0]) for row in rows)

    def usage(self) -> list[ModelUsage]:
        """What is held per model file, the most recently used first."""
        with translated(self.path, "read"):
            rows = self._db.execute(_USAGE).fetchall()
        return [ModelUsage(*row) for row in rows]

    def clean(self, *, model_sha256: str | None = None, older_than: float | None = None) -> Removed:
        """Remove what is stored: all, of one model by digest prefix, or added before a time."""
        conditions: list[str] = []
        values: list[str | float] = []
        if model_sha256 is not None:
            conditions.append("substr(model_sha256, 1, ?) = ?")
            values += [len(model_sha256), model_sha256]
        if older_than is not None:
            conditions.append("created < ?")
            values.append(older_than)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        with translated(self.path, "cleaned"):
            counts = [
                self._db.execute(f"DELETE FROM {table}{where}", values).rowcount
                for table in ("answers", "scores")
            ]
            self._db.execute("VACUUM")
        return Removed(*counts)


def _generation(row: tuple[str, str, str, bytes, str, int, int, float]) -> Generation:
    key, text, answer, token_ids, finish_reason, prompt_tokens, completion_tokens, seconds = row
    return Generation(
        request_key=key,
        text=text,
        answer=answer,
        token_ids=tuple(np.frombuffer(token_ids, dtype="<i4").tolist()),
        finish_reason=finish_reason,  # type: ignore[arg-type]  # written from a FinishReason
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        seconds=seconds,
    )


def _storable(text: str) -> str:
    """SQLite stores UTF-8: a lone surrogate (which no decoder of ours makes) is replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")
