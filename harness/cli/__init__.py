"""The ``harness`` command: parse, call, turn a HarnessError into one line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import typer

from harness import __version__
from harness.cli.app import app
from harness.cli.options import with_address
from harness.errors import HarnessError, Interrupted
from harness.sanitize import for_terminal

# One module per command group; each registers its commands on ``app`` when imported.
COMMANDS = (
    "init",
    "run",
    "plan",
    "look",
    "view",
    "gate",
    "levels",
    "shift",
    "choose",
    "models",
    "checks",
    "suite",
    "opinion",
    "templates",
    "ask",
    "bench",
    "cache",
)
for _name in COMMANDS:
    importlib.import_module(f"harness.cli.{_name}")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"harness {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Run before every command; exists for ``--version``."""


_STOPPED = "stopped; what was finished is stored, the same command goes on"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 pass, 1 gate failed, 2 usage or environment."""
    # Our matrices are small: OpenBLAS' threads wait for each other longer than they compute.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is loaded
    try:
        given = sys.argv[1:] if arguments is None else arguments
        code = app(args=with_address(given), prog_name="harness", standalone_mode=False)
    except HarnessError as error:
        return _fail(error)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(Interrupted(_STOPPED))
    except BrokenPipeError:
        # The reader of our output went away (``| head``): that is its right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not hasattr(error, "exit_code"):
            raise
        show = getattr(error, "show", None)  # click's UsageError and friends print themselves
        if show:
            show()
        return int(error.exit_code)
    if code == Interrupted.exit_code:  # what typer makes of Ctrl-C, without a word
        return _fail(Interrupted(_STOPPED))
    return code if isinstance(code, int) else 0


def _fail(error: HarnessError) -> int:
    if os.environ.get("HARNESS_TRACEBACK"):
        traceback.print_exception(error)
    print(f"harness: {for_terminal(str(error))}", file=sys.stderr)
    return error.exit_code
