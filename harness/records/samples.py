"""What is asked: items of a suite, their turns, and the checks of their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One verifiable instruction: a check's id and the arguments it is judged with."""

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def written(cls, item: Mapping[str, Any]) -> CheckSpec:
        """A check as a suite writes it, alone or inside another one.

        ``{"not": c}`` is short for ``{"id": "not", "kwargs": {"check": c}}``, ``{"any": [..]}``
        and ``{"all": [..]}`` likewise. Raises ValueError when none of them is there, or several.
        """
        forms = [name for name in ("id", "not", "any", "all") if name in item]
        if len(forms) != 1:
            found = " and ".join(forms) or ", ".join(map(str, item)) or "nothing"
            raise ValueError(f"a check is one of id, not, any, all; found {found}")
        form = forms[0]
        extra = sorted(set(map(str, item)) - ({"id", "kwargs"} if form == "id" else {form}))
        if extra:
            raise ValueError(f"a check with {form} has no {extra[0]!r}")
        if form != "id":
            return cls(form, {"check" if form == "not" else "checks": item[form]})
        given = item.get("kwargs", {})
        if not isinstance(item["id"], str) or not isinstance(given, Mapping):
            raise ValueError("a check's id is a text and its kwargs are an object")
        return cls(item["id"], plain_arguments(given))


def plain_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """A check's arguments without nulls, whole numbers as integers.

    The published files fill every argument a type does not take with null, and write 3 as 3.0.
    """
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in given.items()
        if value is not None
    }


@dataclass(frozen=True, slots=True)
class Sample:
    """One item of a suite.

    ``messages`` ends with the user turn to answer (earlier turns and a system message may stand
    before it). A ``continuation`` item is a text to go on with, not a question. A suite row's
    ``target`` (accepted answers) is here already as a check with id ``target``. ``needs`` names
    what an arm must offer (``system``, ``multi_turn``); ``group`` joins paraphrases of one item;
    ``ablated`` is the last user turn without its instruction (None: nobody marked it);
    ``metadata`` is the author's own and changes nothing; ``max_tokens`` is the item's own budget
    (None: the experiment's).
    """

    id: str
    messages: tuple[Message, ...]
    checks: tuple[CheckSpec, ...]
    target: tuple[str, ...] = ()
    kind: Literal["instruction", "continuation", "fim"] = "instruction"
    category: str = "uncategorised"
    tags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    group: str | None = None
    suite: str = ""
    ablated: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    max_tokens: int | None = None

    @property
    def query(self) -> str:
        """The last user turn's text."""
        return self.messages[-1].content
