"""The store's file: how it is opened, its tables, and what its failures mean.

Migrations are append-only; a file written by a newer harness is refused rather than guessed at.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import StoreError

MIGRATIONS = (
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
    """
    CREATE TABLE scores (
        key TEXT PRIMARY KEY,
        model_sha256 TEXT NOT NULL,
        columns INTEGER NOT NULL,
        figures BLOB NOT NULL,
        created REAL NOT NULL,
        digest TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX scores_by_model ON scores (model_sha256);
    """,
)
_BATCH = 500  # SQLite's historical limit on variables in one statement is 999


def connected(path: Path) -> sqlite3.Connection:
    """The file's database in its newest form, made if need be. Raises StoreError."""
    with translated(path, "opened"):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Autocommit: each row is durable against a kill the moment it is added.
        db = sqlite3.connect(path, timeout=30, isolation_level=None)
        # A text that is no UTF-8 any more is damage, found by its digest, not an error.
        db.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        db.create_function("row_digest", 8, digest_of_row, deterministic=True)
        # A row is often longer than a quarter of SQLite's usual page of 4 KiB, and would take
        # one more page each (https://sqlite.org/fileformat2.html, 1.6). New files only.
        db.execute("PRAGMA page_size=8192")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        _migrate(db, path)
    return db


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path}: written by a newer harness (store version {version}, this one knows "
            f"{len(MIGRATIONS)}); upgrade, or point HARNESS_CACHE at another folder"
        )
    for number in range(version, len(MIGRATIONS)):
        # IMMEDIATE: two processes opening a new store must not both create its tables.
        db.execute("BEGIN IMMEDIATE")
        (current,) = db.execute("PRAGMA user_version").fetchone()
        if current == number:
            for statement in MIGRATIONS[number].split(";"):
                if statement.strip():
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {number + 1}")
        db.execute("COMMIT")


def rows_of(db: sqlite3.Connection, query: str, keys: Sequence[str]) -> Iterator[Sequence[Any]]:
    """The rows of a query that ends in ``key IN``, for any number of keys."""
    for start in range(0, len(keys), _BATCH):
        part = keys[start : start + _BATCH]
        yield from db.execute(f"{query} ({','.join('?' * len(part))})", part)


@contextmanager
def translated(path: Path, verb: str) -> Iterator[None]:
    """SQLite's failures as StoreError, in words of ours."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        why, advice = _meaning(str(error))
        raise StoreError(f"{path}: the answer store cannot be {verb}: {why}; {advice}") from error


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


def digest_of_row(
    key: str,
    text: str,
    answer: str,
    token_ids: bytes,
    finish_reason: str,
    prompt_tokens: int,
    completion_tokens: int,
    seconds: float,
) -> str:
    """The digest of what an answer is."""
    held = (key, text, answer, token_ids, finish_reason, prompt_tokens, completion_tokens, seconds)
    return digest_of(held)


def digest_of(held: Iterable[object]) -> str:
    """sha256 of parts, each with its length before it (128 bits of it, hex)."""
    digest = hashlib.sha256()
    for part in held:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:32]
