"""A model's own chat template, rendered as transformers would, in the sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.jinja.parent import PINNED_NOW, TIME_LIMIT, render_all

ChatMessages = Sequence[Mapping[str, str]]
"""A conversation: ``[{"role": "user", "content": "..."}, ...]``."""


def render_chat_template(
    source: str,
    messages: ChatMessages,
    *,
    bos_token: str,
    eos_token: str,
    add_generation_prompt: bool = True,
    now: str = PINNED_NOW,
    variables: Mapping[str, Any] | None = None,
    time_limit: float = TIME_LIMIT,
) -> str:
    """The prompt text a chat template makes of a conversation.

    Agrees with transformers' ``apply_chat_template(tokenize=False)``, except that
    ``strftime_now`` tells ``now`` (ISO 8601). ``variables`` are further names for the template
    (``enable_thinking``). Raises RenderFailed (a TemplateError) with the template's own words
    when it refuses the conversation, and when it passes a limit.
    """
    return render_conversations(
        source,
        [messages],
        bos_token=bos_token,
        eos_token=eos_token,
        add_generation_prompt=add_generation_prompt,
        now=now,
        variables=variables,
        time_limit=time_limit,
    )[0]


def render_conversations(
    source: str,
    conversations: Sequence[ChatMessages],
    *,
    bos_token: str,
    eos_token: str,
    add_generation_prompt: bool = True,
    now: str = PINNED_NOW,
    variables: Mapping[str, Any] | None = None,
    time_limit: float = TIME_LIMIT,
) -> list[str]:
    """:func:`render_chat_template` of many conversations, the template compiled once."""
    shared = {
        "tools": None,
        "documents": None,
        "bos_token": bos_token,
        "eos_token": eos_token,
        "add_generation_prompt": add_generation_prompt,
        **(variables or {}),
    }
    contexts = [{"messages": [dict(turn) for turn in turns], **shared} for turns in conversations]
    return render_all(source, contexts, mode="chat", now=now, time_limit=time_limit)
