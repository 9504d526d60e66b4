"""Templates beside the baseline's: what changed, where, and which part got lost."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.gate.baseline import Source
from harness.intake import load_yaml
from harness.strategies import Template

_EXAMPLE = "example: "


@dataclass(frozen=True, slots=True)
class Parts:
    """What a template is made of beside its body; examples as the lines a baseline keeps."""

    system: bool
    prefill: bool
    stops: tuple[str, ...]
    examples: tuple[str, ...]


def parts_of(source: Source) -> Parts | None:
    """The parts of a template from the lines that a baseline keeps; None where it has none."""
    lines = list(source.lines)
    if "---" not in lines[1:]:
        return None
    end = lines.index("---", 1)
    try:
        head = load_yaml("\n".join(lines[1:end]), source.path)
    except HarnessError:
        return None
    if not isinstance(head, Mapping):
        return None
    wanted = head.get("examples")
    count = int(wanted.get("count", 0)) if isinstance(wanted, Mapping) else 0
    return Parts(
        system=bool(str(head.get("system") or "").strip()),
        prefill=bool(head.get("prefill")),
        stops=tuple(map(str, head.get("stops") or ())),
        examples=tuple(lines[len(lines) - count :]) if count else (),
    )


def lost_parts(before: Source, after: Source) -> list[str]:
    """Which parts a template has no more, and whether its examples merely changed places."""
    old, new = parts_of(before), parts_of(after)
    if old is None or new is None:
        return []
    lost = []
    if old.system and not new.system:
        lost.append("its system part is gone")
    if old.prefill and not new.prefill:
        lost.append("its prefill is gone")
    if old.stops and not new.stops:
        lost.append(f"its stop strings are gone: {', '.join(map(repr, old.stops))}")
    if old.examples and not new.examples:
        lost.append(f"its {len(old.examples)} examples are gone")
    elif old.examples != new.examples and sorted(old.examples) == sorted(new.examples):
        lost.append("its examples are the same in another order")
    return lost


@dataclass(frozen=True, slots=True)
class TemplateDiff:
    """How a template differs from the baseline's: a unified diff and the first line that does."""

    path: str
    line: int
    text: str


def source_of(template: Template) -> Source:
    """A template's file as lines, with the examples in use after them."""
    return Source(template.id, _shown(template.path), template.sha256, template.lines)


def template_diff(before: Source | None, after: Source) -> TemplateDiff | None:
    """What changed in a template since the baseline; None when nothing did."""
    if before is None or before.sha256 == after.sha256:
        return None
    old, new = list(before.lines), list(after.lines)
    text = "\n".join(
        difflib.unified_diff(old, new, f"{after.path} (baseline)", after.path, n=2, lineterm="")
    )
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    line = min(same + 1, max(1, sum(not row.startswith(_EXAMPLE) for row in new)))
    return TemplateDiff(after.path, line, text)


def _shown(path: Path) -> str:
    absolute = path.absolute()
    inside = absolute.is_relative_to(Path.cwd())
    return absolute.relative_to(Path.cwd()).as_posix() if inside else path.name
