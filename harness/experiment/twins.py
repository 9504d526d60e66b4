"""Texts that are nearly the same, found without comparing every pair."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

ALIKE = 0.8
"""Share of 5-grams of their words' characters (Jaccard) that makes two texts alike."""

_GRAM = 5


def twins(texts: Sequence[str], alike: float = ALIKE) -> list[list[int]]:
    """Groups of positions whose texts are alike, each in order; the groups by their first.

    Prefix filtering (Bayardo et al. 2007): sets of n-grams that share ``alike`` of them share one
    among the rarest of each, so only those are compared.
    """
    grams = [_grams(text) for text in texts]
    common = Counter(gram for own in grams for gram in own)
    holders: dict[str, list[int]] = defaultdict(list)
    parent = list(range(len(texts)))
    for number, own in enumerate(grams):
        rarest = sorted(own, key=lambda gram: (common[gram], gram))
        prefix = rarest[: len(own) - math.ceil(alike * len(own)) + 1]
        least, most = alike * len(own), len(own) / alike
        for other in {n for gram in prefix for n in holders[gram]}:
            if not least <= len(grams[other]) <= most:
                continue
            if _root(parent, other) != _root(parent, number) and _share(own, grams[other]) >= alike:
                parent[_root(parent, number)] = _root(parent, other)
        for gram in prefix:
            holders[gram].append(number)
    found: dict[int, list[int]] = defaultdict(list)
    for number in range(len(texts)):
        found[_root(parent, number)].append(number)
    return sorted(group for group in found.values() if len(group) > 1)


def _grams(text: str) -> frozenset[str]:
    words = re.findall(r"\w+", text.casefold())
    plain = f" {' '.join(words)} "
    return frozenset(plain[n : n + _GRAM] for n in range(max(1, len(plain) - _GRAM + 1)))


def _share(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def _root(parent: list[int], number: int) -> int:
    while parent[number] != number:
        parent[number] = parent[parent[number]]
        number = parent[number]
    return number
