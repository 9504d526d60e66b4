"""Everything that could change a number, written beside the numbers."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness import __version__, checks
from harness.checks.registry import bind
from harness.config import ENDPOINT, LLAMA_CPP, Experiment
from harness.experiment.backend import StageModel
from harness.experiment.plan import Plan
from harness.records import ModelFile, RunManifest

_PACKAGES = (
    "llama-cpp-python",
    "huggingface-hub",
    "jinja2",
    "jsonschema",
    "langdetect",
    "numpy",
    "pandas",
    "pydantic",
    "regex",
    "scipy",
)


def build_manifest(
    experiment: Experiment,
    plan: Plan,
    *,
    builds: Mapping[str, Mapping[str, Any]],
    limit: int | None,
    suites: Mapping[str, str],
    notes: Sequence[str],
    warnings: Sequence[str] = (),
    command: str = "",
    declared: str = "",
    uses: Mapping[str, str] | None = None,
) -> RunManifest:
    """The manifest of a run, before it starts; the report writer scrubs paths and tokens.

    ``builds`` is what each backend says of itself, by name; ``declared`` when the contrasts were,
    ``uses`` the sha256 of what was asked beside the grid.
    """
    described = _from_here(json.loads(experiment.model_dump_json(by_alias=True)))
    return RunManifest(
        experiment={**described, "limit": limit},
        models={str(item.cell): _model(item) for item in plan.stage_models},
        templates=dict(plan.templates),
        sources=dict(plan.sources),
        suites=dict(suites),
        checks=_checks(plan),
        plugins=dict(checks.own_digests()),
        versions=_versions(),
        engine={
            **_builds(plan, builds),
            "settings": {
                "/".join(cell): _plain(asdict(settings)) for cell, settings in plan.settings.items()
            },
        },
        system={
            "platform": platform.platform(),
            "machine": platform.machine(),
            "processor": _processor(),
            "cores": os.cpu_count(),
        },
        notes=tuple(notes),
        warnings=tuple(warnings),
        command=command,
        declared=declared,
        uses=dict(uses or {}),
    )


def _builds(plan: Plan, builds: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The one backend's build; of several each one's, and who ran what."""
    if set(builds) == {LLAMA_CPP}:
        return {"build": dict(builds[LLAMA_CPP])}
    cells = {str(item.cell): item.backend for item in plan.stage_models}
    return {"builds": {name: dict(build) for name, build in builds.items()}, "backends": cells}


def _checks(plan: Plan) -> dict[str, int]:
    """The version of every check that judges; of a composed one the highest, with its parts."""
    found: dict[str, int] = {}
    for sample in plan.samples:
        for spec in sample.checks:
            found[spec.id] = max(found.get(spec.id, 0), bind(spec).version)
    return dict(sorted(found.items()))


def _model(item: StageModel) -> dict[str, Any]:
    model = item.model
    return {
        "path": _shown(model.path),
        "sha256": model.sha256,
        "size": model.size,
        "architecture": model.architecture,
        "parameters": model.parameters,
        "context_length": model.context_length,
        "tokenizer_digest": model.tokenizer_digest,
        "bits_per_weight": model.bits_per_weight,
        "tensor_types": dict(model.tensor_types),
        "fallback_share": model.metadata.get("inspect.fallback_share"),
        "adapter": _plain(asdict(item.adapter)) if item.adapter else None,
        "chat_template": item.chat_template is not None,
        **_server(model),
    }


def _server(model: ModelFile) -> dict[str, Any]:
    """What the server of a model says of itself; its template is told by its digest."""
    told = model.metadata.get(ENDPOINT)
    return {ENDPOINT: {k: v for k, v in told.items() if k != "template"}} if told else {}


def _versions() -> dict[str, str]:
    versions = {"harness": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _plain(value: Any) -> Any:
    """Paths as text, whatever they are nested in."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return _shown(value) if isinstance(value, Path) else value


def _from_here(value: Any) -> Any:
    """Texts that are paths inside the working directory, without it."""
    if isinstance(value, dict):
        return {key: _from_here(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_from_here(item) for item in value]
    inside = isinstance(value, str) and value.startswith(f"{Path.cwd()}{os.sep}")
    return _shown(Path(value)) if inside else value


def _shown(path: Path) -> str:
    """A path from the folder of the run, or only its name where that says nothing elsewhere."""
    absolute = path.absolute()
    inside = absolute.is_relative_to(Path.cwd())
    return absolute.relative_to(Path.cwd()).as_posix() if inside else path.name


def _processor() -> str:
    """The processor's name; Linux keeps it out of platform.processor()."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
