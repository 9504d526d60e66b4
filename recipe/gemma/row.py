"""One training row, and the bank of plain sentences that rows are made of."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.checks.judging import judge, validate
from harness.datasets import parse_row

HERE = Path(__file__).parent
Check = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """A conversation up to the question, an answer that passes, and what verifies it."""

    family: str
    prompt: str
    answer: str
    checks: tuple[Check, ...] = ()
    system: str = ""
    history: tuple[tuple[str, str], ...] = ()

    def messages(self) -> list[dict[str, str]]:
        """The turns before the answer, as a suite row holds them."""
        turns = [{"role": "system", "content": self.system}] if self.system else []
        for query, answer in self.history:
            turns += [{"role": "user", "content": query}, {"role": "assistant", "content": answer}]
        return [*turns, {"role": "user", "content": self.prompt}]

    def specs(self) -> list[dict[str, Any]]:
        """The checks as a suite row holds them."""
        return [{"id": id, "kwargs": given} if given else {"id": id} for id, given in self.checks]

    def failures(self) -> list[str]:
        """Why the answer does not pass, a reason a failed check; empty for a row worth learning."""
        row = {"messages": self.messages(), "checks": self.specs()}
        sample = parse_row(row, suite="gemma", where="this row", validate=validate)
        return [f"{r.check_id}: {r.reason}" for r in judge(sample, self.answer) if not r.strict]


def blocks(name: str) -> dict[str, list[str]]:
    """A text file of `# heading` and lines below it."""
    found: dict[str, list[str]] = {}
    for line in (HERE / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            found[line[2:]] = []
        elif line:
            found[list(found)[-1]].append(line)
    return found


TOPICS = blocks("topics.txt")
LANGUAGES = {heading.split()[0]: (heading.split()[1], lines)
             for heading, lines in blocks("languages.txt").items()}  # fmt: skip


def sentences(rng: random.Random, topic: str, count: int) -> list[str]:
    """So many of the topic's sentences, in their order (the first always leads)."""
    own = TOPICS[topic]
    rest = sorted(rng.sample(range(1, len(own)), count - 1))
    return [own[i] for i in (0, *rest)]
