"""Where runs lie: a new one's folder, which there are, and which one a name means."""

from __future__ import annotations

import re
import secrets
import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from harness.atomic import translated
from harness.errors import ConfigError, OutputError
from harness.intake import meant, near, shown
from harness.reporting.rows import ANSWERS, read_manifest
from harness.resources import reports_dir

LIVE = "live.json"
"""State of a run that goes on, in its folder as long as it does."""


def new_run_folder(name: str) -> Path:
    """``reports/<experiment>/<UTC time>-<four hex digits>``, so that runs sort and never clash."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    return reports_dir() / name / f"{stamp}-{secrets.token_hex(2)}"


def writable(folder: Path) -> None:
    """Refuse the folder of a run to come before anything is generated; nothing is left behind.

    Raises OutputError when it is a file, a link, or where nothing can be written.
    """
    for place in (folder, folder / "plots"):
        if place.is_symlink():
            raise OutputError(f"{place} is a link: a run's folder is a folder; name where it leads")
        if place.exists() and not place.is_dir():
            raise OutputError(f"{place} is a file, a folder is wanted: choose another -o")
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    with translated(folder):
        Path(tempfile.mkdtemp(prefix=".harness-", dir=existing)).rmdir()


def find_live(name: str | Path, reports: Path | None = None) -> Path | None:
    """The folder of a run that goes on, named as for :func:`find_run`; None where none does."""
    reports = reports or reports_dir()
    patterns = {"latest": ["*/*", "*"]}.get(str(name), [f"{name}/*", str(name)])
    places = [Path(name)] if Path(name).is_dir() else []
    if not Path(name).is_absolute():
        places += [place for pattern in patterns for place in reports.glob(pattern)]
    found = [place for place in places if (place / LIVE).is_file()]
    return max(found, key=lambda place: (place / LIVE).stat().st_mtime, default=None)


def find_run(name: str | Path, reports: Path | None = None) -> Path:
    """The folder of a run by path, ``latest``, an experiment's name, or ``experiment/run``.

    Of several it is the latest that has its answers, so the shipped example (reports without
    answers, as old as its checkout) stands in for no run. Raises ConfigError when there is none.
    """
    reports = reports or reports_dir()
    given = Path(name)
    if given.is_dir():
        if (given / "manifest.json").is_file():
            return given
        inside = run_folders(given)
        if inside:
            return _latest(inside)
    text = str(name)
    found = run_folders(reports) if text == "latest" else run_folders(reports / text)
    if text and not found and (reports / text / "manifest.json").is_file():
        found = [reports / text]
    if not found and given.is_dir():
        raise ConfigError(
            f"{given}: not the folder of a run (no manifest.json); name one that holds it, such "
            "as reports/<experiment>/<run>, or: latest"
        )
    if not found:
        known = sorted({folder.parent.name for folder in run_folders(reports)})
        raise ConfigError(
            f"no run {shown(text)}: no such folder, and {reports}/ has runs of: "
            f"{', '.join(known) or 'nothing yet'}{meant(text, [*known, 'latest'])}"
        )
    return _latest(found)


def _latest(folders: list[Path]) -> Path:
    """The last folder that has answers, else the last."""
    answered = [folder for folder in folders if (folder / ANSWERS).is_file()]
    return (answered or folders)[-1]


@dataclass(frozen=True, slots=True)
class Listed:
    """A run in a list: where it lies, when it was written, what it asked, whether it is whole."""

    folder: Path
    experiment: str
    written: datetime
    models: tuple[str, ...]
    limit: int | None
    finished: bool

    @property
    def line(self) -> str:
        """One line for a terminal."""
        told = "" if self.finished else "  unfinished: no report.md"
        some = f"  {self.limit} items a suite" if self.limit else ""
        return (
            f"{self.folder}  {self.written:%Y-%m-%d %H:%M} UTC  {self.experiment}  "
            f"{len(self.models)} models{some}{told}"
        )

    def as_json(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "folder": str(self.folder),
            "experiment": self.experiment,
            "written": self.written.isoformat(timespec="seconds"),
            "models": list(self.models),
            "limit": self.limit,
            "finished": self.finished,
        }


def list_runs(experiment: str | None = None, reports: Path | None = None) -> list[Listed]:
    """Every readable run below ``reports``, the latest last; ConfigError where none is of that."""
    reports = reports or reports_dir()
    found: list[Listed] = []
    for folder in run_folders(reports):
        try:
            manifest = read_manifest(folder)[0]
        except ConfigError:
            continue  # somebody's folder, or a run that is being written
        limit = manifest.experiment.get("limit")
        found.append(
            Listed(
                folder=folder,
                experiment=str(manifest.experiment.get("name", "")),
                written=made_at(folder),
                models=tuple(sorted(manifest.models)),
                limit=limit if isinstance(limit, int) else None,
                finished=(folder / "report.md").is_file(),
            )
        )
    names = {entry.experiment for entry in found}
    if experiment is not None and experiment not in names:
        raise ConfigError(
            f"no run of {experiment!r:.80} below {reports}/; {near(experiment, names)}"
            f"there are runs of: {', '.join(sorted(names)) or 'nothing yet'}"
        )
    return [entry for entry in found if experiment in (None, entry.experiment)]


def run_folders(parent: Path) -> list[Path]:
    """Every run's folder below a folder, the latest last."""
    if not parent.is_dir():
        return []
    manifests = [*parent.glob("*/manifest.json"), *parent.glob("*/*/manifest.json")]
    return sorted(
        (path.parent for path in manifests), key=lambda folder: (made_at(folder), str(folder))
    )


_STAMP = re.compile(r"(\d{8}-\d{6})-[0-9a-f]{4}")


def made_at(folder: Path) -> datetime:
    """When a run was made: what its folder's own name says, else when its manifest was written.

    Judging a run again writes its manifest again and makes it no later run.
    """
    if stamp := _STAMP.fullmatch(folder.name):
        try:
            return datetime.strptime(f"{stamp[1]}+0000", "%Y%m%d-%H%M%S%z")
        except ValueError:  # digits that are no time
            pass
    return datetime.fromtimestamp((folder / "manifest.json").stat().st_mtime, tz=timezone.utc)
