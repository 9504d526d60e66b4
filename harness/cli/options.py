"""Options that several commands share, and how JSON is printed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer

from harness.errors import ConfigError

JSON = typer.Option(False, "--json", help="Print JSON; docs/looking.md says what the keys hold.")

QUIET = typer.Option(False, "-q", "--quiet", help="No progress, only the result.")
BASE = typer.Option(
    None, "--base", help="The base model's GGUF file or server (http://...), without a YAML."
)
INSTRUCT = typer.Option(
    None, "--instruct", help="The instruct model's GGUF file or server (http://...#MODEL)."
)
PAIR = typer.Option(None, "--pair", help="Take the stages from this registry family.")
LEVEL = typer.Option(None, "--level", help="Quantization level (the experiment's first).")
MAX_TOKENS = typer.Option(None, "--max-tokens", min=1, help="Tokens per answer at most.")
NGL = typer.Option(
    None, "--ngl", "--n-gpu-layers", "-ngl", help="Layers on the GPU: a number, -1, auto."
)

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


RAY = typer.Option(
    None,
    "--ray",
    metavar="[ADDRESS]",
    help="Answer on a Ray cluster: the one at ADDRESS (host:port, ray://...), else the one this "
    "machine belongs to, else this machine alone (docs/scale.md).",
)
RAY_MIXED = typer.Option(
    False,
    "--ray-mixed",
    help="Take nodes that compute otherwise than most too, and keep their answers apart.",
)


def with_address(arguments: Sequence[str]) -> list[str]:
    """The arguments with ``auto`` behind a ``--ray`` that no address follows.

    The parser knows no option with or without a value; what is no address is not taken for one.
    """
    found = list(arguments)
    for place in range(len(found) - 1, -1, -1):
        following = found[place + 1] if place + 1 < len(found) else ""
        if found[place] == "--ray" and not (":" in following or following in {"auto", "local"}):
            found.insert(place + 1, "auto")
    return found


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
