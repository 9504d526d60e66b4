"""The layers inside ``harness/`` are acyclic: a module imports only from lower layers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "harness"

LAYERS: list[set[str]] = [
    {"errors", "hashing", "sanitize"},
    {"records", "protocols", "resources", "intake", "atomic", "measured", "process"},
    {"config", "jinja", "stats", "native", "numbers", "endings", "crew"},
    {"datasets", "models", "engine", "endpoint", "checks", "store", "analysis", "choice"},
    {"strategies"},
    {"reporting"},
    {"experiment"},
    {"asking", "cluster", "gate"},
    {"face"},
    {"cli", "pytest_plugin"},
]
"""Lowest first."""

SIBLINGS_ALLOWED = {("protocols", "records"), ("protocols", "measured"), ("resources", "errors")}


def unit_of(module: str) -> str:
    """``harness.engine.worker`` -> ``engine``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def layer_of(unit: str) -> int:
    for number, names in enumerate(LAYERS):
        if unit in names:
            return number
    raise AssertionError(f"harness/{unit} stands in no layer: add it to tests/test_layers.py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("harness.")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "harness":
            if node.module == "harness":
                found |= {f"harness.{alias.name}" for alias in node.names}
            else:
                found.add(node.module or "")
    return {name for name in found if name != "harness.__version__"}


@pytest.fixture(scope="module")
def imported() -> dict[Path, set[str]]:
    """What each module imports of the package, by its path inside it."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(PACKAGE): imports(path) for path in paths}


def test_a_module_imports_only_from_lower_layers(imported: dict[Path, set[str]]) -> None:
    assert len(imported) > 100
    wrong = [
        f"{path} imports {module}"
        for path, modules in imported.items()
        for module in modules
        if not may(path.with_suffix("").parts[0], unit_of(module))
    ]
    assert wrong == []


def may(unit: str, other: str) -> bool:
    """Whether a module of ``unit`` may import one of ``other``."""
    if unit in {"__init__", "__main__"} or other == unit or (unit, other) in SIBLINGS_ALLOWED:
        return True
    return layer_of(other) < layer_of(unit)


def test_files_import_one_another_in_no_circle(imported: dict[Path, set[str]]) -> None:
    """Whoever reads downwards from one file never comes back to it."""
    files = {
        ".".join(("harness", *path.with_suffix("").parts)): modules
        for path, modules in imported.items()
        if path.name != "__init__.py"  # hands on what its package's files hold
    }
    below = {name: modules & set(files) for name, modules in files.items()}
    while leaves := {name for name, others in below.items() if not others}:
        below = {name: others - leaves for name, others in below.items() if name not in leaves}
    assert not below


def test_llama_cpp_is_imported_through_one_door_and_the_engine_by_its_backend_alone(
    imported: dict[Path, set[str]],
) -> None:
    named = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "llama_cpp" in path.read_text(encoding="utf-8")
    }
    assert named == {"native.py"}
    users = {
        str(path)
        for path, modules in imported.items()
        if path.parts[0] != "engine" and any(unit_of(module) == "engine" for module in modules)
    }
    # The two commands measure llama.cpp and show its tokens, whatever a run's backend is.
    assert users == {"experiment/llama.py", "cli/bench.py", "cli/templates.py"}
