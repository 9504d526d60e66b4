"""A run's answers as rows to train on: what passes, and what passes against what fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from harness.hashing import tagged_hash
from harness.records import CONTROL_STAGE, Sample, Scored

Layout = Literal["sft", "preferences"]

Row = dict[str, Any]


def training_rows(
    scored: Sequence[Scored], layout: Layout, *, seed: int = 0, per_prompt: int | None = None
) -> Iterator[Row]:
    """The rows of one layout that TRL reads, in the order of the items.

    ``sft``: conversational prompt-completion rows (``prompt`` and ``completion`` are lists of
    messages), one per passing answer. ``preferences``: conversational preference rows with an
    explicit prompt (``prompt``, ``chosen``, ``rejected``), a passing against a failing answer of
    one question. Equal texts count once; of more than ``per_prompt`` rows of a question the first
    by hash are kept, so that no arm is favoured. Empty answers and truncated passing ones are
    nobody's example; controls never are.
    """
    for sample, passing, failing in _questions(scored):
        prompt = [{"role": turn.role, "content": turn.content} for turn in sample.messages]
        if layout == "sft":
            rows = [{"prompt": prompt, "completion": _said(text)} for text in passing]
        else:
            rows = [
                {"prompt": prompt, "chosen": _said(good), "rejected": _said(bad)}
                for good in passing
                for bad in failing
            ]
        rows.sort(key=lambda row: tagged_hash("export", [seed, row]))
        yield from rows[:per_prompt]


def _questions(
    scored: Sequence[Scored],
) -> Iterator[tuple[Sample, list[str], list[str]]]:
    """Each item with its distinct passing and failing answers."""
    found: dict[tuple[str, str], tuple[Sample, dict[str, None], dict[str, None]]] = {}
    for row in sorted(scored, key=lambda row: (row.sample.suite, row.sample.id)):
        text = row.response.strip()
        if row.condition.stage == CONTROL_STAGE or row.passed is None or not text:
            continue
        name = (row.sample.suite, row.sample.id)
        sample, passing, failing = found.setdefault(name, (row.sample, {}, {}))
        if not row.passed:
            failing[text] = None
        elif row.generation.finish_reason in {"eos", "stop"}:
            passing[text] = None
    for sample, passing, failing in found.values():
        # Stripping may make a passing and a failing answer one text: it teaches nothing.
        both = set(passing) & set(failing)
        yield sample, [t for t in passing if t not in both], [t for t in failing if t not in both]


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
