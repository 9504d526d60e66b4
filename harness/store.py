"""Answers that were generated once are never generated again: one SQLite file, WAL mode.

Rows are keyed by :func:`harness.records.request_key`, which covers everything that could change
the answer, so a row is never updated, only added or cleaned away. Each carries a digest of what it
holds: a row that a disk has changed is removed when it is looked up, and asked again. Every answer
is its own transaction: a killed process loses only what was in flight. Migrations are append-only;
a file written by a newer harness is refused rather than guessed at.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from harness.errors import StoreError
from harness.records import Generation, Request
from harness.resources import cache_dir

_MIGRATIONS = (
    """
    CREATE TABLE answers (
        key TEXT PRIMARY KEY,
        model_sha256 TEXT NOT NULL,
        sample_id TEXT NOT NULL,
        text TEXT NOT NULL,
        answer TEXT NOT NULL,
        token_ids BLOB NOT NULL,
        finish_reason TEXT NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        seconds REAL NOT NULL,
        created REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX answers_by_model ON answers (model_sha256);
    """,
    """
    ALTER TABLE answers ADD COLUMN digest TEXT NOT NULL DEFAULT '';
    UPDATE answers SET digest = row_digest(
        key, text, answer, token_ids, finish_reason, prompt_tokens, completion_tokens, seconds
    );
    CREATE TABLE uses (model_sha256 TEXT PRIMARY KEY, used REAL NOT NULL) WITHOUT ROWID;
    """,
    """
    CREATE TABLE notes (engine TEXT, note TEXT, PRIMARY KEY (engine, note)) WITHOUT ROWID;
    """,
    """
    CREATE TABLE declared (digest TEXT PRIMARY KEY, stored REAL NOT NULL) WITHOUT ROWID;
    """,
)
_ENOUGH = 32  # answers that tell a pace
_BATCH = 500  # SQLite's historical limit on variables in one statement is 999


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """What the store holds of one model file; ``last_used``: when answers were last added or found.

    Seconds since 1970.
    """

    model_sha256: str
    answers: int
    text_bytes: int
    last_used: float


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

    ``damaged`` counts the answers that were found changed on the disk, and removed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        with self._translated("opened"):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Autocommit: each answer is durable against a kill the moment add() returns.
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
            # A text that is no UTF-8 any more is damage, found by its digest, not an error.
            self._db.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
            self._db.create_function("row_digest", 8, _digest_of_row, deterministic=True)
            # A row is often longer than a quarter of SQLite's usual page of 4 KiB, and would take
            # one more page each (https://sqlite.org/fileformat2.html, 1.6). New files only.
            self._db.execute("PRAGMA page_size=8192")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._migrate()

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
        with self._translated("read"):
            for start in range(0, len(wanted), _BATCH):
                part = wanted[start : start + _BATCH]
                marks = ",".join("?" * len(part))
                rows = self._db.execute(
                    "SELECT key, text, answer, token_ids, finish_reason, prompt_tokens, "
                    f"completion_tokens, seconds, digest, model_sha256 FROM answers "
                    f"WHERE key IN ({marks})",
                    part,
                )
                for *row, digest, model in rows:
                    # Bytes that became text by a changed type code have the same digest.
                    if not isinstance(row[3], bytes) or _digest_of_row(*row) != digest:
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
        with self._translated("written"):
            self._db.execute(
                f"INSERT OR {verb} INTO answers VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    request.key,
                    request.model_sha256,
                    request.sample_id,
                    *held,
                    time.time(),
                    _digest_of_row(request.key, *held),
                ),
            )

    def declare(self, digest: str) -> float:
        """Remember that something was declared; when it first was, in seconds since 1970.

        Infinity where the store may only be read, and was not told before.
        """
        row = (digest, time.time())
        with contextlib.suppress(sqlite3.OperationalError):  # a store that is only there to read
            self._db.execute("INSERT OR IGNORE INTO declared VALUES (?, ?)", row)
        with self._translated("read"):
            query = "SELECT stored FROM declared WHERE digest = ?"
            found = self._db.execute(query, (digest,)).fetchone()
        return float(found[0]) if found else math.inf

    def first_added(self, keys: Iterable[str]) -> float | None:
        """When the earliest of these answers was added (seconds since 1970); None without any."""
        wanted = list(dict.fromkeys(keys))
        found = []
        with self._translated("read"):
            for start in range(0, len(wanted), _BATCH):
                part = wanted[start : start + _BATCH]
                marks = ",".join("?" * len(part))
                query = f"SELECT min(created) FROM answers WHERE key IN ({marks})"
                found.append(self._db.execute(query, part).fetchone()[0])
        return min((float(when) for when in found if when is not None), default=None)

    def pace(self, model_sha256: str, *, latest: int = 2000, pause: float = 20.0) -> Pace | None:
        """The pace of a model's latest answers by the times they were added; None with too few.

        A gap of more than ``pause`` seconds is not work but a run that had ended.
        """
        with self._translated("read"):
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
        with self._translated("written"):
            self._db.executemany(
                "INSERT OR IGNORE INTO notes VALUES (?, ?)", [(engine, note) for note in notes]
            )

    def notes(self, engine: str) -> tuple[str, ...]:
        """What :meth:`keep_notes` was told of that engine."""
        with self._translated("read"):
            rows = self._db.execute(
                "SELECT note FROM notes WHERE engine = ? ORDER BY note", (engine,)
            )
            return tuple(str(row[0]) for row in rows)

    def usage(self) -> list[ModelUsage]:
        """What is held per model file, the most recently used first."""
        with self._translated("read"):
            rows = self._db.execute(
                "SELECT model_sha256, count(*), sum(length(text) + length(token_ids)), "
                "max(max(created), coalesce(used, 0)) AS last FROM answers LEFT JOIN uses "
                "USING (model_sha256) GROUP BY model_sha256 ORDER BY last DESC"
            ).fetchall()
        return [ModelUsage(*row) for row in rows]

    def clean(self, *, model_sha256: str | None = None, older_than: float | None = None) -> int:
        """Remove answers (all, of one model by digest prefix, or added before a time); how many."""
        conditions: list[str] = []
        values: list[str | float] = []
        if model_sha256 is not None:
            conditions.append("substr(model_sha256, 1, ?) = ?")
            values += [len(model_sha256), model_sha256]
        if older_than is not None:
            conditions.append("created < ?")
            values.append(older_than)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        with self._translated("cleaned"):
            removed = self._db.execute(f"DELETE FROM answers{where}", values).rowcount
            self._db.execute("VACUUM")
        return removed

    def _migrate(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > len(_MIGRATIONS):
            raise StoreError(
                f"{self.path}: written by a newer harness (store version {version}, this one knows "
                f"{len(_MIGRATIONS)}); upgrade, or point HARNESS_CACHE at another folder"
            )
        for number in range(version, len(_MIGRATIONS)):
            # IMMEDIATE: two processes opening a new store must not both create its tables.
            self._db.execute("BEGIN IMMEDIATE")
            (current,) = self._db.execute("PRAGMA user_version").fetchone()
            if current == number:
                for statement in _MIGRATIONS[number].split(";"):
                    if statement.strip():
                        self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {number + 1}")
            self._db.execute("COMMIT")

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            why, advice = _meaning(str(error))
            raise StoreError(
                f"{self.path}: the answer store cannot be {verb}: {why}; {advice}"
            ) from error


_MEANINGS = (
    ("full", "the disk is full", "free some space, then run the same command again"),
    ("disk i/o", "the disk failed", "check the disk and its free space"),
    ("locked", "another program holds it", "wait for that program, then try again"),
    ("readonly", "it may only be read", "point HARNESS_CACHE at a folder that may be written to"),
    ("malformed", "the file is damaged", "move it away; its answers will be generated again"),
    ("not a database", "it is no answer store", "move it away, or set HARNESS_CACHE"),
)
"""What SQLite's words mean. Its own are not repeated: they can hold the text of an answer."""


def _meaning(words: str) -> tuple[str, str]:
    for sign, why, advice in _MEANINGS:
        if sign in words.lower():
            return why, advice
    return "the file or its folder cannot be used", "move it away or point HARNESS_CACHE elsewhere"


def _digest_of_row(
    key: str,
    text: str,
    answer: str,
    token_ids: bytes,
    finish_reason: str,
    prompt_tokens: int,
    completion_tokens: int,
    seconds: float,
) -> str:
    """sha256 of what an answer is, each part with its length before it (128 bits of it, hex)."""
    digest = hashlib.sha256()
    held = (key, text, answer, token_ids, finish_reason, prompt_tokens, completion_tokens, seconds)
    for part in held:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:32]


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
