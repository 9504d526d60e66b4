"""What a run was: everything that could change a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class RunManifest:
    """All that could change a number: config, hashes, versions, device, engine; JSON-ready.

    ``warnings`` are what a reader must know before any figure; ``command`` made the run;
    ``sources`` are the templates' texts; ``checks`` the versions of the checks, ``plugins`` the
    digests of the user's own modules of them; ``declared`` is when the contrasts were stored:
    ``before the run`` (before any answer they compare) or only ``in the file``; ``uses`` are the
    sha256 of the texts, gaps and examples beside the grid.
    """

    experiment: Mapping[str, Any]
    models: Mapping[str, Any]
    templates: Mapping[str, str]
    suites: Mapping[str, str]
    versions: Mapping[str, str]
    engine: Mapping[str, Any]
    system: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    command: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    checks: Mapping[str, int] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)
    declared: str = ""
    uses: Mapping[str, str] = field(default_factory=dict)
