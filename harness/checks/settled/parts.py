"""What of a beginning stays as it is whatever follows."""

from __future__ import annotations

import re

from harness.checks.text.plain import Text
from harness.checks.text.sentences import split_sentences

_META = re.compile(r"[\\.^$*+?{}\[\]|()]")


def is_plain(source: str) -> bool:
    """Whether a pattern is literal text, so that a match stays one and none takes long."""
    return not _META.search(source)


def steady_lower(text: str) -> str | None:
    """The text in lower case where that is the beginning of every longer text's; else None.

    A capital sigma's small form depends on what follows it.
    """
    return None if "\u03a3" in text else text.lower()


def complete(text: str, runs: int = 1) -> str:
    """The text without its last ``runs`` runs of non-space, which may go on; maybe empty."""
    for _ in range(runs):
        if text[-1:].isspace():
            text = text.rstrip()
        else:
            head = text.rsplit(maxsplit=1)
            text = head[0] if len(head) > 1 else ""
    return text


def complete_sentences(text: str) -> list[str]:
    """Sentences that every longer text has at its beginning, too.

    Punkt decides a boundary by the words on its two sides, and moves closing marks over it: behind
    a complete word and another one, less the last sentences, nothing changes any more.
    """
    kept = complete(text, 3)
    return split_sentences(kept)[:-2] if kept.strip() else []


def upper_tokens(text: str) -> int:
    """Penn Treebank tokens in capitals that every longer text has, at least."""
    return sum(token.isupper() for part in complete_sentences(text) for token in Text(part).tokens)


def counted(
    found: int,
    *,
    exactly: int | None = None,
    at_least: int | None = None,
    at_most: int | None = None,
) -> bool | None:
    """The verdict on a number that can only grow from ``found``."""
    highest = min((n for n in (exactly, at_most) if n is not None), default=None)
    if highest is not None:
        return False if found > highest else None
    return True if at_least is not None and found >= at_least else None


def related(found: int, relation: str, wanted: int) -> bool | None:
    """IFEval's ``less than`` and ``at least``, of a number that can only grow."""
    if found < wanted:
        return None
    return relation != "less than"


def can_begin(wanted: str, text: str) -> bool:
    """Whether one of the two begins with the other."""
    return wanted.startswith(text) or text.startswith(wanted)
