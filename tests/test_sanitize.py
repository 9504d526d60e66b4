"""Untrusted text in Markdown, CSV and terminals: what GitHub's own renderer makes of it."""

from __future__ import annotations

import html
import re

import cmarkgfm
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sanitize import for_csv, for_markdown, for_terminal


def rendered(text: str) -> str:
    return str(cmarkgfm.github_flavored_markdown_to_html(for_markdown(text)))


def shown(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup)).strip()


PIECES = st.sampled_from(
    [
        "https://evil.example/x",
        "www.evil.example",
        "WWW.",
        "a@evil.example",
        "@octocat",
        "mailto:",
        "http:",
        "//",
        "[a](b)",
        "|",
        "`",
        "\\",
        "*",
        "ftp://a.b",
        "javascript:x",
        "&lt;",
        "~~x~~",
        "$x$",
        "xmpp:a@b.c",
        "é@é.example",
        "@-",
        "#1",
        "<img src=x onerror=alert(1)>",
        " ",
        "\x1b[2J",
    ]
)


@given(st.lists(PIECES | st.text(max_size=4), max_size=6))
def test_no_text_becomes_a_link_a_mention_or_a_tag(pieces: list[str]) -> None:
    text = "x" + "".join(pieces)  # a leading space or list mark is the caller's place
    markup = rendered(text)
    assert re.findall(r"<(?!/?p>|!--)[^>]*>", markup) == []
    assert not re.search(r"@\w", markup)
    assert shown(markup).split() == for_terminal(text).split()


@pytest.mark.parametrize("sign", "=+-@＝＋－＠")
def test_a_formula_is_text_in_a_spreadsheet_in_every_width(sign: str) -> None:
    assert for_csv(f"{sign}SUM(A1)") == f"'{sign}SUM(A1)"
    assert for_csv(f"  {sign}SUM(A1)") == f"'  {sign}SUM(A1)"
    assert for_csv(sign) == sign
