"""The few shapes of Markdown a report uses, safe for untrusted names and texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from harness.records import Condition
from harness.sanitize import for_markdown

WIDEST = 9
"""The most arms that are told of side by side."""

_PLAIN = re.compile(r"[A-Za-z0-9_./:+@ -]{1,80}")


def code(name: str) -> str:
    """A name as a code span; one with unusual characters is escaped instead."""
    return f"`{name}`" if _PLAIN.fullmatch(name) and name.strip() == name else for_markdown(name)


def arm_name(condition: Condition) -> str:
    """A condition by stage and strategy, its level left to the table around it."""
    return f"{for_markdown(condition.stage)} {code(condition.strategy)}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A table whose first ``left`` columns are text and the others numbers, aligned right.

    Cells are Markdown already: whoever builds one escapes what is not its own.
    """
    marks = ["---" if place < left else "---:" for place in range(len(columns))]
    lines = [columns, marks, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def paragraphs(*parts: str) -> str:
    """Parts that say something, each its own block."""
    return "\n\n".join(part for part in parts if part)


def bullets(items: Iterable[str]) -> str:
    """A list, one line per item."""
    return "\n".join(f"- {item}" for item in items)


def picture(path: str, caption: str) -> str:
    """A picture with its caption below it, which is its alternative text too; nothing without."""
    if not caption:
        return ""
    told = for_markdown(caption)
    return paragraphs(f"![{told}]({path})", f"*{told}*")
