"""How a model on the hub is named: ``owner/repo@revision:QUANT-or-file``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.errors import ModelNotFound
from harness.models.families import families, resolve_family

REPO = re.compile(
    r"^(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?(?::(?P<what>.+))?$"
)


@dataclass(frozen=True, slots=True)
class Remote:
    """Where on the hub a model is: a repository, a revision, and a file or a level in it."""

    repo: str
    revision: str = "main"
    what: str | None = None

    def file(self) -> str | None:
        """The exact file named, None when a level or nothing was named."""
        return self.what if self.what and self.what.lower().endswith(".gguf") else None

    def level(self, asked: str | None) -> str | None:
        """The level to look for: the one in the spec, else the one asked for."""
        return self.what if self.what and not self.file() else asked


def asked_level(spec: str) -> str | None:
    """The level that a spec itself asks for: ``owner/repo:Q8_0``, ``family/stage:Q8_0``."""
    match = REPO.match(spec)
    what = match["what"] if match else None
    return what if what and not what.lower().endswith(".gguf") else None


def parse_remote(spec: str) -> Remote:
    """A family's stage or a repository, as a place on the hub.

    Raises ModelNotFound for anything else.
    """
    name, _, stage = spec.partition("/")
    stage, _, what = stage.partition(":")
    if name in families() and stage:
        stages = resolve_family(name)
        if stage not in stages:
            raise ModelNotFound(f"{name} has no stage {stage!r}; it has {', '.join(stages)}")
        spec = stages[stage] + (f":{what}" if what else "")
    match = REPO.match(spec)
    if not match:
        raise ModelNotFound(
            f"{spec!r} is no file here, no family/stage, and no owner/repo:QUANT; "
            "see `harness fetch --list` for the families"
        )
    return Remote(match["repo"], match["revision"] or "main", match["what"])
