"""The typer application every command module registers on."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="harness",
    help="How much of an instruct model does prompting recover from its base model, in GGUF, here?",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
