"""Sections of the report as HTML: the Markdown's own words and tables, by a CommonMark renderer."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_RULES = ("table", "list", "escape", "backticks", "emphasis", "entity", "balance_pairs")
"""What the report's own Markdown uses: no links, no pictures and no HTML of anybody's."""


def as_html(markdown: str, heading: str) -> str:
    """Markdown as HTML whose tables scroll by themselves and are named by the ``heading``'s id."""
    renderer = _renderer()
    tokens = renderer.parse(markdown)
    for token in tokens:
        token.attrs.pop("style", None)  # the page's policy allows none; its sheet aligns cells
        if token.type == "th_open":
            token.attrSet("scope", "col")
    text = str(renderer.renderer.render(tokens, renderer.options, {}))
    region = f'<div class="wide" tabindex="0" role="region" aria-labelledby="{heading}"><table>'
    return text.replace("<table>", region).replace("</table>", "</table></div>")


@lru_cache(maxsize=1)
def _renderer() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("zero", {"html": False}).enable(list(_RULES))
