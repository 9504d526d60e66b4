"""What each of two models is good for: start at :func:`harness.experiment.uses.walk.choose`."""

from harness.experiment.uses.questions import WRAPPERS, ChoiceOptions
from harness.experiment.uses.shots import parse_shots
from harness.experiment.uses.walk import choose

__all__ = ["WRAPPERS", "ChoiceOptions", "choose", "parse_shots"]
