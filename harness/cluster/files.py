"""A model's file on a machine of the cluster: by path and digest, from the hub, or sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import models
from harness.atomic import replacing
from harness.errors import HarnessError, ModelError
from harness.models.digest import sha256_of_set
from harness.models.shards import shard_paths
from harness.records import Adapter, EngineSettings, ModelFile
from harness.resources import made_folder

SENT = "sent"
"""The folder of the cache that keeps files which came through the object store."""

Parcel = Mapping[str, Any]
"""A model's files by name, as arrays of bytes (what Ray's object store keeps without a copy)."""


@dataclass(frozen=True, slots=True)
class Lacking:
    """A machine has no file of that digest, and the hub is no help; ``why`` says so in words."""

    sha256: str
    path: Path
    why: str


def packed(path: Path) -> Parcel:
    """A model's or adapter's files, to be put into the object store."""
    return {part.name: np.fromfile(part, dtype=np.uint8) for part in shard_paths(path)}


def placed(
    model: ModelFile, settings: EngineSettings, parcels: Mapping[str, Parcel]
) -> tuple[ModelFile, EngineSettings] | Lacking:
    """The model and its adapter as this machine has them; ``parcels`` are by digest."""
    if not model.size:  # a backend's own name, not a file
        return model, settings
    path = _found(model.path, model.sha256, model.source, parcels)
    if isinstance(path, Lacking):
        return path
    adapter = settings.adapter
    if adapter is not None:
        beside = _found(adapter.path, adapter.sha256, "", parcels)
        if isinstance(beside, Lacking):
            return beside
        settings = replace(settings, adapter=Adapter(beside, adapter.sha256, adapter.scale))
    return replace(model, path=path), settings


def _found(path: Path, sha256: str, source: str, parcels: Mapping[str, Parcel]) -> Path | Lacking:
    kept = made_folder(SENT) / sha256
    for place in (path, kept / path.name):
        if _is(place, sha256):
            return place
    why = "there is no such file"
    if path.is_file():
        why = "the file there is another one"
    if source:
        try:
            return models.resolve_model(source, base_dir=Path.cwd(), sha256=sha256)
        except HarnessError as error:
            why = f"{why}, and {error}"
    if sha256 not in parcels:
        return Lacking(sha256, path, why)
    for name, data in parcels[sha256].items():
        kept.mkdir(parents=True, exist_ok=True)
        with replacing(kept / Path(name).name) as draft:
            np.asarray(data, dtype=np.uint8).tofile(draft)
    if not _is(kept / path.name, sha256):
        raise ModelError(f"{path.name} was sent and has another digest than {sha256[:16]}")
    return kept / path.name


def _is(path: Path, sha256: str) -> bool:
    """Whether the file, with its shards, is there and is the one that is meant."""
    try:
        return path.is_file() and sha256_of_set(shard_paths(path)) == sha256
    except ModelError:
        return False
