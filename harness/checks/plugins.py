"""Checks that users bring: Python files named on the command line, or installed packages."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from importlib.metadata import entry_points
from pathlib import Path

from harness.checks.registry import Outcome, all_checks
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
    modules = {getattr(_written(found.run), "__module__", None) for found in all_checks().values()}
    return bool(modules & {"__main__", "builtins", None})


def _written(run: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """The function that somebody wrote, where arguments were bound to it."""
    return _written(run.func) if isinstance(run, partial) else run


def loaded() -> tuple[Path, ...]:
    """The files loaded so far, for processes that judge beside this one."""
    return tuple(_LOADED)


def loaded_digests() -> Mapping[Path, str]:
    """The sha256 of each file loaded so far: whoever changes a check changes what it says."""
    return dict(_LOADED)


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
    except HarnessError:
        raise
    except Exception as error:
        raise CheckError(f"--checks {path}: {type(error).__name__}: {error}") from error
    if all(before.get(id) is found for id, found in all_checks().items()):
        raise CheckError(
            f"--checks {path}: it registers no check; put @check(...) of harness.checks.registry "
            "over a function"
        )


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
