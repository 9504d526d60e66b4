"""What is suspicious about a template file before any model has seen it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.errors import TemplateError
from harness.jinja.parent import RenderFailed, render_all
from harness.strategies.library import PROVIDED, Template, load_template

CHAT_TEMPLATE = "chat_template"
_QUERY = "aXqueryXa"
_NO_SOURCE = re.compile(r"(?i)^\W*(todo|tbd|unknown|none|n/?a|source)?\W*$")


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: an ``error`` makes ``harness template check`` fail, a ``note`` does not."""

    path: Path
    severity: Literal["error", "note"]
    message: str


def check_files(paths: Sequence[Path], others: Iterable[Template] = ()) -> list[Problem]:
    """Every problem of some template files; ``others`` are compared with, not judged."""
    problems: list[Problem] = []
    loaded: list[Template] = []
    for path in paths:
        try:
            loaded.append(load_template(path))
        except TemplateError as error:
            problems.append(Problem(path, "error", str(error).removeprefix(f"{path}: ")))
    for template in loaded:
        problems += template_problems(template)
    judged = {template.path.resolve() for template in loaded}
    rest = [template for template in others if template.path.resolve() not in judged]
    return problems + _taken(loaded, rest) + _twins(loaded, rest)


def template_problems(template: Template) -> list[Problem]:
    """Every problem of one template by itself, whatever others there are."""
    return [Problem(template.path, severity, message) for severity, message in _findings(template)]


Finding = tuple[Literal["error", "note"], str]


def _findings(template: Template) -> list[Finding]:
    found = [*_sources(template), *_variables(template), *_whitespace(template)]
    found += [*_stops(template), *_examples(template)]
    return found + ([] if template.kind == "native" else list(_rendering(template)))


def _sources(template: Template) -> Iterable[Finding]:
    if _NO_SOURCE.match(template.source):
        yield "error", f"source: {template.source!r} names no source; say where the shape is from"


def _variables(template: Template) -> Iterable[Finding]:
    known = PROVIDED | set(template.variables) | set(template.needs)
    for name in sorted(template.uses - known):
        yield (
            "error",
            f"the body reads {{{{ {name} }}}}, which nothing defines: list it under `needs` (an "
            f"experiment then supplies it), or give it a default under `variables`; provided are: "
            f"{', '.join(sorted(PROVIDED))}",
        )
    own = {"n"} if template.rerank else set()
    for name in sorted((set(template.variables) | set(template.needs)) - template.uses - own):
        if name != CHAT_TEMPLATE:
            yield "error", f"{name!r} is declared and the body never reads it"
    if template.system and template.kind == "text" and "system" not in template.uses:
        yield "error", "it has a `system` part and the body never reads {{ system }}"
    if template.kind == "text":
        for name, loss in (("system", "a system text"), ("history", "earlier turns")):
            if name not in template.uses:
                yield "note", f"the body has no {{{{ {name} }}}}: items with {loss} are left out"


def _whitespace(template: Template) -> Iterable[Finding]:
    for number, line in enumerate(template.body.split("\n"), 1):
        if line != line.rstrip():
            yield "error", f"line {number} of the body ends with a space"
    if template.prefill.endswith((" ", "\t")):
        yield "error", "prefill ends with a space, after which tokenizers split words differently"
    others = {"a line of `system`": template.system}
    if template.rerank:
        others["a line of `rerank.judge`"] = template.rerank.judge
    for number, row in enumerate(template.examples, 1):
        others |= {f"a line of the {part} of example {number}": row[part] for part in row}
    for place, text in others.items():
        if any(line != line.rstrip() for line in text.split("\n")):
            yield "error", f"{place} ends with a space"


def _stops(template: Template) -> Iterable[Finding]:
    stops = template.stops
    for place, stop in enumerate(stops):
        if not stop.strip():
            yield "error", f"stop string {stop!r} is blank: it would end almost every answer"
            continue
        for other in stops[:place] + stops[place + 1 :]:
            if other and other in stop and (other != stop or stops.index(stop) < place):
                yield "error", f"stop string {stop!r} never fires: {other!r} fires before it"
        if "\r" in stop:
            yield "error", f"stop string {stop!r} never fires: answers have no carriage return"
        if not stop.startswith("\n"):
            yield "note", f"stop string {stop!r} is not anchored at a line start: begin it with \\n"
        for number, row in enumerate(template.examples, 1):
            if stop in f"\n{row['answer']}":
                yield "error", f"stop string {stop!r} fires in the answer of example {number}"


def _examples(template: Template) -> Iterable[Finding]:
    if template.examples and "examples" not in template.uses:
        yield "error", "it has examples and the body never reads them"


def _rendering(template: Template) -> Iterable[Finding]:
    """Findings that need a rendered prompt: where it ends, and which stops it leads to."""
    supplied = {name: f"[{name}]" for name in template.uses - PROVIDED}
    context: dict[str, Any] = {
        **supplied,
        **template.variables,
        "query": _QUERY,
        "system": template.system,
        "history": [{"query": "an earlier question", "answer": "an earlier answer"}],
        "examples": [dict(row) for row in template.examples],
        "kind": "instruction",
    }
    contexts = [
        context,
        {**context, "history": []},
        {**context, "system": ""},
        {**context, "system": "[system]"},
        {**context, "kind": "continuation"},
    ]
    try:
        texts = render_all(template.body, contexts)
    except RenderFailed as error:
        yield "error", f"the body does not render: {error}"
        return
    if any(text.endswith((" ", "\t")) for text in texts):
        yield (
            "error",
            "the prompt ends with a space, after which tokenizers split words differently",
        )
    if not all(_QUERY in text for text in texts):
        yield "error", "the query does not reach the prompt under every condition"
    stops = [stop for stop in template.stops if stop.strip()]
    foreign = [stop for stop in stops if stop.rstrip() not in f"\n{texts[0]}"]
    for stop in foreign:
        yield (
            "note",
            f"stop string {stop!r} opens no part of this template: it fires only if the model "
            "invents that marker",
        )
    if stops and foreign == stops:
        yield (
            "error",
            f"none of its stop strings ({', '.join(map(repr, stops))}) opens a part of this "
            "template: an answer that runs on into the next turn is not cut there",
        )


def _taken(loaded: Sequence[Template], others: Sequence[Template]) -> list[Problem]:
    """Ids that exist already, and overrides of ids that do not: a run would refuse both."""
    owners = {template.id: template for template in others}
    problems = []
    for template in loaded:
        earlier = owners.get(template.id)
        if earlier is not None and template.overrides != template.id:
            cure = "choose another id"
            if earlier.path.parent != template.path.parent:
                cure += f", or write `overrides: {template.id}` to replace it"
            problems.append(
                Problem(
                    template.path,
                    "error",
                    f"the id {template.id!r} is taken by {earlier.path}: {cure}",
                )
            )
        elif template.overrides not in (None, template.id) or (
            earlier is None and template.overrides is not None
        ):
            problems.append(
                Problem(
                    template.path,
                    "error",
                    f"overrides {template.overrides!r}, which is not its own id or does not exist",
                )
            )
        owners.setdefault(template.id, template)
    return problems


def _twins(loaded: Sequence[Template], others: Sequence[Template]) -> list[Problem]:
    """Templates that ask the model the same thing under two names."""
    seen: dict[str, Template] = {_essence(template): template for template in others}
    problems = []
    for template in loaded:
        twin = seen.setdefault(_essence(template), template)
        if twin is not template:
            problems.append(
                Problem(
                    template.path,
                    "error",
                    f"differs from {twin.id!r} ({twin.path}) only in its name and description",
                )
            )
    return problems


def _essence(template: Template) -> str:
    parts: Mapping[str, Any] = {
        "kind": template.kind,
        "body": template.body,
        "system": template.system,
        "prefill": template.prefill,
        "stops": template.stops,
        "examples": [dict(row) for row in template.examples],
        "rules": template.rules and template.rules.model_dump(),
        "rerank": template.rerank and template.rerank.model_dump(),
        "variables": dict(template.variables),
    }
    return repr(parts)
