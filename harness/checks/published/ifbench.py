"""IFBench (Pyatkin et al. 2025, https://arxiv.org/abs/2507.02833): what its 58 types share.

Ids, arguments and verdicts are those of allenai/IFBench; the code is our own. Several verdicts
follow what the official code does rather than what its prompt says; docs/parity.md lists them.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from harness.checks.registry import Demands, Example, Outcome
from harness.checks.registry import check as register

Count = Annotated[int, Field(ge=0)]
Ordinal = Annotated[int, Field(ge=1)]
Filled = Annotated[str, Field(min_length=1)]

EDGES = string.punctuation + " "
"""What is stripped off a word: ASCII punctuation and spaces."""

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)

Register = Callable[[Callable[..., Outcome]], Callable[..., Outcome]]


def check(
    id: str,
    passes: list[Example],
    fails: list[Example],
    *requires: str,
    demands: Demands | None = None,
) -> Register:
    """Register an IFBench type."""
    return register(
        id,
        version=1,
        passes=passes,
        fails=fails,
        family="ifbench",
        requires=requires,
        demands=demands,
    )


def unpunctuated(text: str) -> str:
    """The text without ASCII punctuation."""
    return text.translate(_NO_PUNCTUATION)


def at_least(found: int, wanted: float, what: str) -> Outcome:
    """A verdict on a lower bound."""
    return Outcome(found >= wanted, f"{found} {what}, wanted at least {wanted:g}")


def first_failure(problems: list[str], good: str) -> Outcome:
    """False with the first problem, or True with ``good`` when there is none."""
    return Outcome(False, problems[0]) if problems else Outcome(True, good)
