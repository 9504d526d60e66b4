"""Model output is untrusted text: one function for each place it may be shown in."""

from __future__ import annotations

import html
import re

# C0 and C1 controls except newline and tab, plus the bidirectional overrides that
# reorder what a reader sees (Unicode TR36, section 2.3).
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
# A lone sign computes nothing; some spreadsheets read the full-width forms as the plain ones.
_FORMULA = re.compile("^\\s*[=+\\-@|%\t\r\uff1d\uff0b\uff0d\uff20](?=.)", re.DOTALL)
_NUMBER = re.compile(r"^-?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$|^-?(inf|nan)$")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+\-!|~&$])")

_LIVE = (
    (re.compile(r"://"), r"\\://"),
    (re.compile(r"(?i)(www)\."), r"\1\\."),
    (re.compile(r"@(?=[\w\\])"), "@<!-- -->"),
)
"""What GitHub makes a link of although nobody wrote one, and what keeps it text."""


def for_terminal(text: str) -> str:
    """Text whose control characters are shown as ``\\x1b`` and the like instead of acting."""
    if text.isascii() and text.isprintable():
        return text  # most of what is shown, a million times over
    return _CONTROLS.sub(lambda match: _escape(match[0]), no_surrogates(text))


def for_csv(text: str) -> str:
    """A cell a spreadsheet shows instead of running: formulas get a leading apostrophe (OWASP)."""
    text = no_surrogates(text).replace("\x00", "\\x00")
    if _FORMULA.match(text) and not _NUMBER.match(text):
        return "'" + text
    return text


def for_markdown(text: str) -> str:
    """One line of Markdown that renders as the text itself, safe in a table cell.

    Addresses and mentions stay dead where GitHub would make them live: it looks for them in the
    rendered text, so nothing but a tag (here a comment) comes between.
    """
    line = " ".join(_MARKDOWN.sub(r"\\\1", for_terminal(text)).split())
    for live, dead in _LIVE:
        line = live.sub(dead, line)
    return line


def for_html(text: str) -> str:
    """Text for an HTML body or a quoted attribute."""
    return html.escape(for_terminal(text), quote=True)


def fence(text: str, language: str = "text") -> str:
    """A fenced Markdown block longer than any run of backticks inside the text."""
    body = for_terminal(text)
    ticks = max([2, *(len(run) for run in re.findall(r"`+", body))]) + 1
    mark = "`" * ticks
    return f"{mark}{language}\n{body}\n{mark}"


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def no_surrogates(text: str) -> str:
    """Text that UTF-8 can hold: half a surrogate pair is shown as ``\\ud800`` and the like."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
