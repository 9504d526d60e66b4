"""The registry of families: which repositories hold the stages of one model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from harness.errors import ModelNotFound
from harness.intake import meant

REGISTRY = Path(__file__).resolve().parent.parent / "families.yaml"


@lru_cache(maxsize=1)
def families() -> Mapping[str, Mapping[str, Any]]:
    """Family name -> its entry in ``families.yaml``, as written there."""
    entries = yaml.safe_load(REGISTRY.read_text(encoding="utf-8"))
    return dict(entries["families"])


def resolve_family(name: str) -> Mapping[str, str]:
    """A family's stages in order, each with its spec (``owner/repo@revision``).

    Raises ModelNotFound listing the families there are.
    """
    known = families()
    entry = known.get(name)
    if entry is None:
        raise ModelNotFound(
            f"no family {name!r}; the registry has {', '.join(known)}{meant(name, known)}"
        )
    return {
        stage: f"{where['repo']}@{where['revision']}" for stage, where in entry["stages"].items()
    }
