"""``--watch``: wait until one of some files changes, by their times and sizes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

EVERY = 0.3  # seconds between two looks

Stamps = Mapping[Path, tuple[int, int]]


def stamps(places: Iterable[Path]) -> Stamps:
    """When each file (of each folder) was last written, and its size."""
    found = {}
    for place in places:
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            try:
                state = path.stat()
            except OSError:  # an editor is just replacing it
                continue
            if path.is_file():
                found[path] = (state.st_mtime_ns, state.st_size)
    return found


def changed_files(before: Stamps, after: Stamps) -> list[Path]:
    """Files that are new, gone or different."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def watched(places: Iterable[Path], *, every: float = EVERY) -> Iterator[list[Path]]:
    """Yield the changed files, each time some have changed and then rested for a moment."""
    places = list(places)
    last = stamps(places)
    while True:
        time.sleep(every)
        now = stamps(places)
        if now == last:
            continue
        while (later := stamps(places)) != now:  # a save of several files is one change
            now = later
            time.sleep(every)
        yield changed_files(last, now)
        last = now
