"""``harness cache``: what is kept on disk, where, and how to get rid of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from harness.cli.app import app
from harness.cli.options import JSON, print_json
from harness.errors import ConfigError
from harness.resources import MADE_FOLDERS, cache_dir, is_made

if TYPE_CHECKING:
    from harness.store import ModelUsage

cache = typer.Typer(
    help="What the harness keeps on disk: answers, quantized files, suites. "
    "HARNESS_CACHE chooses another folder; downloads live in the hub's own cache.",
    no_args_is_help=True,
)
app.add_typer(cache, name="cache")

_DAY = 86_400


@cache.command("list")
def list_(
    as_json: bool = JSON,
) -> None:
    """Show the cache's place and size, and what is stored of each model file: answers, scores."""
    from rich.table import Table

    from harness.reporting.terminal import table_console
    from harness.store import default_store

    folder = cache_dir()
    if as_json:
        print_json(_listing(folder))
        return
    typer.echo(f"cache: {folder} ({_size(folder)})")
    if not folder.is_dir():
        return
    for part in (folder / name for name in MADE_FOLDERS):
        if part.is_dir():
            mark = "" if is_made(part) else " (not made by the harness: clean leaves it)"
            typer.echo(f"  {part.name}/: {_size(part)}{mark}")
    if not default_store().is_file():
        typer.echo("answers: none stored")
        return
    heads = ("model sha256", "answers", "scored texts", "size", "last used (UTC)")
    table = Table(*heads, title="stored answers and scores")
    for use in _usage():
        when = _when(use).strftime("%Y-%m-%d %H:%M")
        counts = str(use.answers), str(use.texts)
        table.add_row(use.model_sha256[:16], *counts, _human(use.size), when)
    table_console().print(table)


def _listing(folder: Path) -> dict[str, Any]:
    """The cache's place, and the stored answers of each model file."""
    answers = [
        {
            "model_sha256": use.model_sha256,
            "answers": use.answers,
            "scored_texts": use.texts,
            "bytes": use.size,
            "last_used": _when(use).isoformat(),
        }
        for use in _usage()
    ]
    return {"folder": str(folder), "answers": answers}


def _usage() -> Sequence[ModelUsage]:
    """The stored answers of each model file; none where there is no store."""
    from harness.store import Store, default_store

    if not default_store().is_file():
        return ()
    with Store(default_store()) as store:
        return store.usage()


def _when(use: ModelUsage) -> datetime:
    return datetime.fromtimestamp(use.last_used, timezone.utc)


@cache.command()
def clean(
    everything: bool = typer.Option(False, "--all", help="Answers and made files, all of it."),
    answers: bool = typer.Option(
        False, "--answers", help="Every stored answer, and the scores of texts."
    ),
    files: bool = typer.Option(False, "--files", help="Quantized files and remembered digests."),
    model: str = typer.Option(
        None, "--model", help="Answers of one model file, by the start of its sha256 (8 or more)."
    ),
    older_than: float = typer.Option(
        None, "--older-than", min=0, help="Answers stored more than this many days ago."
    ),
) -> None:
    """Remove stored answers or made files; everything removed can be made again."""
    if not (everything or answers or files or model or older_than is not None):
        raise ConfigError(
            "cache clean: say what: --all, --answers, --files, --model SHA256 or --older-than DAYS"
        )
    if model is not None and len(model) < 8:
        raise ConfigError(f"--model takes at least 8 digits of a sha256, found {model!r}")
    if everything or answers or model or older_than is not None:
        _clean_answers(None if everything else model, None if everything else older_than)
    if everything or files:
        _clean_files(cache_dir())


def _clean_answers(model: str | None, older_than: float | None) -> None:
    from harness.store import Store, default_store

    if not default_store().is_file():
        typer.echo("answers: none stored")
        return
    before = None if older_than is None else time.time() - older_than * _DAY
    with Store(default_store()) as store:
        removed = store.clean(model_sha256=model, older_than=before)
    typer.echo(f"answers removed: {removed.answers}; scored texts removed: {removed.texts}")


def _clean_files(folder: Path) -> None:
    """Remove what the harness made and marked, and nothing else that lies there."""
    freed = 0
    for part in (folder / name for name in MADE_FOLDERS):
        if is_made(part):
            freed += _bytes(part)
            shutil.rmtree(part)
        elif part.exists() or part.is_symlink():
            typer.echo(
                f"left alone: {part} was not made by the harness; remove it by hand if meant"
            )
    typer.echo(f"files removed: {_human(freed)}")


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _size(folder: Path) -> str:
    return _human(_bytes(folder)) if folder.is_dir() else "empty"


def _human(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
