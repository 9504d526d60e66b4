"""What the findings rest on: how answers end, text health, every condition."""

from __future__ import annotations

from collections.abc import Sequence

from harness import numbers
from harness.analysis import Analysis, ConditionSummary
from harness.analysis.summaries import FINISH_REASONS
from harness.reporting.markdown import arm_name, code, paragraphs, table
from harness.sanitize import for_markdown


def how_answers_end(analysis: Analysis) -> str:
    """Finish reasons at the reference level."""
    rows = []
    cut = any(item.finish.get("decided") for item in _at_reference(analysis))
    reasons = [reason for reason in FINISH_REASONS if cut or reason != "decided"]
    for item in _at_reference(analysis):
        shares = [numbers.percent(item.finish.get(reason, 0.0), 0) for reason in reasons]
        rows.append(
            [arm_name(item.condition), *shares, numbers.decimal(item.mean_completion_tokens, 0)]
        )
    if not rows:
        return ""
    return paragraphs(
        table(["arm", *reasons, "answer tokens"], rows),
        "eos: the model ended its turn; stop: a stop string; length: the token limit; loop: the "
        "text repeats itself; failed: no answer came; left out: an item that the arm cannot "
        "express and was not asked (both are missing). Truncated answers are scored as they are."
        + (" decided: cut where its verdicts could no longer change." if cut else ""),
    )


_VIEWS = {
    "stop-trimmed (the score)": None,
    "first turn only": "first_turn",
    "untrimmed": "untrimmed",
}
_HEALTH = {
    "run_on": ("another speaker's turn anywhere in what was generated", True),
    "invented_turn": ("another speaker's turn inside the answer", True),
    "echo": ("longest piece of the prompt, share of the answer", True),
    "loop": ("the end repeats itself three times or more", True),
    "distinct_1": ("distinct words", True),
    "distinct_2": ("distinct pairs of words", True),
    "repeated_4gram": ("repeated runs of four words", True),
    "script_switch": ("switches to another script", True),
    "compression": ("bytes per compressed byte", False),
    "words": ("words", False),
    "characters": ("characters", False),
}
"""Health figures in the order shown: what they say, and whether they are shares."""


def text_health(analysis: Analysis) -> str:
    """The mean of each health figure per arm at the reference level, and the other views."""
    arms = [item for item in _at_reference(analysis) if item.health]
    present = {key for item in arms for key in item.health}
    keys = [key for key in _HEALTH if key in present]
    keys += sorted(key for key in present - set(keys) if not key.startswith("finish_"))
    if not keys:
        return ""
    # One row per figure: there are more figures than arms, and names are long.
    rows = [
        [for_markdown(_HEALTH.get(key, (key, False))[0]), *(_health(item, key) for item in arms)]
        for key in keys
    ]
    return paragraphs(
        f"Means over all answers at {code(analysis.level)}:",
        table(["", *(arm_name(item.condition) for item in arms)], rows),
        _views(arms),
    )


def _views(arms: Sequence[ConditionSummary]) -> str:
    """Prompt-level strict accuracy had another view of the same text been judged."""
    if not any(item.views for item in arms):
        return ""
    rows = []
    for label, key in _VIEWS.items():
        values = [
            item.overall.prompt_strict.value if key is None else item.views.get(key)
            for item in arms
        ]
        rows.append([label, *(numbers.percent(value) for value in values)])
    return paragraphs(
        "Prompt-level strict accuracy over all items, had another view of the same text been "
        "judged:",
        table(["view", *(arm_name(item.condition) for item in arms)], rows),
    )


def every_condition(analysis: Analysis) -> str:
    """The four IFEval metrics of every condition over every item."""
    rows = []
    for item in analysis.conditions:
        every = item.overall
        rows.append(
            [
                code(str(item.condition)),
                numbers.whole(every.n),
                numbers.whole(every.n_missing),
                numbers.rate(every.prompt_strict),
                numbers.rate(every.inst_strict),
                numbers.percent(every.prompt_loose.value),
                numbers.percent(every.inst_loose.value),
                numbers.percent(item.eos_rate, 0),
                numbers.decimal(item.mean_prompt_tokens, 0),
            ]
        )
    columns = [
        "condition",
        "n",
        "missing",
        "prompt strict",
        "instruction strict",
        "prompt loose",
        "instruction loose",
        "eos",
        "prompt tokens",
    ]
    return paragraphs("Over all items, whatever their kind:", table(columns, rows)) if rows else ""


def _at_reference(analysis: Analysis) -> Sequence[ConditionSummary]:
    return [item for item in analysis.conditions if item.condition.level == analysis.level]


def _health(item: ConditionSummary, key: str) -> str:
    share = _HEALTH.get(key, (key, False))[1]
    value = item.health.get(key)
    return numbers.percent(value) if share else numbers.decimal(value)
