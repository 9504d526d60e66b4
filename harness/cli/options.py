"""Options that several commands share, and how JSON is printed."""

from __future__ import annotations

import json
from typing import Any

import typer

from harness.errors import ConfigError

JSON = typer.Option(False, "--json", help="Print JSON; docs/looking.md says what the keys hold.")

SUITE_HELP = (
    "A shipped suite, a file (JSONL, CSV, or text with a prompt a line), a folder of such files, "
    "or - for standard input."
)

EARLY = typer.Option(
    None,
    "--early",
    help="End an answer where its checks' verdicts can no longer change (check), or where it is "
    "known whether the item passes (prompt); such answers are kept apart from whole ones.",
)


def print_json(value: Any) -> None:
    """Print a value as ASCII JSON: what a model wrote moves no terminal."""
    typer.echo(json.dumps(value, ensure_ascii=True, indent=1))


def layers(text: str | None) -> int | str | None:
    """``--ngl`` as a number of layers, ``auto``, or None; ConfigError for anything else."""
    if text is None or text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise ConfigError(
            f"--ngl takes a number of layers, -1 for all, or auto: {text!r}"
        ) from None
