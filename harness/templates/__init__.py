"""Strict, sandboxed templates: how a prompt is wrapped, and how a chat template is rendered."""

from __future__ import annotations

from harness.templates.chat import ChatMessages, render_chat_template, render_conversations
from harness.templates.library import (
    MAX_DRAWS,
    PROVIDED,
    Template,
    find_template,
    load_template,
    load_templates,
)
from harness.templates.lint import Problem, check_files
from harness.templates.sandbox import PINNED_NOW, RenderFailed, RenderStopped, render_all

__all__ = [
    "MAX_DRAWS",
    "PINNED_NOW",
    "PROVIDED",
    "ChatMessages",
    "Problem",
    "RenderFailed",
    "RenderStopped",
    "Template",
    "check_files",
    "find_template",
    "load_template",
    "load_templates",
    "render_all",
    "render_chat_template",
    "render_conversations",
]
