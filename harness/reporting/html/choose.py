"""The files of ``harness choose``: choice.html, and what lies beside it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from harness.atomic import write_text
from harness.choice import Choice
from harness.reporting.choice import NAME, TITLE, as_json, as_markdown, html_values
from harness.reporting.html.parts import part, policy, template
from harness.reporting.plots import uses
from harness.reporting.scrub import scrub_text
from harness.sanitize import for_terminal


def as_html(choice: Choice, drawn: tuple[str, str] = ("", "")) -> str:
    """The choice as one page that needs nothing else; ``drawn`` as for :func:`html_values`."""
    style = part("page.css")
    values: dict[str, Any] = {
        "title": TITLE,
        "style": style,
        "policy": policy(style, ""),
        "clean": for_terminal,
        "uses": html_values(choice, choice.rows, drawn),
        "models": choice.models,
        "command": scrub_text(choice.command),
    }
    return template("choose.html.jinja").render(**values)


def embedded(caption: str, path: Path) -> tuple[str, str]:
    """A picture for :func:`html_values`: its caption and its bytes; empty without a caption."""
    data = base64.b64encode(path.read_bytes()).decode("ascii") if caption else ""
    return caption, data


def write_choice(choice: Choice, folder: Path) -> None:
    """``choice.md``, ``.html``, ``.json`` and the picture in a folder that is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    caption = uses.draw(choice, folder / "choice")
    write_text(folder / "choice.md", as_markdown(choice, caption))
    write_text(folder / "choice.html", as_html(choice, embedded(caption, folder / "choice.png")))
    write_text(folder / NAME, as_json(choice))
