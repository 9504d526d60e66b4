"""Strategy templates: one file each, YAML front matter and a Jinja2 body.

A file looks like this::

    ---
    id: qa
    description: Question and Answer labels
    source: common practice
    stops: ["\\nQuestion:", "\\nQ:"]
    known_failure: runs on into the next question
    ---
    {{ system }}{% if system %}{{ "\\n\\n" }}{% endif %}
    Question: {{ query }}
    Answer:

The body is everything after the second ``---`` line less one final newline. ``docs/strategies.md``
lists every key; :data:`PROVIDED` lists what a body may read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from harness.errors import TemplateError
from harness.hashing import tagged_hash
from harness.intake import load_json, load_yaml, near, plainly, read_text, shown
from harness.jinja.parent import MAX_SOURCE, RenderFailed, free_names
from harness.records import Rerank
from harness.resources import resource_dir

SUFFIX = ".j2"
MAX_DRAWS = 64
"""Most answers a reranking strategy may draw for one item."""
PROVIDED = frozenset({"query", "system", "history", "examples", "kind"})
"""What every body may read.

``query`` is the last user turn; ``system`` the composed system part (empty when there is none);
``history`` the earlier exchanges and ``examples`` the few-shot pairs, both lists of
``{query, answer}``; ``kind`` is ``instruction`` or ``continuation``.
"""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Examples(_Strict):
    """Few-shot pairs: a JSONL file beside the template, and how many of its rows to use."""

    file: str
    count: int = Field(ge=1, le=64)


class Rules(_Strict):
    """Fixed logit rules; openers by text, since token ids belong to one vocabulary.

    The fields are those of :class:`harness.records.LogitRules`.
    """

    eos_slope: float = 0.0
    eos_cap: float = 0.0
    used_penalty: float = 0.0
    openers: Mapping[str, float] = Field(default_factory=dict)
    opener_tokens: int = Field(1, ge=1, le=16)


class Reranking(_Strict):
    """How many answers to draw and the question the model judges each with.

    ``judge`` is a template of its own: it may read what the body reads, and the answer's place is
    ``{answer}``.
    """

    n: int = Field(ge=2, le=MAX_DRAWS)
    judge: str
    yes: str = " Yes"
    no: str = " No"
    temperature: float = Field(0.7, gt=0, le=5)

    @field_validator("judge")
    @classmethod
    def _place(cls, judge: str) -> str:
        if judge.count("{answer}") != 1:
            raise ValueError("rerank.judge must contain {answer} exactly once")
        return judge.removesuffix("\n")  # YAML's | adds it; the verdict follows on the same line

    def record(self, judge: str, n: int) -> Rerank:
        """The record that travels, with the judge's text rendered for one item."""
        return Rerank(n=n, judge=judge, yes=self.yes, no=self.no, temperature=self.temperature)


class FrontMatter(_Strict):
    """The keys a template file may have (see ``docs/strategies.md``)."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)
    description: str = Field(min_length=1, pattern=r"^[^\n]+\n?$")
    source: str = Field(min_length=1)
    known_failure: str = Field(min_length=1)
    kind: Literal["text", "native"] = "text"
    stops: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    system: str = ""
    prefill: str = ""
    examples: Examples | None = None
    variables: Mapping[str, str] = Field(default_factory=dict)
    rules: Rules | None = None
    rerank: Reranking | None = None
    overrides: str | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """A strategy as its file describes it.

    ``system`` is its default system part, ``prefill`` its default opening of the answer,
    ``variables`` the defaults of what the body reads beyond :data:`PROVIDED`, ``uses`` everything
    the body reads (and a judge, of what is not provided). ``needs`` names what must be supplied:
    ``chat_template``, or a variable without a default. ``sha256`` covers front matter, body and
    the example rows in use.
    """

    id: str
    description: str
    source: str
    stops: tuple[str, ...]
    examples: tuple[Mapping[str, str], ...]
    needs: tuple[str, ...]
    known_failure: str
    body: str
    kind: Literal["text", "native"]
    rules: Rules | None
    rerank: Reranking | None
    sha256: str
    path: Path
    system: str = ""
    prefill: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    uses: frozenset[str] = frozenset()
    overrides: str | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """The file's lines and the example rows in use: what a reader compares."""
        text = read_text(self.path, TemplateError).splitlines()
        rows = [_EXAMPLE + json.dumps(dict(row), ensure_ascii=False) for row in self.examples]
        return (*text, *rows)

    @property
    def written(self) -> str:
        """All that its digest covers, as one text: the file, then a line per example in use."""
        head, body = split_front_matter(self.path)
        rows = [_EXAMPLE + json.dumps(dict(row), ensure_ascii=False) for row in self.examples]
        return "\n".join([f"---\n{head}\n---\n{body}", *rows])


_EXAMPLE = "example: "


def written_sha256(written: str) -> str:
    """The digest of a template from its :attr:`Template.written` text.

    Raises ValueError when it is no such text.
    """
    head, marked, rest = written.removeprefix("---\n").partition("\n---\n")
    if not marked:
        raise ValueError("a template has front matter between two lines ---")
    lines = rest.split("\n")
    examples: list[Any] = []
    while len(lines) > 1 and lines[-1].startswith(_EXAMPLE):
        examples.insert(0, json.loads(lines.pop().removeprefix(_EXAMPLE)))
    return _digest(head, "\n".join(lines), examples)


def _digest(head: str, body: str, examples: Sequence[Mapping[str, str]]) -> str:
    rows = [dict(row) for row in examples]
    return tagged_hash("template", {"front": head, "body": body, "examples": rows})


def load_templates(folders: Sequence[Path] = ()) -> Mapping[str, Template]:
    """Every template by id: the shipped ones first, then those of each folder.

    A folder's file with an id that exists is an error unless its front matter says
    ``overrides: <id>``: nobody replaces ``qa`` without knowing. Raises TemplateError.
    """
    found: dict[str, Template] = {}
    for folder in (resource_dir("templates"), *folders):
        if not folder.is_dir():
            raise TemplateError(f"templates folder {folder} does not exist or is not a folder")
        paths = sorted(folder.glob(f"*{SUFFIX}"))
        if not paths:
            raise TemplateError(
                f"templates folder {folder} holds no template: a template's name ends in {SUFFIX}"
            )
        for path in paths:
            template = load_template(path)
            earlier = found.get(template.id)
            if earlier is not None and template.overrides != template.id:
                raise TemplateError(
                    f"{path}: the id {template.id!r} is taken by {earlier.path}; choose another "
                    f"id, or write `overrides: {template.id}` in the front matter to replace it"
                )
            if earlier is None and template.overrides is not None:
                raise TemplateError(
                    f"{path}: overrides {template.overrides!r}, which is not its own id or does "
                    "not exist in the templates read before it"
                )
            found[template.id] = template
    return MappingProxyType(found)


def find_template(templates: Mapping[str, Template], name: str) -> Template:
    """The template of that id; TemplateError names the closest and all others."""
    if name in templates:
        return templates[name]
    hint = near(name, templates)
    raise TemplateError(
        f"no strategy {name!r:.80}; {hint}there are: {', '.join(sorted(templates))}"
    )


def load_template(path: Path) -> Template:
    """Read one file; TemplateError names the file and what is wrong with it."""
    head, body = split_front_matter(path)
    front = _front_matter(head, path)
    examples = _read_examples(path, front.examples) if front.examples else ()
    uses = _names(path, body) if front.kind == "text" else frozenset()
    if front.kind == "text" and "query" not in uses:
        raise TemplateError(f"{path}: the body never uses {{{{ query }}}}")
    if front.rerank:
        # What is provided and only the judge reads does not reach the prompt: not a use of it.
        uses |= _names(path, front.rerank.judge) - PROVIDED
    return Template(
        id=front.id,
        description=front.description.strip(),
        source=front.source.strip(),
        stops=front.stops,
        examples=examples,
        needs=front.needs,
        known_failure=front.known_failure.strip(),
        body=body,
        kind=front.kind,
        rules=front.rules,
        rerank=front.rerank,
        sha256=_digest(head, body, examples),
        path=path,
        system=front.system.strip(),
        prefill=front.prefill,
        variables=front.variables,
        uses=uses,
        overrides=front.overrides,
    )


@lru_cache(maxsize=256)
def _front_matter(head: str, path: Path) -> FrontMatter:
    """What the front matter says; many commands read all templates more than once."""
    data = load_yaml(head, f"{path}: front matter", TemplateError)
    try:
        return FrontMatter.model_validate(data)
    except ValidationError as error:
        raise TemplateError(f"{path}: {_explain(error)}") from error


def split_front_matter(path: Path) -> tuple[str, str]:
    """The front matter's text and the body, less one final newline; line ends become LF."""
    text = _read(path)
    if not text.startswith("---\n") or "\n---\n" not in text[3:]:
        raise TemplateError(
            f"{path}: a template starts with a line ---, its front matter and a second line ---"
        )
    head, body = text[4:].split("\n---\n", 1) if not text.startswith("---\n---\n") else ("", "")
    return head, body.removesuffix("\n")


def _read(path: Path) -> str:
    text = read_text(path, TemplateError)
    if len(text) > MAX_SOURCE:
        raise TemplateError(f"{path}: {len(text)} characters; a template has at most {MAX_SOURCE}")
    return text


def _names(path: Path, source: str) -> frozenset[str]:
    try:
        return free_names(source)
    except RenderFailed as error:
        raise TemplateError(f"{path}: {error}") from error


def _read_examples(path: Path, wanted: Examples) -> tuple[Mapping[str, str], ...]:
    """The first ``count`` rows of the examples file, which must lie below the template's folder."""
    folder = path.parent.resolve()
    file = (folder / wanted.file).resolve()
    if not file.is_relative_to(folder):
        raise TemplateError(f"{path}: examples.file {wanted.file!r} leads out of {path.parent}")
    rows = []
    for number, line in enumerate(_read(file).split("\n"), 1):
        if not line.strip():
            continue
        row = load_json(line, f"{file}, line {number}", TemplateError)
        if not isinstance(row, dict) or not all(
            isinstance(row.get(key), str) and row[key].strip() for key in ("query", "answer")
        ):
            raise TemplateError(f"{file}, line {number}: a row has a `query` and an `answer`")
        rows.append(MappingProxyType({"query": row["query"], "answer": row["answer"]}))
    if len(rows) < wanted.count:
        raise TemplateError(
            f"{path}: examples.count is {wanted.count}, but {file.name} has {len(rows)} rows"
        )
    return tuple(rows[: wanted.count])


def _explain(error: ValidationError) -> str:
    """The first problem: the key, what was found, what is accepted."""
    first: Mapping[str, Any] = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "front matter"
    if first["type"] == "extra_forbidden":
        accepted = FrontMatter.model_fields if len(first["loc"]) == 1 else ()
        hint = near(key, accepted) if accepted else ""
        return f"unknown key {key!r:.80}" + (
            f"; {hint}accepted: {', '.join(accepted)}" if accepted else ""
        )
    if first["type"] == "model_type" and len(first["loc"]) == 0:
        required = [name for name, key in FrontMatter.model_fields.items() if key.is_required()]
        return f"the front matter is no list of `key: value` lines; required: {', '.join(required)}"
    said = plainly(first["msg"].removeprefix("Value error, "))
    if first["type"] not in {"missing", "value_error"}:
        said += f" (found {shown(first['input'])})"
    return f"{key:.200}: {said}"
