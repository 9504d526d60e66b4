"""The contract of a rendered prompt: BOS, special tokens, stop strings, no dangling space."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from harness.errors import PromptContractError
from harness.protocols import Tokenizer
from harness.records import Sample
from harness.strategies.compose import demanded_stop

_HTML = re.compile(r"</?[a-z][a-z0-9]{0,9}>")


def markers(tokenizer: Tokenizer) -> Mapping[int, str]:
    """Control tokens that read as markers: Gemma's whitespace tokens smuggle nothing."""
    return {
        token: text
        for token, text in tokenizer.control_tokens.items()
        if text.replace("\u2581", " ").strip()
    }


def refuse_markers(
    items: Sequence[tuple[str, Sequence[str]]], chat_template: str, tokenizer: Tokenizer
) -> None:
    """Raise when a text that becomes part of a chat prompt spells one of the model's markers.

    ``items`` pairs an item's id with its texts. Chat prompts are tokenized with special tokens
    recognised, so ``<|im_end|>`` inside a question would end the user's turn. Some vocabularies
    (Gemma's) have tokens for plain HTML tags: those act only where the template uses them.
    """
    ends = {tokenizer.bos_id, *tokenizer.eog_ids}
    flat = [(item, text) for item, texts in items for text in texts if text]
    ids = tokenizer.tokenize([text for _, text in flat], add_special=False, parse_special=True)
    known = markers(tokenizer)  # some tokenizers know a control token once a text held it
    for (item, text), tokens in zip(flat, ids, strict=True):
        for token in tokens:
            marker = known.get(token)
            if marker is None or marker not in text:
                continue
            if _HTML.fullmatch(marker) and marker not in chat_template and token not in ends:
                continue
            raise PromptContractError(
                f"item {item}: its text contains {marker!r}, a control token of this model; "
                "inside a chat template it would act: reword the item, or leave it out of "
                "the native strategy"
            )


def refuse_ends(item: str, ids: Sequence[int], tokenizer: Tokenizer) -> None:
    """Raise when plain text holds a token that begins or ends a sequence.

    It cannot where control tokens are typed as such; some files type them as user-defined, and
    llama.cpp recognises those in any text.
    """
    for token in ids[1:]:
        if token == tokenizer.bos_id or token in tokenizer.eog_ids:
            raise PromptContractError(
                f"item {item}: its text contains {tokenizer.token_text(token)!r}, which this model "
                "reads as the beginning or end of a text: reword the item, or leave it out"
            )


def refuse_demanded_stops(sample: Sample, stops: Sequence[str], strategy: str) -> None:
    """Raise when the item's own checks demand a text that a stop string would cut off."""
    if stop := demanded_stop(sample, stops):
        raise PromptContractError(
            f"item {sample.id}: strategy {strategy} stops at {stop!r}, which the item's own checks "
            "demand in the answer; leave the item or the stop string out"
        )


def refuse_dangling_space(item: str, text: str) -> None:
    """Raise when a prompt ends with a space: the answer's own leading space could not follow."""
    if text.endswith((" ", "\t")):
        raise PromptContractError(
            f"item {item}: the prompt ends with a space, after which tokenizers split words as "
            "no training text does; end it (or its prefill) without one"
        )
    if not text:
        raise PromptContractError(f"item {item}: the prompt is empty")


def leading_bos(item: str, ids: Sequence[int], tokenizer: Tokenizer) -> int:
    """How many BOS tokens the prompt begins with: 0 or 1; two are an error.

    Only the beginning counts: some models (SmolLM2) open every turn with the token they call BOS.
    """
    count = 0
    while count < len(ids) and ids[count] == tokenizer.bos_id:
        count += 1
    if count > 1:
        raise PromptContractError(
            f"item {item}: the prompt begins with {count} BOS tokens; a model knows one: remove "
            f"{tokenizer.token_text(ids[0])!r} from the template or the item"
        )
    if count == 0 and tokenizer.add_bos:
        raise PromptContractError(
            f"item {item}: the model asks for a BOS token and the prompt begins without one"
        )
    return count


def special_texts(ids: Sequence[int], tokenizer: Tokenizer) -> tuple[str, ...]:
    """The control tokens of a prompt as written, in order."""
    known = markers(tokenizer)
    return tuple(known[token] for token in ids if token in known)
