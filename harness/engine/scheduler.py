"""The scheduler decides: in which order, in which slot, and on whose cached prefix.

None of its decisions can change an answer in exact mode; they change how long it takes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Sequence as Seq

from harness.engine.sequence import Job, Slot


def in_order(jobs: Iterable[Job], chunk: int) -> list[Job]:
    """Jobs that begin alike together, chunk after chunk, the longest first.

    Longest first keeps the slots full to the end: what is left over when the queue is empty is
    short. Jobs of one shared prefix stay together, so that it is decoded once; so do, among them,
    those that share more of it. A family stands where its longest job would stand alone.
    """
    listed = list(jobs)
    places: dict[str, list[tuple[int, int, str]]] = {job.key: [] for job in listed}
    for _, family in families(listed, chunk):
        first = min(map(_longest_first, family))
        for job in family:
            places[job.key].append(first)
    return sorted(listed, key=lambda job: (*places[job.key], _longest_first(job)))


def shared_prefix(jobs: Seq[Job], chunk: int) -> dict[str, int]:
    """Tokens, in whole chunks, of the shared prefix that each job starts from, by key.

    For models whose memory cannot be cut back: there the prefix must be held in a state of its own,
    one at a time. A family is held either together, on what all of it shares, or its parts one
    after another, each on its own longer prefix: whichever leaves fewer tokens to decode.
    """
    found = {job.key: 0 for job in jobs}
    saved = dict(found)  # tokens a job does not decode: the first of those held together does
    for size, family in reversed(families(jobs, chunk)):
        if (len(family) - 1) * size >= sum(saved[job.key] for job in family):
            found.update((job.key, size) for job in family)
            saved.update((job.key, size) for job in family[1:])
            saved[family[0].key] = 0
        else:
            found.update((job.key, size) for job in family if not found[job.key])
    return found


def families(jobs: Iterable[Job], chunk: int) -> list[tuple[int, list[Job]]]:
    """Every set of jobs that begin alike and go on differently, and the tokens they share.

    Tokens are counted in whole chunks before a job's last one. All jobs together are the first
    family; a family comes before its parts. Every chunk of a prompt is looked at once at most.
    """
    found, growing = [], [(0, list(jobs))]
    while growing:
        size, family = growing.pop()
        parts: dict[tuple[int, ...], list[Job]] = defaultdict(list)
        for job in family:
            if size + chunk < len(job.tokens):
                parts[job.tokens[size : size + chunk]].append(job)
        if family and not any(len(part) == len(family) for part in parts.values()):
            found.append((size, family))
        growing += [(size + chunk, part) for part in parts.values() if len(part) > 1]
    return found


def whole_chunks(length: int, job: Job, chunk: int) -> int:
    """The part of ``length`` that lies in whole chunks before the job's last prompt token."""
    return min(length, len(job.tokens) - 1) // chunk * chunk


def common(left: Seq[int], right: Seq[int]) -> int:
    """How many leading tokens two prompts share."""
    size = min(len(left), len(right))
    if left[:size] == right[:size]:
        return size
    low, high = 0, size
    while high - low > 1:  # invariant: left[:low] == right[:low], left[:high] != right[:high]
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low


def choose_slot(free: Seq[Slot], job: Job) -> Slot:
    """The free slot that holds most of the job's prompt; else the one with least to lose."""
    return max(
        free, key=lambda slot: (common(slot.cached, job.tokens), -len(slot.cached), -slot.index)
    )


def best_source(slots: Seq[Slot], job: Job, chunk: int) -> tuple[Slot, int]:
    """The slot whose cached chunks cover most of the job's prompt, and how many tokens."""
    reach = [whole_chunks(common(slot.cached, job.tokens), job, chunk) for slot in slots]
    longest = max(reach)
    return slots[reach.index(longest)], longest


def _longest_first(job: Job) -> tuple[int, int, str]:
    return (-job.sampling.max_tokens, -len(job.tokens), job.key)
