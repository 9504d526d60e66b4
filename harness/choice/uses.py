"""Every use there is, in the table's order: what its score is, and what runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.choice.values import ArmScores, Use

TEXTS = "give it your texts with --text FILE"
GAPS = "give it gaps to fill with --infill FILE"

USES: Mapping[str, Use] = {
    use.name: use
    for use in (
        Use(
            "chat-style instructions",
            "share of a shipped suite's items whose every check passes",
            "share",
            "items",
            margin=0.05,
            not_run="give it a shipped suite with --suite, such as --suite starter",
        ),
        Use(
            "own prompts",
            "share of your own prompts whose every check passes",
            "share",
            "items",
            margin=0.05,
            not_run="give it your prompts, with checks or targets, with --suite FILE",
        ),
        Use(
            "structured output",
            "share of the suites' items that ask for JSON, CSV, XML, a table or code and get it",
            "share",
            "items",
            margin=0.05,
            not_run="give it a suite with such checks with --suite",
        ),
        Use(
            "continuation",
            "bits per byte of what follows in your text (less is better)",
            "bits per byte",
            "documents",
            margin=0.02,
            taxed=True,
            not_run=TEXTS,
        ),
        Use(
            "last word",
            "share of your sentences whose last word is the model's own next choice",
            "share",
            "documents",
            margin=0.05,
            taxed=True,
            not_run=TEXTS,
        ),
        Use(
            "cloze",
            "share of your sentences whose last word it finds the likeliest of four (chance: 25 %)",
            "share",
            "documents",
            margin=0.05,
            floor=0.25,
            taxed=True,
            not_run=TEXTS,
        ),
        Use(
            "style",
            "distance of a greedy continuation's style to what follows in your text: character "
            "trigrams, sentence length, punctuation (0 alike, 1 as far as can be)",
            "distance",
            "documents",
            margin=0.05,
            taxed=True,
            not_run=TEXTS,
        ),
        Use(
            "fill in the middle",
            "share of your gaps that are filled with the very reference (raw: by the vocabulary's "
            "fill-in-the-middle tokens; else asked for it in words)",
            "share",
            "items",
            margin=0.05,
            taxed=True,
            not_run=GAPS,
        ),
        Use(
            "fill in the middle, edits",
            "edit similarity of what is filled in to the reference (1 − Levenshtein distance / "
            "length of the longer)",
            "similarity",
            "items",
            margin=0.05,
            taxed=True,
            not_run=GAPS,
        ),
        Use(
            "fill in the middle, tests",
            "share of your gaps with which the filled code passes its tests",
            "share",
            "items",
            margin=0.05,
            not_run=f"{GAPS} whose rows have tests, and --code",
        ),
        Use(
            "few-shot adaptation",
            "accuracy on your task with your examples in the prompt, averaged over how many they "
            "are",
            "share",
            "items",
            margin=0.05,
            not_run="give it rows with a prompt and a target with --examples FILE",
        ),
        Use(
            "predictability",
            "share of the suites' items that pass greedily and in every draw at temperature 0.7",
            "share",
            "items",
            margin=0.05,
            not_run="give it a suite with --suite, and draws with --draws",
        ),
    )
}


def measured(name: str, arms: Sequence[ArmScores], units: str, notes: Sequence[str] = ()) -> Use:
    """A use with what was measured of it."""
    own = tuple(arm for arm in arms if arm.use == name)
    return replace(USES[name], arms=own, units=units, notes=tuple(notes), not_run="")


def absent(name: str, stage: str, way: str, why: str) -> ArmScores:
    """An arm that could not be asked in a use, and why."""
    why = why if why.startswith("not asked") else f"cannot express: {why}"
    return ArmScores(name, stage, way, np.empty(0), np.empty(0), absent=why)
