"""The text that distributions are compared over, read before anything is generated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.config import Measure
from harness.hashing import file_sha256
from harness.intake import read_text

_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class ComparedText:
    """A file's name, what stands in it, and its sha256."""

    name: str
    content: str
    sha256: str

    @property
    def over(self) -> str:
        """What a divergence over it is named after."""
        return f"text {self.name}"


def compared_text(asked: Measure | None, base_dir: Path) -> ComparedText | None:
    """The text that an experiment names; ConfigError when it cannot be read."""
    if asked is None or asked.text is None:
        return None
    path = base_dir / asked.text
    return ComparedText(path.name, read_text(path, limit=_BYTES), file_sha256(path))
