"""Which of the two models to use, for what: the uses, their figures and what they decide.

They are measured by :mod:`harness.experiment.uses`, and told by :mod:`harness.reporting.choice`.
"""

from harness.choice.values import Choice, Row

__all__ = ["Choice", "Row"]
