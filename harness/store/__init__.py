"""What was computed once is never computed again: one SQLite file, WAL mode.

Answers are keyed by :func:`harness.records.request_key`, scored texts by
:func:`harness.records.passage_key`: they cover everything that could change a token or a number, so
a row is never updated, only added or cleaned away. Each carries a digest of what it holds: a row
that a disk has changed is removed when it is looked up, and made again. Every row is its own
transaction: a killed process loses only what was in flight.
"""

from harness.store.answers import ModelUsage, Pace, Removed, Store, default_store

__all__ = ["ModelUsage", "Pace", "Removed", "Store", "default_store"]
