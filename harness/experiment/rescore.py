"""Judge a finished run again, or write its reports again, without loading a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import checks
from harness.checks import CodeMode, CodeSettings
from harness.checks.registry import bind
from harness.datasets import load_suite, suite_name, suite_sha256
from harness.errors import CheckError, HarnessError
from harness.experiment.judging import score
from harness.records import CheckResult, Sample, Scored
from harness.reporting import Run, read_run, write_run
from harness.strategies import load_templates


@dataclass(frozen=True, slots=True)
class Changed:
    """A verdict that differs from the one on file."""

    sample_id: str
    condition: str
    check_id: str
    old_version: int
    new_version: int
    old_strict: bool | None
    new_strict: bool | None
    reason: str


@dataclass(frozen=True, slots=True)
class Rescored:
    """A run judged again: what changed, how many verdicts are new, how many answers kept theirs.

    ``stale`` says what is no longer as it was when the run was made, and ``kept`` why answers keep
    their verdicts, each with the number of answers; ``notes`` what the folder asks for and does
    not get.
    """

    run: Run
    changed: tuple[Changed, ...]
    judged: int
    kept: Mapping[str, int]
    stale: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One line for the terminal."""
        text = f"{self.judged} verdicts, {len(self.changed)} changed"
        return text + "".join(
            f"; {count} answers keep their verdicts: {why}" for why, count in self.kept.items()
        )


def rescore(
    run: str | Path | Run,
    *,
    jobs: int | None = None,
    plugins: Sequence[Path] = (),
    code: CodeMode = "off",
    out: Path | None = None,
) -> Rescored:
    """Judge every stored answer again; ``out`` (or the run's folder) is where it may be written.

    An answer whose question is unchanged in the suite is judged by the suite's checks as they are
    now; any other by the checks that the folder says it was asked. No answer and no verdict is
    lost: what cannot be judged here keeps its verdicts, and a verdict that changes leaves its old
    value beside it. Modules of checks and permission to run code come from the caller, never from
    the folder. Raises ConfigError when ``run`` is not the folder of a run.
    """
    checks.load_plugins(list(plugins))
    read = run if isinstance(run, Run) else read_run(run)
    current, stale = _suites_now(read)
    kept: dict[str, int] = {}
    chosen: dict[int, Scored] = {}
    for number, row in enumerate(read.scored):
        sample, why = _judgeable(row, current, complete=read.format > 1)
        if sample is not None:
            chosen[number] = replace(row, sample=sample)
        elif row.generation.finish_reason != "failed":
            kept[why] = kept.get(why, 0) + 1
    judged = dict(
        zip(chosen, score(list(chosen.values()), jobs=jobs, code=CodeSettings(code)), strict=True)
    )
    changed: list[Changed] = []
    rows: list[Scored] = []
    unsupported = 0
    for number, old in enumerate(read.scored):
        new = judged.get(number, old)
        if number in judged:
            new, lost = _merged(old, new)
            unsupported += lost
            changed += _changes(old, new)
        rows.append(new)
    if unsupported:
        kept["a check that cannot judge here (code_passes without --code, say)"] = unsupported
    run_now = replace(read, folder=out or read.folder, scored=tuple(rows))
    if changed and read.choice is not None:
        stale = (*stale, "which of the two models, for what, stands as it was judged in the run")
    stale = (*stale, *_templates_now(read), *_checks_now(run_now))
    count = sum(len(judged[number].results) for number in judged)
    return Rescored(run_now, tuple(changed), count, kept, stale, ignored(read, plugins, code))


def ignored(run: Run, plugins: Sequence[Path], code: CodeMode) -> tuple[str, ...]:
    """What the folder names that would run code, and that only whoever calls may allow."""
    notes = []
    if run.experiment.checks and not plugins:
        notes.append(
            f"the run used modules of checks ({', '.join(run.experiment.checks)}); a folder "
            "cannot load them: give them with --checks if you trust them"
        )
    if run.experiment.code != "off" and code == "off":
        notes.append(
            f"the run let answers' code run ({run.experiment.code}); a folder cannot allow that: "
            "give --code to run it under bubblewrap"
        )
    return tuple(notes)


def rewrite(run: str | Path, *, out: Path | None = None) -> tuple[Run, tuple[str, ...]]:
    """Write a run's reports again from the verdicts on file, and what is stale about them."""
    read = read_run(run)
    stale = (*_suites_now(read)[1], *_templates_now(read), *_checks_now(read))
    again = replace(read, folder=out or read.folder)
    write_run(again, stale=stale)
    return again, stale


Questions = Mapping[tuple[str, str], Sample]
"""The samples of today's suites by suite and id."""


def _suites_now(run: Run) -> tuple[Questions, tuple[str, ...]]:
    """Today's samples of the run's suites, and which suites are not what they were."""
    samples: dict[tuple[str, str], Sample] = {}
    stale: list[str] = []
    for source in run.experiment.suites:
        name = suite_name(source)
        before = run.manifest.suites.get(name)
        try:
            loaded = load_suite(source, validate=checks.validate)
            now = suite_sha256(source)
        except HarnessError as error:
            stale.append(f"the suite {name} cannot be read any more ({error}): not compared")
            continue
        samples |= {(sample.suite, sample.id): sample for sample in loaded}
        if before and before != now:
            stale.append(
                f"the suite {name} has changed since this run (sha256 {before[:16]}, now "
                f"{now[:16]}): answers to changed prompts stand as they were judged"
            )
    return samples, tuple(stale)


def _templates_now(run: Run) -> tuple[str, ...]:
    """Which strategies' templates are not what the run was made with."""
    try:
        today = load_templates([Path(folder) for folder in run.experiment.templates])
    except HarnessError as error:
        return (f"the run's templates cannot be read any more ({error}): not compared",)
    changed = [
        name
        for name, digest in sorted(run.manifest.templates.items())
        if name not in today or today[name].sha256 != digest
    ]
    if not changed:
        return ()
    return (
        f"templates changed since this run: {', '.join(changed)}; its answers are those of the "
        "old ones, run the experiment again for the new",
    )


def _checks_now(run: Run) -> tuple[str, ...]:
    """Which verdicts were made by other versions of their checks, or by other modules of checks."""
    moved: dict[str, tuple[int, int]] = {}
    rewritten: dict[str, None] = {}
    seen: set[tuple[str, str, int]] = set()
    for row in run.scored:
        for result in row.results:
            place = (row.sample.suite, row.sample.id, result.index)
            if place in seen or result.index >= len(row.sample.checks):
                continue
            seen.add(place)
            try:
                verifier = bind(row.sample.checks[result.index])
            except CheckError:
                continue
            if verifier.version != result.version:
                moved[result.check_id] = (result.version, verifier.version)
            elif result.source and result.source != verifier.check.source[:16]:
                rewritten[result.check_id] = None
    notes = [
        f"the check {name} judged in version {before}, here it is version {now}: harness score "
        "judges again"
        for name, (before, now) in sorted(moved.items())
    ]
    notes += [
        f"the source of the check {name} has changed since it judged: harness score judges again"
        for name in sorted(rewritten)
    ]
    for name, digest in checks.own_digests().items():
        before = run.manifest.plugins.get(name)
        if before is not None and before != digest:
            notes.append(f"the module of checks {name} has changed since this run")
    return tuple(notes)


def _judgeable(row: Scored, current: Questions, *, complete: bool) -> tuple[Sample | None, str]:
    """What the answer can be judged by here, or why it keeps its verdicts."""
    if row.generation.finish_reason == "failed":
        return None, ""
    now = current.get((row.sample.suite, row.sample.id))
    if now is not None and now.messages == row.sample.messages:
        sample = now
    elif complete:
        sample = row.sample
    else:
        return None, "their prompt has changed, and this old folder does not hold their checks"
    try:
        for spec in sample.checks:
            checks.validate(spec)
    except CheckError as error:
        return None, f"{error}; give the module of your own checks with --checks"
    return sample, ""


def _merged(old: Scored, new: Scored) -> tuple[Scored, int]:
    """The new verdicts, but an old one where the new cannot tell; how many of those."""
    before = {result.index: result for result in old.results}
    results: list[CheckResult] = []
    replaced: list[CheckResult] = []
    lost = 0
    for result in new.results:
        known = before.get(result.index)
        same_check = known is not None and known.check_id == result.check_id
        if known is not None and same_check and result.strict is None and known.strict is not None:
            results.append(known)
            lost += 1
            continue
        if known is not None and (known.check_id, known.strict, known.loose) != (
            result.check_id,
            result.strict,
            result.loose,
        ):
            replaced.append(known)
        results.append(result)
    return replace(new, results=tuple(results), earlier=(*replaced, *old.earlier)), lost


def _changes(old: Scored, new: Scored) -> list[Changed]:
    now = {result.index: result for result in new.results}
    return [
        Changed(
            sample_id=new.sample.id,
            condition=str(new.condition),
            check_id=now[known.index].check_id,
            old_version=known.version,
            new_version=now[known.index].version,
            old_strict=known.strict,
            new_strict=now[known.index].strict,
            reason=now[known.index].reason,
        )
        for known in new.earlier[: len(new.earlier) - len(old.earlier)]
        if known.index in now
    ]
