"""Which of the two models to use, for what: start reading at :func:`harness.choice.walk.choose`."""

from harness.choice.present import as_json, as_lines, write_choice
from harness.choice.shots import parse_shots
from harness.choice.values import Choice, Row
from harness.choice.walk import WRAPPERS, ChoiceOptions, choose

__all__ = [
    "WRAPPERS",
    "Choice",
    "ChoiceOptions",
    "Row",
    "as_json",
    "as_lines",
    "choose",
    "parse_shots",
    "write_choice",
]
