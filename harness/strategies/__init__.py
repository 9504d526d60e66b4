"""Sample + arm + template -> RenderedPrompt: exactly what the model sees, with its contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.errors import TemplateError
from harness.hashing import tagged_hash, text_sha256
from harness.jinja import RenderFailed, render_all
from harness.protocols import Ability, ServedTemplate, Tokenizer
from harness.records import Arm, LogitRules, RenderedPrompt, Rerank, Sample
from harness.strategies.compose import (
    Parts,
    body_context,
    check_variables,
    compose,
    demanded_stop,
    inexpressible,
    required_variables,
)
from harness.strategies.contract import (
    leading_bos,
    markers,
    refuse_dangling_space,
    refuse_demanded_stops,
    refuse_ends,
    refuse_markers,
    special_texts,
)
from harness.strategies.library import (
    MAX_DRAWS,
    PROVIDED,
    Template,
    find_template,
    load_template,
    load_templates,
)
from harness.strategies.lint import Problem, check_files, template_problems
from harness.strategies.native import (
    FOLDED,
    ChatFormat,
    as_sent,
    require_chat_template,
    special_pair,
    template_text,
    turns_of,
)
from harness.strategies.untold import Untold

__all__ = [
    "MAX_DRAWS",
    "NO_PREFILL",
    "PROVIDED",
    "UNTOUCHED",
    "Problem",
    "Template",
    "check_files",
    "check_variables",
    "demanded_abilities",
    "demanded_stop",
    "find_template",
    "inexpressible",
    "load_template",
    "load_templates",
    "markers",
    "preview",
    "render",
    "render_many",
    "required_variables",
    "special_pair",
    "template_problems",
]

UNTOUCHED = frozenset({"raw", "raw_nl"})
"""Controls that a system prompt for all strategies leaves as they are: they show the bare model."""

BOS_ADDED = "BOS added: the model asks for one and its chat template writes none"
UNSHOWN = "the server writes this conversation into a prompt that it does not show"
NO_PREFILL = "a chat route has no place for the opening of an answer"
EOS_DROPPED = "end-of-text token dropped: the tokenizer appends one to plain text"


def demanded_abilities(template: Template) -> frozenset[Ability]:
    """What a backend must be able to do beyond generating, to be asked through a template."""
    wanted: dict[Ability, object] = {"rules": template.rules, "rerank": template.rerank}
    return frozenset(name for name, value in wanted.items() if value)


def render(
    sample: Sample,
    arm: Arm,
    template: Template,
    tokenizer: Tokenizer | None,
    *,
    chat_template: str | ServedTemplate | None,
) -> RenderedPrompt:
    """What the model sees when this arm asks this item.

    ``chat_template`` is the model's, or its server's (only ``native`` reads it); without a
    ``tokenizer`` the prompt is text alone. Raises TemplateError when the
    template is missing, fails or lacks a variable, PromptContractError (with the item's id) on a
    double BOS, a control token inside the item's text, a trailing space, or a stop string the
    item's own checks demand.
    """
    return render_many([sample], arm, template, tokenizer, chat_template)[0]


def render_many(
    samples: Sequence[Sample],
    arm: Arm,
    template: Template,
    tokenizer: Tokenizer | None,
    chat_template: str | ServedTemplate | None,
) -> list[RenderedPrompt]:
    """:func:`render` of many items: one trip to the sandbox, one to the tokenizer."""
    if not samples:
        return []
    tokenizer = tokenizer or Untold()
    _refuse_inexpressible(samples, arm, template)
    parts = [compose(sample, arm, template) for sample in samples]
    if template.kind == "native":
        prompts = _native(samples, parts, arm, template, tokenizer, chat_template)
    else:
        prompts = _text(samples, parts, arm, template, tokenizer)
    return _with_engine_rules(prompts, samples, parts, arm, template, tokenizer)


def _refuse_inexpressible(samples: Sequence[Sample], arm: Arm, template: Template) -> None:
    for sample in samples:
        refuse_demanded_stops(sample, template.stops, arm.label)
        if reason := inexpressible(sample, arm, template):
            raise TemplateError(f"item {sample.id}: strategy {arm.label} cannot ask it: {reason}")


def preview(sample: Sample, arm: Arm, template: Template) -> str:
    """A text template's prompt without a tokenizer (``native`` needs a model)."""
    _refuse_inexpressible([sample], arm, template)
    part = compose(sample, arm, template)
    context = body_context(part, sample, arm, template)
    text = _opened(_bodies([sample], template.body, [context], template)[0], part.prefill)
    refuse_dangling_space(sample.id, text)
    if template.rerank:
        _judges([sample], [part], arm, template)
    return text


def _text(
    samples: Sequence[Sample],
    parts: Sequence[Parts],
    arm: Arm,
    template: Template,
    tokenizer: Tokenizer,
) -> list[RenderedPrompt]:
    contexts = [
        body_context(part, sample, arm, template)
        for sample, part in zip(samples, parts, strict=True)
    ]
    texts = [
        _opened(body, part.prefill)
        for body, part in zip(
            _bodies(samples, template.body, contexts, template), parts, strict=True
        )
    ]
    # The whole prompt at once: merges and SentencePiece's spaces differ where pieces are joined.
    ids = tokenizer.tokenize(texts, add_special=True, parse_special=False)
    return [
        _checked(sample, text, tokens, part, template, tokenizer, template.sha256)
        for sample, text, tokens, part in zip(samples, texts, ids, parts, strict=True)
    ]


def _native(
    samples: Sequence[Sample],
    parts: Sequence[Parts],
    arm: Arm,
    template: Template,
    tokenizer: Tokenizer,
    chat_template: str | ServedTemplate | None,
) -> list[RenderedPrompt]:
    source = require_chat_template(chat_template)
    if not isinstance(source, str) and source.hidden:
        return _conversations(samples, parts, arm, template, source)
    chat = ChatFormat.probe(source, tokenizer)
    for sample in samples:
        refuse_demanded_stops(sample, chat.stops, arm.label)
    refuse_markers(
        [
            (sample.id, [part.system, part.prefill, *(turn.content for turn in part.turns)])
            for sample, part in zip(samples, parts, strict=True)
        ],
        template_text(source),
        tokenizer,
    )
    rendered = chat.render([(sample.id, part) for sample, part in zip(samples, parts, strict=True)])
    # No space is put before the opening: the generation prompt already ends where answers begin.
    texts = [text + part.prefill for text, part in zip(rendered, parts, strict=True)]
    ids = tokenizer.tokenize(texts, add_special=False, parse_special=True)
    own = text_sha256(source) if isinstance(source, str) else source.digest
    digest = tagged_hash("native", [template.sha256, own])
    prompts = []
    for sample, text, tokens, part in zip(samples, texts, ids, parts, strict=True):
        notes: tuple[str, ...] = (FOLDED,) if chat.folds(part) else ()
        if tokenizer.add_bos and tokens[:1] != (tokenizer.bos_id,):
            assert tokenizer.bos_id is not None
            tokens, text = (tokenizer.bos_id, *tokens), chat.bos_token + text
            # A server takes the BOS off what its template wrote, and puts it on again itself.
            notes += (BOS_ADDED,) if isinstance(source, str) else ()
        prompt = _checked(sample, text, tokens, part, template, tokenizer, digest)
        prompts.append(replace(prompt, stops=prompt.stops + chat.stops, notes=notes))
    return prompts


def _conversations(
    samples: Sequence[Sample],
    parts: Sequence[Parts],
    arm: Arm,
    template: Template,
    served: ServedTemplate,
) -> list[RenderedPrompt]:
    """Conversations as they are sent: the server writes the prompt and shows it to nobody."""
    digest = tagged_hash("native", [template.sha256, served.digest])
    prompts = []
    for sample, part in zip(samples, parts, strict=True):
        if part.prefill:
            raise TemplateError(f"item {sample.id}: strategy {arm.label}: {NO_PREFILL}")
        turns = turns_of(part, takes_system=served.takes_system)
        folded = bool(part.system) and not served.takes_system
        prompts.append(
            RenderedPrompt(
                text=served.render([as_sent(turns)], add_generation_prompt=True)[0],
                token_ids=(),
                stops=template.stops,
                bos_count=0,
                special_tokens=(),
                template_sha256=digest,
                notes=(UNSHOWN, *((FOLDED,) if folded else ())),
                messages=turns,
            )
        )
    return prompts


def _checked(
    sample: Sample,
    text: str,
    ids: tuple[int, ...],
    parts: Parts,
    template: Template,
    tokenizer: Tokenizer,
    digest: str,
) -> RenderedPrompt:
    """The record, once text and tokens keep the contract."""
    notes: tuple[str, ...] = ()
    if template.kind == "text":
        if len(ids) > 1 and ids[-1] in tokenizer.eog_ids:
            ids, notes = ids[:-1], (EOS_DROPPED,)
        refuse_ends(sample.id, ids, tokenizer)
    refuse_dangling_space(sample.id, text)
    return RenderedPrompt(
        text=text,
        token_ids=tuple(ids),
        stops=template.stops,
        bos_count=leading_bos(sample.id, ids, tokenizer),
        special_tokens=special_texts(ids, tokenizer),
        template_sha256=digest,
        prefill=parts.prefill,
        notes=notes,
    )


def _with_engine_rules(
    prompts: list[RenderedPrompt],
    samples: Sequence[Sample],
    parts: Sequence[Parts],
    arm: Arm,
    template: Template,
    tokenizer: Tokenizer,
) -> list[RenderedPrompt]:
    """Add what acts inside the engine: fixed logit rules, reranking."""
    if template.rules:
        rules = _logit_rules(template, tokenizer)
        prompts = [replace(prompt, rules=rules) for prompt in prompts]
    if template.rerank:
        judges = _judges(samples, parts, arm, template)
        prompts = [
            replace(prompt, rerank=judge) for prompt, judge in zip(prompts, judges, strict=True)
        ]
    return prompts


def _logit_rules(template: Template, tokenizer: Tokenizer) -> LogitRules:
    """The template's rules in this vocabulary: an opener is the first token of its text."""
    assert template.rules
    config = template.rules
    texts = list(config.openers)
    firsts = tokenizer.tokenize(texts, add_special=False, parse_special=False) if texts else []
    biases: dict[int, float] = {}
    for text, ids in zip(texts, firsts, strict=True):
        if not ids:
            raise TemplateError(f"{template.path}: the opener {text!r} has no token in this model")
        # Two openers may begin with the same token in a small vocabulary: the larger bias holds.
        biases[ids[0]] = max(config.openers[text], biases.get(ids[0], config.openers[text]))
    return LogitRules(
        eos_slope=config.eos_slope,
        eos_cap=config.eos_cap,
        used_penalty=config.used_penalty,
        openers=tuple(sorted(biases.items())),
        opener_tokens=config.opener_tokens,
    )


def _judges(
    samples: Sequence[Sample], parts: Sequence[Parts], arm: Arm, template: Template
) -> list[Rerank]:
    assert template.rerank
    contexts = [
        body_context(part, sample, arm, template)
        for sample, part in zip(samples, parts, strict=True)
    ]
    judges = _bodies(samples, template.rerank.judge, contexts, template)
    for sample, judge in zip(samples, judges, strict=True):
        if judge.count("{answer}") != 1:
            raise TemplateError(
                f"item {sample.id}: its text contains '{{answer}}', the mark where "
                f"{template.id} puts an answer to judge; reword the item"
            )
    return [template.rerank.record(judge, _draws(arm, template)) for judge in judges]


def _draws(arm: Arm, template: Template) -> int:
    """How many answers to draw: the variable ``n`` where the template has one, else its own."""
    assert template.rerank
    text = check_variables(arm, template).get("n", str(template.rerank.n))
    if not text.strip().isdigit() or not 2 <= int(text) <= MAX_DRAWS:
        raise TemplateError(
            f"strategy {arm.label!r}: n is {text!r}; reranking draws 2 to {MAX_DRAWS} answers"
        )
    return int(text)


def _bodies(
    samples: Sequence[Sample],
    source: str,
    contexts: Sequence[dict[str, object]],
    template: Template,
) -> list[str]:
    try:
        return render_all(source, contexts)
    except RenderFailed as error:
        raise TemplateError(
            f"item {samples[error.index].id}: template {template.id} ({template.path}) failed: "
            f"{error}"
        ) from error


def _opened(body: str, prefill: str) -> str:
    """The prompt with the opening of the answer, a space between unless one side has its own."""
    apart = body[-1:].isspace() or prefill[:1].isspace()
    return f"{body}{'' if apart or not prefill else ' '}{prefill}"
