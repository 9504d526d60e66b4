"""What every mapping of an experiment file has in common."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict

from harness.intake import shown

_NAME = re.compile(r"[^/\x00-\x1f\x7f]{1,64}")


def nameable(value: str, what: str) -> str:
    """A stage's, level's or arm's name: it stands between slashes and in file names."""
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{what} is 1 to 64 characters without a slash or a line break, found {shown(value)}"
        )
    return value


class Section(BaseModel):
    """A mapping whose unknown keys are refused and whose values stay as they were read."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
