"""The report's Markdown sections as HTML: the same words, and nobody's markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from harness.reporting.html.sections import as_html
from harness.reporting.markdown import paragraphs, table
from harness.sanitize import for_markdown

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[here](javascript:alert(1))",
    "![seen](http://127.0.0.1/x.png)",
    "<http://127.0.0.1/>",
    "a | b",
    "`code` *strong* _weak_",
    "# heading",
    "</table></div><b>",
    "&lt;b&gt; &amp;",
]


class Seen(HTMLParser):
    """Tags and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not {"style", "href", "src"} & {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_text_wherever_it_stands(name: str) -> None:
    told = for_markdown(name)
    text = as_html(paragraphs(f"About {told}:", table(["arm", "n"], [[told, "3"]])), "about")
    seen = Seen(text)
    assert seen.tags == {"p", "div", "table", "thead", "tbody", "tr", "th", "td"}
    assert seen.words.count(name) == 2
    assert text.count("<table>") == text.count('aria-labelledby="about"') == 1


def test_markup_that_nobody_escaped_is_text_too() -> None:
    for name in HOSTILE[:5]:
        assert not {"script", "img", "a"} & Seen(as_html(name, "x")).tags
    cells = as_html(table(["arm", "n"], [["`qa`", "1"]]), "x")
    assert re.search(r"<td><code>qa</code></td>\s*<td>1</td>", cells)
