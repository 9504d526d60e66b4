"""Control responders: what a suite pays out for answers that follow nothing.

On IFEval a bare "Yes" passes about a fifth of the instructions; a score means something only
beside these. They ask no model and cost nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from harness.errors import CheckError
from harness.records import Sample

DESCRIPTIONS = {
    "empty": "says nothing",
    "yes": 'says "Yes"',
    "paragraph": "says one generic paragraph, whatever was asked",
    "echo": "repeats the request",
    "loop": "says the generic paragraph twelve times, as a model that never stops",
    "majority": "says the suite's commonest right answer; there by itself where that is a fifth",
}
MAJORITY = "majority"
CONTROLS = tuple(name for name in DESCRIPTIONS if name != MAJORITY)
"""Names of the responders that always answer, in the order reports show them."""

COMMON = 0.2
"""Share of a suite's items with one right answer that makes the majority a control by itself."""
FEWEST = 3
"""Items that it has to be right for, at least."""

# No comma and no list: a paragraph that breaks as few rules as a thoughtless answer can.
_PARAGRAPH = (
    "There are several things to consider here. It helps to look at the question from more than "
    "one side and to think about what matters most. Many people have different views and each of "
    "them has some merit. Some answers are simple and others take more time. With a little "
    "patience it is usually possible to find something that works well in practice."
)
_LOOPS = 12


def respond(control: str, sample: Sample) -> str:
    """What a control answers to a sample; raises CheckError on an unknown name."""
    if control == "empty":
        return ""
    if control == "yes":
        return "Yes"
    if control == "paragraph":
        return _PARAGRAPH
    if control == "echo":
        return sample.query
    if control == "loop":
        return "\n\n".join([_PARAGRAPH] * _LOOPS)
    raise CheckError(f"there is no control {control!r}; there are {', '.join(CONTROLS)}")


def right_answer(sample: Sample) -> str | None:
    """The one text that is known to be right: the target, or what a check says it wants."""
    if sample.target:
        return sample.target[0]
    for spec in sample.checks:
        names = _ANSWERS.get(spec.id, ())
        for value in (spec.kwargs.get(name) for name in names):
            if isinstance(value, list) and value:
                value = value[0]
            if isinstance(value, str):
                return value
    return None


_ANSWERS: Mapping[str, Sequence[str]] = {
    "target": ("answers",),
    "choice": ("answer",),
    "label": ("answer",),
    "equals": ("text",),
}
"""Checks whose argument is a right answer."""


def majority_answers(samples: Iterable[Sample]) -> Mapping[str, tuple[str, int, int]]:
    """Each suite's commonest right answer, how many items it is right for, and of how many.

    Items without a known right answer are not counted; of several as common the first is taken.
    """
    found: dict[str, Counter[str]] = {}
    for sample in samples:
        answer = right_answer(sample)
        if answer is not None:
            found.setdefault(sample.suite, Counter())[answer] += 1
    return {suite: (*counts.most_common(1)[0], counts.total()) for suite, counts in found.items()}


def is_common(count: int, of: int) -> bool:
    """Whether a majority answer is right so often that scores need it beside them."""
    return count >= FEWEST and count >= COMMON * of
