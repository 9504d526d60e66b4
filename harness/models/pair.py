"""Whether two files may be compared as members of one family, and what a difference spoils."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.errors import ModelInvalid
from harness.models.inspect import token_difference
from harness.process import call
from harness.records import ModelFile

_SHAPE = (
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "expert_count",
)
_OTHER_TOKENIZER = 0.01
"""Families add or rename some special tokens between stages; more than 1 % is another tokenizer."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field in which two files differ, and what that invalidates.

    ``fatal`` differences mean that the two are not stages of one model: there is nothing to
    compare.
    """

    field: str
    a: str
    b: str
    invalidates: str
    fatal: bool

    def __str__(self) -> str:
        return f"{self.field}: {self.a} and {self.b}; invalidates {self.invalidates}"


def compare_pair(a: ModelFile, b: ModelFile) -> tuple[Difference, ...]:
    """What differs between a base file ``a`` and a tuned file ``b``, fatal differences first.

    Expected differences (names, licences, an EOS of the tuned model's own) are not told. The
    vocabularies are read again, in a child process, only when their digests differ.
    """
    found = [
        *_architecture(a, b),
        *_tokenizer(a, b),
        *_quantization(a, b),
        *_context(a, b),
        *_templates(a, b),
    ]
    return tuple(sorted(found, key=lambda difference: not difference.fatal))


def _architecture(a: ModelFile, b: ModelFile) -> list[Difference]:
    spoils = "every comparison: these are not stages of one model"
    if a.architecture != b.architecture:
        return [Difference("architecture", a.architecture, b.architecture, spoils, True)]
    found = []
    for key in _SHAPE:
        left, right = (m.metadata.get(f"{m.architecture}.{key}") for m in (a, b))
        if left != right:
            found.append(Difference(key, _show(left), _show(right), spoils, True))
    return found


def _tokenizer(a: ModelFile, b: ModelFile) -> list[Difference]:
    left, right = (m.metadata.get("inspect.tokenizer", {}) for m in (a, b))
    found = []
    if left.get("tokens") != right.get("tokens"):
        found.append(_tokens(a, b))
    for part, name in (
        ("merges", "merges"),
        ("model", "tokenizer model"),
        ("pre", "pre-tokenizer"),
    ):
        if left.get(part) != right.get(part):
            found.append(
                Difference(
                    name,
                    _show(left.get(part))[:16],
                    _show(right.get(part))[:16],
                    "equal text as equal tokens: perplexity, KL divergence and token costs",
                    False,
                )
            )
    for part in ("token_type", "scores"):
        if left.get(part) != right.get(part):
            found.append(
                Difference(
                    f"tokens' {part}",
                    _show(left.get(part))[:16],
                    _show(right.get(part))[:16],
                    "nothing by itself, but special tokens may be split in one file",
                    False,
                )
            )
    return found


def first_token_difference(a: ModelFile, b: ModelFile) -> str:
    """The first way in which equal texts may become other token ids; empty where there is none."""
    telling = ("tokens", "merges", "tokenizer model", "pre-tokenizer")
    found = [item for item in _tokenizer(a, b) if item.field in telling]
    return f"{found[0].field}: {found[0].a} and {found[0].b}" if found else ""


def _tokens(a: ModelFile, b: ModelFile) -> Difference:
    counts = [int(m.metadata.get("inspect.tokens", 0)) for m in (a, b)]
    change = call(
        token_difference,
        str(a.path),
        str(b.path),
        error=ModelInvalid,
        doing=f"comparing the vocabularies of {a.path.name} and {b.path.name}",
        seconds=60,
        memory=4 << 30,
    )
    other = change["differ"] > _OTHER_TOKENIZER * change["common"]
    first = (
        f", {change['differ']} texts differ from id {change['first']} on"
        if change["differ"]
        else ""
    )
    return Difference(
        "tokens",
        f"{counts[0]} tokens",
        f"{counts[1]} tokens{first}",
        "every comparison: this is another tokenizer"
        if other
        else "KL divergence and flip rates by token; scores of texts stand",
        other,
    )


def _quantization(a: ModelFile, b: ModelFile) -> list[Difference]:
    spoils = "base against tuned at this level: part of the difference is quantization"
    found = []
    if a.level != b.level:
        found.append(Difference("level", a.level, b.level, spoils, False))
    elif dict(a.tensor_types) != dict(b.tensor_types) and not _vocabulary_only(a, b):
        found.append(Difference("tensor types", _histogram(a), _histogram(b), spoils, False))
    made = [m.metadata.get("quantize.imatrix.file") is not None for m in (a, b)]
    if made[0] != made[1]:
        names = ["with an importance matrix" if yes else "without" for yes in made]
        found.append(Difference("quantizer settings", names[0], names[1], spoils, False))
    sets = [m.metadata.get("quantize.imatrix.dataset") for m in (a, b)]
    if all(made) and sets[0] != sets[1]:
        found.append(
            Difference("importance matrix data", _show(sets[0]), _show(sets[1]), spoils, False)
        )
    return found


def _vocabulary_only(a: ModelFile, b: ModelFile) -> bool:
    """Whether types differ by the rows of a few added tokens only."""
    total = abs(a.parameters - b.parameters)
    types = set(a.tensor_types) | set(b.tensor_types)
    moved = sum(abs(a.tensor_types.get(t, 0) - b.tensor_types.get(t, 0)) for t in types)
    return moved == total


def _context(a: ModelFile, b: ModelFile) -> list[Difference]:
    if a.context_length == b.context_length:
        return []
    return [
        Difference(
            "context length",
            str(a.context_length),
            str(b.context_length),
            "prompts longer than the shorter one",
            False,
        )
    ]


def _templates(a: ModelFile, b: ModelFile) -> list[Difference]:
    found = []
    if a.chat_template:
        found.append(
            Difference(
                "chat template on the base",
                f"{len(a.chat_template)} characters",
                "a template" if b.chat_template else "none",
                "the claim that the first file is a base model, unless its publisher only copied "
                "the template: check its card",
                False,
            )
        )
    if not b.chat_template:
        found.append(
            Difference(
                "chat template",
                "a template" if a.chat_template else "none",
                "none",
                "the tuned model's native arm: it has no template of its own",
                False,
            )
        )
    return found


def _histogram(model: ModelFile) -> str:
    shares = [
        f"{name} {100 * count / model.parameters:.0f}%"
        for name, count in model.tensor_types.items()
        if count >= 0.005 * model.parameters
    ]
    return " ".join(shares)


def _show(value: Any) -> str:
    return "none" if value in (None, "") else str(value)
