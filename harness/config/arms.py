"""How the models are asked: strategies, and the responders that ask no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator

from harness.config.section import Section, nameable
from harness.intake import shown
from harness.records import ABLATED, OPENING_REMOVED, Arm

BASE_STRATEGIES = ("raw", "raw_nl", "qa", "sys_qa", "icl_3")
TUNED_STRATEGIES = ("native", "raw")
Control = Literal["empty", "yes", "paragraph", "echo", "loop", "majority"]
CONTROL_NAMES: tuple[Control, ...] = get_args(Control)
CONTROLS: tuple[Control, ...] = ("empty", "yes", "paragraph", "echo", "loop")


class StrategyEntry(Section):
    """A strategy with what composes with any of them.

    ``ablated`` asks every item without its instruction: the name ends in `` (ablated)`` then.
    """

    id: str
    label: str | None = Field(default=None, alias="as")
    system: str | None = None
    persona: str | None = None
    prefill: str | None = None
    variables: Mapping[str, str] = Field(default_factory=dict, alias="vars")
    ablated: bool = False

    @field_validator("id", "label")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if value is not None and value.endswith((ABLATED, OPENING_REMOVED)):
            raise ValueError(f"a name that ends in {shown(value[value.rindex(' (') :])} is taken")
        return None if value is None else nameable(value, "a strategy's name")

    @property
    def name(self) -> str:
        """What the arm is called in reports."""
        return (self.label or self.id) + ABLATED * self.ablated

    def arm(self) -> Arm:
        """The entry as the record strategies are rendered with."""
        return Arm(
            strategy=self.id,
            label=self.name,
            system=self.system,
            persona=self.persona,
            prefill=self.prefill,
            variables=dict(self.variables),
            ablated=self.ablated,
        )


def _entry(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    name = value.removesuffix(ABLATED)
    return {"id": name, "ablated": True} if name != value else {"id": name}


def strategy_entry(name: str) -> StrategyEntry:
    """A strategy by its name alone, ``qa`` or ``qa (ablated)``; raises pydantic's error."""
    return StrategyEntry.model_validate(_entry(name))


Entry = Annotated[StrategyEntry, BeforeValidator(_entry)]


def _control(value: Any) -> Any:
    """YAML reads a plain ``yes`` as true."""
    if value is True:
        raise ValueError('YAML reads a plain yes as true: put it in quotes, "yes"')
    return value


class Constant(Section):
    """A responder that says one text, whatever is asked: ``{text: high}``, with a name or not."""

    text: str
    label: str | None = Field(default=None, alias="as")

    @field_validator("label")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        return None if value is None else nameable(value, "a control's name")

    @property
    def name(self) -> str:
        """What the control is called in reports."""
        plain = " ".join(self.text.replace("/", " ").split())
        return self.label or f"says {plain if len(plain) <= 40 else plain[:39] + '…'}".rstrip()


Responder = Annotated[Control | Constant, BeforeValidator(_control)]
"""One of the responders that ask no model: a shipped one by name, or a text of the user's."""
