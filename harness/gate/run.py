"""The walk of a gate: plan, carry over what is unchanged, answer the rest, judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.config import Experiment
from harness.errors import ConfigError
from harness.experiment import RunOptions, Watcher
from harness.gate.baseline import Arm, Baseline, read_baseline, write_baseline
from harness.gate.judge import CONTRAST, ArmVerdict, Verdicts, compared, judge
from harness.gate.lint import lint
from harness.gate.sequential import in_looks
from harness.gate.sources import TemplateDiff, template_diff
from harness.gate.state import State
from harness.records import Sample, Verdict


@dataclass(frozen=True, slots=True)
class GateOptions:
    """What a command line may say: the rule, and whether models are asked at all.

    ``sequential`` asks an arm's items in looks, until the verdicts it can still reach are all
    ``accepted``, or none is.
    """

    margin: float | None = None
    must_pass: tuple[str, ...] = ()
    contrasts: tuple[str, ...] = ()
    render_only: bool = False
    sequential: bool = False
    accepted: frozenset[Verdict] = frozenset({"pass"})


@dataclass(frozen=True, slots=True)
class Gated:
    """A gate's outcome: verdicts, notes, and by template the diff since the baseline."""

    experiment: str
    verdicts: Verdicts
    notes: tuple[str, ...]
    diffs: Mapping[str, TemplateDiff]
    generated: int


def gate(
    experiment: Experiment,
    path: Path,
    options: GateOptions,
    run_options: RunOptions,
    *,
    watcher: Watcher | None = None,
) -> Gated:
    """Compare the experiment as it stands with a baseline file.

    Raises ConfigError, on one line, for a baseline that is missing, edited or stale.
    """
    baseline = read_baseline(path, experiment.name)
    now = State(experiment, run_options, watcher or Watcher())
    _refuse_stale(path, baseline, now)
    _refuse_unknown(now, options)
    diffs = {
        name: found
        for name, source in now.sources.items()
        if (found := template_diff(baseline.templates.get(name), source))
    }
    verdicts, generated = _verdicts(baseline, now, options)
    verdicts = [*lint(baseline, now), *verdicts]
    notes = [*now.prepared.notes, *now.elsewhere(baseline)]
    return Gated(experiment.name, Verdicts(tuple(verdicts)), tuple(notes), diffs, generated)


def _verdicts(baseline: Baseline, now: State, options: GateOptions) -> tuple[list[ArmVerdict], int]:
    """Every arm's verdict in the way the options ask for, and how many answers it took."""
    if options.render_only:
        rendered = now.render(baseline).arms.items()
        return [_rendered(baseline.arms[name], arm, now) for name, arm in rendered], 0
    if options.sequential:
        return in_looks(
            now,
            baseline,
            margin=options.margin,
            must_pass=options.must_pass,
            accepted=options.accepted,
        )
    answered = now.answer(baseline)
    verdicts = [
        judge(
            baseline.arms[name],
            arm,
            margin=options.margin,
            samples=now.samples,
            must_pass=options.must_pass,
            reasons=answered.reasons.get(name),
            asked=answered.asked[name],
        )
        for name, arm in answered.arms.items()
    ]
    verdicts += _contrasts(now.experiment, answered.arms, now.samples, options)
    return verdicts, answered.generated


def update(
    experiment: Experiment,
    path: Path,
    run_options: RunOptions,
    *,
    watcher: Watcher | None = None,
) -> Baseline:
    """Answer what is not known yet and write the baseline."""
    now = State(experiment, run_options, watcher or Watcher())
    try:
        known = read_baseline(path, experiment.name)
    except ConfigError:
        known = Baseline(experiment.name, {}, {})
    answered = now.answer(known)
    baseline = Baseline(experiment.name, now.sources, answered.arms)
    write_baseline(path, baseline)
    return baseline


def _refuse_stale(path: Path, baseline: Baseline, now: State) -> None:
    """ConfigError when arms or items are not those of the baseline."""
    again = "run with --update and review the diff"
    for names, what in (
        (sorted(set(now.requests) - set(baseline.arms)), "lacks the arm"),
        (sorted(set(baseline.arms) - set(now.requests)), "has an arm the experiment lacks:"),
    ):
        if names:
            raise ConfigError(f"baseline {path} is stale: it {what} {names[0]}; {again}")
    for name in now.requests:
        if set(baseline.arms[name].items) != set(now.prompts(name)):
            raise ConfigError(f"baseline {path} is stale: {name} has other items now; {again}")


def _refuse_unknown(now: State, options: GateOptions) -> None:
    """ConfigError for a tag no item has or a contrast nobody declared: it would gate nothing."""
    tags = {tag for sample in now.samples.values() for tag in sample.tags}
    for tag in options.must_pass:
        if tag not in tags:
            known = ", ".join(sorted(tags)) or "none"
            raise ConfigError(f"--must-pass {tag}: no item has this tag; tags: {known}")
    names = [contrast.name for contrast in now.experiment.contrasts]
    for name in options.contrasts:
        if name not in names:
            raise ConfigError(f"--contrast {name!r}: not declared; there are: {', '.join(names)}")


def _rendered(before: Arm, after: Arm, now: State) -> ArmVerdict:
    """Whether an arm's prompts are the baseline's, token by token."""
    differ = [n for n, item in after.items.items() if before.items[n].prompt != item.prompt]
    if not differ:
        return ArmVerdict(after.name, "pass", "every prompt is the same", after.template)
    first = min(differ)
    sentence = (
        f"{len(differ)} of {len(after.items)} prompts changed; the first, {first}, now ends in "
        f"{now.text(after.name, first)[-60:]!r}"
    )
    return ArmVerdict(after.name, "regress", sentence, after.template)


def _contrasts(
    experiment: Experiment,
    arms: Mapping[str, Arm],
    samples: Mapping[str, Sample],
    options: GateOptions,
) -> list[ArmVerdict]:
    """Declared contrasts as gates: ``b`` must not fall behind ``a``."""
    found = []
    for name, a, b in experiment.declared_contrasts():
        if name in options.contrasts:
            verdict, sentence = compared(
                arms[str(a)].items, arms[str(b)].items, margin=options.margin, samples=samples
            )
            found.append(ArmVerdict(f"{CONTRAST}{name}", verdict, f"{b} against {a}: {sentence}"))
    return found
