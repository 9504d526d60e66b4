"""Whether a run's folder is what it says: every hash, verdict and figure derived again."""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import __version__, checks
from harness.checks import CodeMode, CodeSettings
from harness.errors import CheckError, ConfigError
from harness.experiment.judging import score
from harness.experiment.rescore import ignored
from harness.hashing import file_sha256
from harness.intake import read_text
from harness.records import CONTROL_STAGE, OPENING_REMOVED, Scored
from harness.reporting import Run, read_run, write_run
from harness.reporting.rows import FORMAT
from harness.reporting.tables import TABLES
from harness.strategies.library import written_sha256

CLOSE = 1.5e-6
"""Two printed figures this close are the same: the last of six decimals may round either way."""

_BYTES = 4 << 30
"""Largest file of a run that is compared with what is written again."""
_NATIVE = re.compile(r"^kind:\s*native\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Something that the folder says and that does not follow from it."""

    where: str
    said: str
    derived: str

    def __str__(self) -> str:
        return f"{self.where}: says {self.said:.200}, derived {self.derived:.200}"


@dataclass(frozen=True, slots=True)
class Verified:
    """What was derived again, what did not match, and what could not be derived here."""

    mismatches: tuple[Mismatch, ...]
    answers: int
    hashes: int
    verdicts: int
    figures: int
    notes: tuple[str, ...]


def verify(
    run: str | Path | Run,
    *,
    plugins: Sequence[Path] = (),
    code: CodeMode = "off",
    jobs: int | None = None,
) -> Verified:
    """Derive every hash, verdict and figure of a run from ``samples.jsonl``; writes nothing there.

    Verdicts are those of the checks that the folder says were asked, in this installation's
    version of them. Raises ConfigError when it is not the folder of a run.
    """
    checks.load_plugins(list(plugins))
    found = run if isinstance(run, Run) else read_run(run)
    notes = list(ignored(found, plugins, code))
    hashed, wrong_hashes = _hashes(found, notes)
    judged, wrong_verdicts = _verdicts(found, notes, code, jobs)
    figures, wrong_figures = _figures(found, notes)
    return Verified(
        mismatches=(*_rows(found), *wrong_hashes, *wrong_verdicts, *wrong_figures),
        answers=len(found.scored),
        hashes=hashed,
        verdicts=judged,
        figures=figures,
        notes=tuple(notes),
    )


def _rows(run: Run) -> Iterator[Mismatch]:
    """Rows that stand twice, and rows of what the experiment did not ask."""
    seen: set[tuple[str, str, str, int]] = set()
    for row in run.scored:
        place = (row.sample.suite, row.sample.id, str(row.condition), row.epoch)
        if place in seen:
            yield Mismatch(_place(row), "one answer", "the same question answered twice")
        seen.add(place)


def _hashes(run: Run, notes: list[str]) -> tuple[int, list[Mismatch]]:
    wrong: list[Mismatch] = []
    count = 0

    def check(where: str, said: str, derived: str) -> None:
        nonlocal count
        count += 1
        if said != derived:
            wrong.append(Mismatch(where, said[:16] or "nothing", derived[:16] or "nothing"))

    if run.samples_sha256:
        check(
            "sha256 of samples.jsonl",
            run.samples_sha256,
            file_sha256(run.folder / "samples.jsonl"),
        )
    else:
        notes.append("this old folder does not say what samples.jsonl's sha256 was")
    for name, said in run.manifest.templates.items():
        source = run.manifest.sources.get(name)
        if source is None:
            notes.append(f"the folder does not hold the text of the template {name}")
            continue
        try:
            check(f"sha256 of the template {name}", said, written_sha256(source))
        except ValueError as error:
            wrong.append(Mismatch(f"sha256 of the template {name}", said[:16], str(error)))
    templates = _templates_of(run)
    for row in run.scored:
        if not row.key:
            continue
        model = run.manifest.models.get(str(row.condition.cell))
        said = str(model.get("sha256", "")) if isinstance(model, Mapping) else ""
        check(f"{_place(row)}: sha256 of the model", row.model_sha256, said)
        template = templates.get((row.condition.stage, row.condition.strategy))
        known = run.manifest.templates.get(template or "")
        # A native prompt's digest covers the model's chat template too, which is not in the folder.
        source = run.manifest.sources.get(template or "")
        if known is not None and source is not None and not _NATIVE.search(source):
            check(f"{_place(row)}: sha256 of the template", row.template_sha256, known)
    return count, wrong


def _templates_of(run: Run) -> dict[tuple[str, str], str]:
    """The template's id by stage and arm."""
    return {
        (stage, label): arm.strategy
        for stage in run.experiment.stages
        for arm in run.experiment.arms(stage)
        for label in (arm.label, arm.label + OPENING_REMOVED)
    }


def _verdicts(
    run: Run, notes: list[str], code: CodeMode, jobs: int | None
) -> tuple[int, list[Mismatch]]:
    chosen: list[Scored] = []
    skipped: dict[str, int] = {}
    for row in run.scored:
        if row.generation.finish_reason == "failed":
            continue
        try:
            for spec in row.sample.checks:
                checks.validate(spec)
        except CheckError as error:
            skipped[str(error)] = skipped.get(str(error), 0) + 1
            continue
        chosen.append(row)
    if run.format < 2:
        notes.append("this old folder does not hold its checks' arguments: no verdict was derived")
        return 0, []
    wrong: list[Mismatch] = []
    count = 0
    for old, new in zip(chosen, score(chosen, jobs=jobs, code=CodeSettings(code)), strict=True):
        before = {result.index: result for result in old.results}
        for result in new.results:
            said = before.pop(result.index, None)
            where = f"{_place(old)}: {result.check_id}"
            if result.strict is None and (said is None or said.strict is not None):
                why = f"{result.check_id} cannot be judged here: {result.reason}"
                skipped[why] = skipped.get(why, 0) + 1
            elif said is not None and said.version != result.version:
                why = (
                    f"{result.check_id} was judged by its version {said.version}, here is "
                    f"{result.version}; harness score judges again"
                )
                skipped[why] = skipped.get(why, 0) + 1
            elif said is not None and said.source != result.source:
                why = f"{result.check_id} was judged by another source; harness score judges again"
                skipped[why] = skipped.get(why, 0) + 1
            else:
                count += 1
                known = (said.check_id, said.strict, said.loose) if said else ("nothing",)
                if known != (result.check_id, result.strict, result.loose):
                    verdict = _said(result.strict, result.loose)
                    earlier = _said(said.strict, said.loose) if said else "nothing"
                    wrong.append(Mismatch(where, earlier, f"{verdict} ({result.reason})"))
        wrong += [
            Mismatch(f"{_place(old)}: {said.check_id}", _said(said.strict, said.loose), "not asked")
            for said in before.values()
        ]
    notes += [f"{number} times: {why}" for why, number in skipped.items()]
    return count, wrong


def _said(strict: bool | None, loose: bool | None) -> str:
    words = {True: "pass", False: "fail", None: "unsupported"}
    return words[strict] if strict == loose else f"{words[strict]} (loose: {words[loose]})"


def _figures(run: Run, notes: list[str]) -> tuple[int, list[Mismatch]]:
    """The folder written again elsewhere from its rows, file against file."""
    wrong: list[Mismatch] = []
    count = 0
    if run.format < FORMAT:
        notes.append("an earlier harness computed this folder's figures: none was derived")
        return 0, []
    made, here = run.manifest.versions.get("harness", "unknown"), __version__
    if made != here:
        notes.append(f"harness {made} computed the figures, here is {here}: methods may differ")
    with tempfile.TemporaryDirectory(prefix="harness-verify-") as place:
        again = Path(place) / "run"
        write_run(replace(run, folder=again))
        for table in TABLES.values():
            if table.file is None:
                continue
            said, derived = _cells(run.folder / table.file), _cells(again / table.file)
            count += sum(len(row) for row in derived or ())
            wrong += _differing(table.file, said, derived or [])
        wrong += _texts(run, again)
    return count, wrong


def _cells(path: Path) -> list[list[str]] | None:
    if path.is_symlink():
        return None
    csv.field_size_limit(1 << 26)
    try:
        return list(csv.reader(io.StringIO(read_text(path, limit=_BYTES), newline="")))
    except (ConfigError, ValueError, csv.Error):
        return None


def _differing(
    name: str, said: list[list[str]] | None, derived: list[list[str]]
) -> Iterator[Mismatch]:
    if said is None:
        yield Mismatch(name, "nothing that can be read", f"{len(derived)} rows")
        return
    if said[:1] != derived[:1]:
        yield Mismatch(f"{name}, columns", ",".join(said[0] if said else []), ",".join(derived[0]))
        return
    if len(said) != len(derived):
        yield Mismatch(name, f"{len(said)} rows", f"{len(derived)} rows")
        return
    columns = derived[0]
    for number, (left, right) in enumerate(zip(said, derived, strict=True), start=1):
        if left == right:
            continue
        if len(left) != len(right):
            yield Mismatch(f"{name}:{number}", f"{len(left)} cells", f"{len(right)} cells")
            continue
        for column, one, other in zip(columns, left, right, strict=True):
            if one != other and not _close(one, other):
                yield Mismatch(f"{name}:{number}, {column}", one or "nothing", other or "nothing")


def _close(one: str, other: str) -> bool:
    try:
        return abs(float(one) - float(other)) <= CLOSE
    except ValueError:
        return False


def _texts(run: Run, again: Path) -> Iterator[Mismatch]:
    """Lines of report.md and samples.jsonl that do not follow; a stale note is no figure."""
    for name in ("samples.jsonl", "report.md"):
        try:
            said = read_text(run.folder / name, limit=_BYTES).split("\n")
        except ConfigError:
            yield Mismatch(name, "nothing that can be read", "a file")
            continue
        derived = read_text(again / name, limit=_BYTES).split("\n")
        if name == "report.md":
            said, derived = (
                [line for line in lines if line and not line.startswith("> **Warning.**")]
                for lines in (said, derived)
            )
        if len(said) != len(derived):
            yield Mismatch(name, f"{len(said)} lines", f"{len(derived)} lines")
            continue
        for number, (one, other) in enumerate(zip(said, derived, strict=True), start=1):
            if one != other:
                start = next(
                    (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0
                )
                cut = slice(max(0, start - 20), start + 100)
                yield Mismatch(f"{name}, line {number}", one[cut], other[cut])


def _place(row: Scored) -> str:
    epoch = f" epoch {row.epoch}" if row.epoch else ""
    kind = "" if row.condition.stage != CONTROL_STAGE else "control "
    return f"{row.sample.id} {kind}{row.condition}{epoch}"
