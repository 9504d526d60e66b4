"""The model's own chat template: conversation in, prompt text and the template's end marker out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.errors import TemplateError
from harness.jinja import ChatMessages, RenderFailed, RenderStopped, render_conversations
from harness.protocols import ServedTemplate, Tokenizer
from harness.records import Message
from harness.strategies.compose import Parts

FOLDED = "system folded into the user turn: the chat template refuses or drops a system role"
_USER, _SAID, _NEXT, _SYSTEM = "aXquestionXa", "bXanswerXb", "cXnextXc", "dXsystemXd"
"""Stand-ins to find out what a template writes around each turn."""
_OTHERWISE = (
    "give the stage another one with `chat_template: FILE`, or use a text strategy such as qa"
)


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """What was found out about one chat template of one model.

    ``takes_system`` is whether a system message reaches the prompt; ``stops`` holds the text that
    ends an answer where that is not a token which ends generation by itself. ``drops_question`` and
    ``drops_turns`` are whether the template renders a conversation and leaves out what was asked
    last, or what was said before: a prompt without it would look like an answerable one.
    """

    source: str | ServedTemplate
    bos_token: str
    eos_token: str
    takes_system: bool
    stops: tuple[str, ...]
    drops_question: bool
    drops_turns: bool

    @classmethod
    def probe(cls, source: str | ServedTemplate, tokenizer: Tokenizer) -> ChatFormat:
        """Render small conversations to learn how the template treats system and end of turn."""
        bos, eos = special_pair(tokenizer)

        def attempt(messages: ChatMessages, prompt: bool = False) -> str | None:
            try:
                return _rendered(source, [messages], bos, eos, prompt=prompt)[0]
            except RenderStopped as error:
                raise TemplateError(f"the chat template failed: {error}; {_OTHERWISE}") from error
            except RenderFailed:
                return None

        user = {"role": "user", "content": _USER}
        asked = attempt([user], prompt=True)
        folded = attempt([{"role": "system", "content": _SYSTEM}, user], prompt=True)
        said = attempt(
            [user, {"role": "assistant", "content": _SAID}, {"role": "user", "content": _NEXT}]
        )
        dialogue = said or ""
        # A server's control tokens are known once a text that holds them was tokenized.
        tokenizer.tokenize([dialogue], add_special=False, parse_special=True)
        return cls(
            source=source,
            bos_token=bos,
            eos_token=eos,
            takes_system=folded is not None and _SYSTEM in folded,
            stops=_end_markers(dialogue, tokenizer),
            # A refusal speaks for itself when the item is rendered; only silence is caught here.
            drops_question=asked is not None and _USER not in asked,
            drops_turns=said is not None and not (_USER in said and _SAID in said),
        )

    def conversation(self, parts: Parts) -> list[dict[str, str]]:
        """The messages to render; a system text the template refuses opens the first user turn."""
        return as_sent(turns_of(parts, takes_system=self.takes_system))

    def folds(self, parts: Parts) -> bool:
        """Whether the conversation had to be changed for its system text."""
        return bool(parts.system) and not self.takes_system

    def render(self, items: Sequence[tuple[str, Parts]]) -> list[str]:
        """Prompt texts of ``(item id, parts)`` pairs; TemplateError names the item that failed."""
        for item, parts in items:
            if lost := self._lost(parts):
                raise TemplateError(
                    f"item {item}: the chat template leaves out {lost}, so the model would never "
                    f"see it; {_OTHERWISE}"
                )
        try:
            conversations = [self.conversation(parts) for _, parts in items]
            return _rendered(self.source, conversations, self.bos_token, self.eos_token)
        except RenderFailed as error:
            raise TemplateError(
                f"item {items[error.index][0]}: the chat template failed: {error}; {_OTHERWISE}"
            ) from error

    def _lost(self, parts: Parts) -> str | None:
        if self.drops_question:
            return "the question"
        return "earlier turns" if self.drops_turns and len(parts.turns) > 1 else None


def turns_of(parts: Parts, *, takes_system: bool) -> tuple[Message, ...]:
    """The conversation; a system text that the template does not take opens the first user turn."""
    turns = parts.turns
    if not parts.system:
        return turns
    if takes_system:
        return (Message("system", parts.system), *turns)
    first = next(place for place, turn in enumerate(turns) if turn.role == "user")
    folded = replace(turns[first], content=f"{parts.system}\n\n{turns[first].content}")
    return (*turns[:first], folded, *turns[first + 1 :])


def as_sent(turns: Sequence[Message]) -> list[dict[str, str]]:
    """A conversation as a chat template, or a server, takes it."""
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def _rendered(
    source: str | ServedTemplate,
    conversations: Sequence[ChatMessages],
    bos: str,
    eos: str,
    *,
    prompt: bool = True,
) -> list[str]:
    """Prompt texts, by the sandbox or by the server whose template it is."""
    if isinstance(source, str):
        return render_conversations(
            source, conversations, bos_token=bos, eos_token=eos, add_generation_prompt=prompt
        )
    return source.render(conversations, add_generation_prompt=prompt)


def template_text(source: str | ServedTemplate) -> str:
    """What is known of a template's source."""
    return source if isinstance(source, str) else source.text


def require_chat_template(chat_template: str | ServedTemplate | None) -> str | ServedTemplate:
    """The template; TemplateError names the choices when the model has none.

    There is no default format: a prompt in another model's markers would look like a result.
    """
    if chat_template and (not isinstance(chat_template, str) or chat_template.strip()):
        return chat_template
    raise TemplateError(
        "strategy native: the model's file has no chat template; give the stage one with "
        "`chat_template: FILE`, or run a text strategy on it (raw, qa, sys_qa, icl_3, ...)"
    )


def special_pair(tokenizer: Tokenizer) -> tuple[str, str]:
    """The texts a template gets as ``bos_token`` and ``eos_token`` (empty where there is none)."""
    bos = tokenizer.token_text(tokenizer.bos_id) if tokenizer.bos_id is not None else ""
    eos = tokenizer.token_text(tokenizer.eos_id) if tokenizer.eos_id is not None else ""
    return bos, eos


def _end_markers(conversation: str, tokenizer: Tokenizer) -> tuple[str, ...]:
    """Stop strings of a template whose turns end in plain text (``\\nUSER:``).

    Where a turn ends with a control token, that token ends generation (llama.cpp counts the
    end-of-turn tokens of all known families as end of generation), and no string is needed.
    """
    if _SAID not in conversation or _NEXT not in conversation:
        return ()
    between = conversation.split(_SAID, 1)[1].split(_NEXT, 1)[0]
    controls = {token: text for token, text in tokenizer.control_tokens.items() if text.strip()}
    if any(text in between for text in controls.values()):
        ends = sorted(
            (between.index(text), token, text)
            for token, text in controls.items()
            if text in between
        )
        _, token, text = ends[0]
        return () if token in tokenizer.eog_ids else (text,)
    marker = between.rstrip()
    return (marker,) if marker.strip() else ()
