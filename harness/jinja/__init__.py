"""Sandboxed Jinja2: templates are somebody else's code and render in a child process."""

from __future__ import annotations

from harness.jinja.chat import ChatMessages, render_chat_template, render_conversations
from harness.jinja.parent import PINNED_NOW, RenderFailed, RenderStopped, render_all

__all__ = [
    "PINNED_NOW",
    "ChatMessages",
    "RenderFailed",
    "RenderStopped",
    "render_all",
    "render_chat_template",
    "render_conversations",
]
