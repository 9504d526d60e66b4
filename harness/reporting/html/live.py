"""The page of a run that goes on: it asks ``harness view --serve`` for the state every second."""

from __future__ import annotations

from harness.reporting.html.parts import part, policy, template


def live_page() -> str:
    """The page, the same for every run; what it shows comes from ``live.json`` beside it."""
    style, script = part("page.css"), part("live.js")
    return template("live.html.jinja").render(
        style=style, script=script, policy=f"{policy(style, script)}; connect-src 'self'"
    )
