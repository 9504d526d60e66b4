"""The baseline: what every arm answered when all was well, as text that git diffs well.

One JSON value a line, sorted, without dates or paths of a machine. The first line holds a digest
of the others. An object begins a template or an arm; the strings after a template are its lines,
the lists after an arm its items::

    {"baseline":1,"experiment":"tiny","sha256":"..."}
    {"template":"qa","path":"templates/qa.j2","sha256":"..."}
    "Question: {{ query }}"
    {"arm":"base/F16/qa","template":"qa","gives":["prefill"],"identity":{...}}
    ["tiny-0001",1,"9c41...","CAT"]
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.atomic import write_text
from harness.errors import ConfigError
from harness.hashing import text_sha256
from harness.intake import read_text

FORMAT = 1
SHORT = 120
"""Characters of an answer that are kept to be read in a review."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item in one arm: the share of its epochs that passed (None: no answer), and its prompt.

    ``prompt`` is a digest of what the model was given: token ids, stop strings, logit rules.
    """

    id: str
    score: float | None
    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class Arm:
    """A condition: its template, what its answers depend on besides the prompts, its items.

    ``gives`` names the parts that the experiment adds to the template: system, persona, prefill.
    """

    name: str
    template: str
    identity: Mapping[str, str]
    items: Mapping[str, Item]
    gives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A template as it was: its file, its digest and its lines (examples in use among them)."""

    id: str
    path: str
    sha256: str
    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class Baseline:
    """Everything a later run is compared with."""

    experiment: str
    templates: Mapping[str, Source]
    arms: Mapping[str, Arm]


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write the file; the same content is always the same bytes."""
    body = "".join(f"{line}\n" for line in _lines(baseline))
    head = {"baseline": FORMAT, "experiment": baseline.experiment, "sha256": text_sha256(body)}
    write_text(path, _line(head) + "\n" + body)


def read_baseline(path: Path, experiment: str) -> Baseline:
    """Read the file; ConfigError, on one line, when it is missing, edited or of something else."""
    again = "write it with --update and review the diff"
    if not os.path.lexists(path):
        raise ConfigError(f"baseline {path}: there is no such file; {again}")
    first, _, body = read_text(path).partition("\n")
    try:
        head = json.loads(first)
        version = head["baseline"]
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"baseline {path}: this is no baseline; {again}") from None
    if version != FORMAT:
        raise ConfigError(
            f"baseline {path}: format {version!r}, this harness reads {FORMAT}; {again}"
        )
    if head.get("sha256") != text_sha256(body):
        raise ConfigError(f"baseline {path}: edited by hand or badly merged; {again}")
    if head.get("experiment") != experiment:
        raise ConfigError(
            f"baseline {path}: made for experiment {head.get('experiment')!r}, not {experiment!r}"
        )
    return _parse(experiment, [json.loads(line) for line in body.split("\n") if line])


def _lines(baseline: Baseline) -> Iterator[str]:
    for _, source in sorted(baseline.templates.items()):
        yield _line({"template": source.id, "path": source.path, "sha256": source.sha256})
        yield from map(_line, source.lines)
    for _, arm in sorted(baseline.arms.items()):
        yield _line(
            {
                "arm": arm.name,
                "template": arm.template,
                **({"gives": list(arm.gives)} if arm.gives else {}),
                "identity": dict(sorted(arm.identity.items())),
            }
        )
        for _, item in sorted(arm.items.items()):
            yield _line([item.id, _number(item.score), item.prompt, item.answer])


def _parse(experiment: str, rows: list[Any]) -> Baseline:
    templates: dict[str, Source] = {}
    arms: dict[str, Arm] = {}
    lines: list[str] = []
    items: dict[str, Item] = {}
    for row in rows:
        if isinstance(row, str):
            lines.append(row)
        elif isinstance(row, list):
            items[row[0]] = Item(*row)
        elif "template" in row and "arm" not in row:
            lines = []
            name = row["template"]
            templates[name] = Source(name, row["path"], row["sha256"], lines)
        else:
            items = {}
            gives = tuple(row.get("gives", ()))
            arms[row["arm"]] = Arm(row["arm"], row["template"], row["identity"], items, gives)
    return Baseline(experiment, templates, arms)


def _line(value: Any) -> str:
    """One line of JSON in which every letter reads as itself and nothing invisible does."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _number(score: float | None) -> float | int | None:
    return int(score) if score in (0.0, 1.0) and score is not None else score


def shortened(answer: str) -> str:
    """An answer's beginning on one line."""
    text = answer.encode("utf-8", "replace").decode("utf-8").strip()
    return text if len(text) <= SHORT else text[: SHORT - 1] + "…"
