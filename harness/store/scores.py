"""Figures of texts that a model was given: a few numbers for each of their tokens, by key."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.store.schema import digest_of, rows_of, translated

Figures = npt.NDArray[np.float64]


class Scores:
    """Stored figures by key; a row that a disk has changed is removed, as if never stored.

    What a figure is, the key knows: whoever asks makes it from all that could change a number.
    """

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self._path, self._db = path, db

    def find(self, keys: Iterable[str]) -> dict[str, Figures]:
        """The stored figures among ``keys``, each ``[figures, tokens]``."""
        found: dict[str, Figures] = {}
        spoiled: list[str] = []
        query = "SELECT key, columns, figures, digest FROM scores WHERE key IN"
        with translated(self._path, "read"):
            for key, columns, held, digest in rows_of(self._db, query, list(dict.fromkeys(keys))):
                if isinstance(held, bytes) and digest_of((key, columns, held)) == digest:
                    found[key] = np.frombuffer(held, dtype="<f8").reshape(columns, -1)
                else:
                    spoiled.append(key)
            with contextlib.suppress(sqlite3.OperationalError):  # it may only be read
                for key in spoiled:
                    self._db.execute("DELETE FROM scores WHERE key = ?", (key,))
        return found

    def add(self, key: str, model_sha256: str, figures: Figures) -> None:
        """Store a text's figures ``[figures, tokens]``; what stood under the key is replaced."""
        held = np.ascontiguousarray(figures, dtype="<f8").tobytes()
        row = (key, model_sha256, len(figures), held, time.time())
        with translated(self._path, "written"):
            self._db.execute(
                "INSERT OR REPLACE INTO scores VALUES (?,?,?,?,?,?)",
                (*row, digest_of((key, len(figures), held))),
            )
