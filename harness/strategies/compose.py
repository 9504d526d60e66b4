"""A sample taken apart: what a template's body reads, and why an arm may not be able to ask it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.checks.registry import demanded
from harness.errors import TemplateError
from harness.records import Arm, Message, Sample
from harness.strategies.library import PROVIDED, Template

OFFERED = {"system": "system", "multi_turn": "history"}
"""What a sample may need of an arm -> the name a text template's body must read to offer it."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A sample for one arm: the composed system part, earlier turns, and the opening."""

    system: str
    turns: tuple[Message, ...]
    prefill: str

    @property
    def query(self) -> str:
        """The turn to answer."""
        return self.turns[-1].content


def compose(sample: Sample, arm: Arm, template: Template) -> Parts:
    """Put the system part, the turns and the opening of the answer together.

    The system part is, in this order and separated by a blank line: the arm's persona; the arm's
    system text or, without one, the template's; the item's own system message. The last is part
    of what is asked, so nothing replaces it, and it stands closest to the question.
    """
    own = "\n\n".join(turn.content for turn in sample.messages if turn.role == "system")
    frame = template.system if arm.system is None else arm.system
    pieces = (arm.persona or "", frame, own)
    turns = tuple(turn for turn in sample.messages if turn.role != "system")
    if turns:
        if arm.ablated and sample.ablated is not None:
            turns = (*turns[:-1], replace(turns[-1], content=sample.ablated))
        # A few published prompts end in a space, after which no tokenizer splits words as usual.
        turns = (*turns[:-1], replace(turns[-1], content=turns[-1].content.rstrip(" \t")))
    return Parts(
        system="\n\n".join(piece.strip() for piece in pieces if piece.strip()),
        turns=turns,
        prefill=template.prefill if arm.prefill is None else arm.prefill,
    )


def required_variables(template: Template) -> set[str]:
    """The variables an arm must supply: read by the body, not provided, without a default."""
    return set(template.uses) - set(PROVIDED) - set(template.variables)


def check_variables(arm: Arm, template: Template) -> Mapping[str, str]:
    """The template's variables with the arm's in place; TemplateError on a missing or unknown."""
    required = required_variables(template)
    accepted = sorted(required | set(template.variables))
    names = ", ".join(accepted) or "none"
    if missing := sorted(required - set(arm.variables)):
        raise TemplateError(
            f"strategy {arm.label!r} needs the variable {missing[0]!r} and nobody supplies it: "
            f"write `vars: {{{missing[0]}: ...}}` in its entry (it accepts: {names})"
        )
    if unknown := sorted(set(arm.variables) - set(accepted)):
        raise TemplateError(
            f"strategy {arm.label!r} has no variable {unknown[0]!r}; it accepts: {names}"
        )
    return {**template.variables, **arm.variables}


def exchanges(turns: Sequence[Message]) -> list[dict[str, str]] | None:
    """Earlier turns as ``{query, answer}`` pairs; None unless user and assistant alternate."""
    earlier = turns[:-1]
    roles = [turn.role for turn in earlier]
    if roles != ["user", "assistant"] * (len(earlier) // 2):
        return None
    pairs = zip(earlier[::2], earlier[1::2], strict=True)
    return [{"query": asked.content, "answer": said.content} for asked, said in pairs]


def body_context(parts: Parts, sample: Sample, arm: Arm, template: Template) -> dict[str, Any]:
    """Everything a text template's body may read for one item."""
    return {
        **check_variables(arm, template),
        "query": parts.query,
        "system": parts.system,
        "history": exchanges(parts.turns) or [],
        "examples": [dict(row) for row in template.examples],
        "kind": sample.kind,
    }


def inexpressible(sample: Sample, arm: Arm, template: Template) -> str | None:
    """Why this arm cannot ask this item, in words for a report; None when it can.

    Such an item is missing on this arm, visibly: it is neither asked in another form nor failed.
    """
    if arm.ablated and sample.ablated is None:
        return "the item has no ablated text"
    parts = compose(sample, arm, template)
    if sample.kind == "fim":
        return "a fill-in-the-middle item: no prompt-wrapping strategy asks it"
    if not parts.turns or parts.turns[-1].role != "user":
        return "its last turn is not the user's"
    if template.kind == "text":
        wanted = {need: name for need, name in OFFERED.items() if _has(sample, parts, need)}
        for need, name in wanted.items():
            if name not in template.uses:
                return f"the item needs {need} and the template has no place for `{name}`"
        if exchanges(parts.turns) is None:
            return "its earlier turns do not alternate between user and assistant"
        if parts.system and "system" not in template.uses:
            return "the arm has a system text and the template has no place for `system`"
    if unknown := sorted(set(sample.needs) - set(OFFERED)):
        return f"the item needs {unknown[0]}, which no strategy offers"
    if clash := demanded_stop(sample, template.stops):
        return f"its own checks demand text that the stop string {clash!r} would cut off"
    return None


def _has(sample: Sample, parts: Parts, need: str) -> bool:
    if need == "multi_turn":
        return len(parts.turns) > 1
    return any(turn.role == "system" for turn in sample.messages)


def demanded_stop(sample: Sample, stops: Sequence[str]) -> str | None:
    """The first stop string that an answer obeying the item's checks would contain."""
    texts = [text for spec in sample.checks for text in demanded(spec)]
    return next((stop for stop in stops if any(fires_in(stop, text) for text in texts)), None)


def fires_in(stop: str, demanded: str) -> bool:
    """Whether a stop string fires in a text that may stand anywhere, also at a line's start.

    A stop string of line breaks alone fires where there is a line break, not before a text.
    """
    return stop in demanded or (bool(stop.strip()) and stop in f"\n{demanded}")
