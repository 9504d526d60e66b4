"""Checks that users bring: Python files named on the command line, or installed packages."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path

from harness.checks.registry import all_checks, describe_arguments, written
from harness.errors import CheckError, HarnessError
from harness.hashing import file_sha256

ENTRY_POINTS = "harness.checks"
"""Entry-point group of installed packages whose modules register checks when imported."""

_LOADED: dict[Path, str] = {}
"""Each file loaded so far, with the sha256 it had."""


def load_plugins(modules: Sequence[Path] = ()) -> None:
    """Import installed check packages, then each Python file; what they register can be used.

    Their code runs with your rights. Raises CheckError naming the file that cannot be loaded.
    """
    _load_installed()
    for module in modules:
        path = Path(module).resolve()
        if path not in _LOADED:
            _load_file(path)
            _LOADED[path] = file_sha256(path)


def only_here() -> bool:
    """Whether a check was written in a script or a notebook's cell, which no process can import."""
    modules = {getattr(written(found.run), "__module__", None) for found in all_checks().values()}
    return bool(modules & {"__main__", "builtins", None})


def loaded() -> tuple[Path, ...]:
    """The files loaded so far, for processes that judge beside this one."""
    return tuple(_LOADED)


def own_digests() -> Mapping[str, str]:
    """The sha256 by name of each file that checks of the user's own stand in.

    Whoever changes a check changes what it says.
    """
    own = [found for found in all_checks().values() if found.source]
    installed = {Path(written(found.run).__code__.co_filename).name: found.source for found in own}
    return {**installed, **{path.name: digest for path, digest in _LOADED.items()}}


def _load_file(path: Path) -> None:
    if not path.is_file():
        raise CheckError(f"--checks {path}: there is no such file")
    name = f"harness_checks_{file_sha256(path)[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CheckError(f"--checks {path}: not a Python file (its name must end in .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    before = dict(all_checks())
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise CheckError(f"--checks {path}:{error.lineno or 1}: {error.msg}") from error
    except HarnessError as error:
        raise CheckError(f"--checks {path}:{_line(error, path)}: {error}") from error
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        raise CheckError(f"--checks {path}:{_line(error, path)}: {said}") from error
    new = [found for id, found in all_checks().items() if before.get(id) is not found]
    if not new:
        raise CheckError(f"--checks {path}:1: it registers no check; {HOW}")
    for found in new:
        try:
            describe_arguments(found)
        except CheckError as error:
            line = written(found.run).__code__.co_firstlineno
            raise CheckError(f"--checks {path}:{line}: {error}") from error


HOW = (
    'write `from harness import check, Context, Outcome` and put @check("an id") over a function '
    "(docs/checks.md)"
)


def _line(error: BaseException, path: Path) -> int:
    """The last line of the file that was running when the error came; 1 where none was."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path) and frame.lineno]
    return lines[-1] if lines else 1


@lru_cache(maxsize=1)
def _load_installed() -> None:
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except HarnessError:
            raise
        except Exception as error:
            raise CheckError(
                f"the installed checks {entry.name!r} ({entry.value}) cannot be loaded: {error}"
            ) from error
