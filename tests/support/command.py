"""Driving the installed command as a user does: a real process, its own cache, its output."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]


def environment(cache: Path, **extra: str) -> dict[str, str]:
    """The caller's environment with a cache of its own, offline."""
    return {**os.environ, "HARNESS_CACHE": str(cache), "HF_HUB_OFFLINE": "1", **extra}


def harness(
    *arguments: object,
    cache: Path,
    cwd: Path = ROOT,
    timeout: float = 280,
    stdin: str | None = None,
    **extra: str,
) -> subprocess.CompletedProcess[str]:
    """Run ``harness ARGUMENTS``, with a text on its standard input if given, and wait for it."""
    return subprocess.run(
        [sys.executable, "-m", "harness", *map(str, arguments)],
        cwd=cwd,
        env=environment(cache, **extra),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        input=stdin,
    )


def here(
    *arguments: object, cache: Path, cwd: Path = ROOT, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """The same in this process, for what a command says and writes: no start to wait for.

    Not for how its process ends, for what it loads, nor for checks that stay registered.
    """
    from harness.cli import main

    words = [str(argument) for argument in arguments]
    out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.dict(os.environ, {"HARNESS_CACHE": str(cache)}),
        mock.patch.object(sys, "stdin", io.StringIO(stdin or "")),
        mock.patch.object(sys, "argv", ["harness", *words]),
    ):
        os.chdir(cwd)
        try:
            code = main(words)
        finally:
            os.chdir(before)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def samples(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's samples.jsonl."""
    with (folder / "samples.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def texts(folder: Path) -> dict[tuple[str, str], str]:
    """Everything generated, by sample and condition, controls left out."""
    return {
        (row["sample_id"], f"{row['stage']}/{row['level']}/{row['strategy']}"): row["text"]
        for row in samples(folder)
        if row["stage"] != "control"
    }
