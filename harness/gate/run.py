"""The walk of a gate: plan, carry over what is unchanged, answer the rest, judge."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness import checks
from harness.checks import CodeSettings
from harness.config import Experiment
from harness.errors import ConfigError
from harness.experiment import Prepared, RunOptions, Watcher, prepare
from harness.experiment.judging import collect, score
from harness.experiment.walk import generate
from harness.gate.baseline import (
    Arm,
    Baseline,
    Item,
    Source,
    read_baseline,
    shortened,
    write_baseline,
)
from harness.gate.judge import ArmVerdict, Verdicts, compared, judge
from harness.hashing import tagged_hash
from harness.records import Condition, RenderedPrompt, Request, Sample, Scored, all_pass
from harness.store import Store
from harness.strategies import Template, load_templates

MACHINE = ("engine", "cpu")
"""The parts of an arm's identity that say where it ran, not what was asked."""


@dataclass(frozen=True, slots=True)
class GateOptions:
    """What a command line may say: the rule, and whether models are asked at all."""

    margin: float | None = None
    must_pass: tuple[str, ...] = ()
    contrasts: tuple[str, ...] = ()
    render_only: bool = False


@dataclass(frozen=True, slots=True)
class Gated:
    """A gate's outcome: verdicts, notes, and by template the diff since the baseline."""

    experiment: str
    verdicts: Verdicts
    notes: tuple[str, ...]
    diffs: Mapping[str, TemplateDiff]
    generated: int


@dataclass(frozen=True, slots=True)
class TemplateDiff:
    """How a template differs from the baseline's: a unified diff and the first line that does."""

    path: str
    line: int
    text: str


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
    now = _Now(experiment, run_options, watcher or Watcher())
    _refuse_stale(path, baseline, now)
    _refuse_unknown(now, options)
    answered = now.render(baseline) if options.render_only else now.answer(baseline)
    diffs = {
        name: found
        for name, source in now.sources.items()
        if (found := template_diff(baseline.templates.get(name), source))
    }
    if options.render_only:
        verdicts = [_rendered(baseline.arms[name], arm, now) for name, arm in answered.arms.items()]
    else:
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
        verdicts += _contrasts(experiment, answered.arms, now.samples, options)
    notes = [*now.prepared.notes, *now.elsewhere(baseline)]
    return Gated(
        experiment.name, Verdicts(tuple(verdicts)), tuple(notes), diffs, answered.generated
    )


def update(
    experiment: Experiment,
    path: Path,
    run_options: RunOptions,
    *,
    watcher: Watcher | None = None,
) -> Baseline:
    """Answer what is not known yet and write the baseline."""
    now = _Now(experiment, run_options, watcher or Watcher())
    try:
        known = read_baseline(path, experiment.name)
    except ConfigError:
        known = Baseline(experiment.name, {}, {})
    answered = now.answer(known)
    baseline = Baseline(experiment.name, now.sources, answered.arms)
    write_baseline(path, baseline)
    return baseline


@dataclass(frozen=True, slots=True)
class _Answered:
    """Arms as they are now; by arm why items failed and how many were answered anew."""

    arms: Mapping[str, Arm]
    reasons: Mapping[str, Mapping[str, str]]
    asked: Mapping[str, int]
    generated: int = 0


class _Now:
    """The experiment as it stands: its plan, its templates, and what its answers depend on."""

    def __init__(self, experiment: Experiment, options: RunOptions, watcher: Watcher) -> None:
        self.experiment, self._options, self._watcher = experiment, options, watcher
        self.prepared: Prepared = prepare(experiment, options, watcher=watcher)
        plan = self.prepared.plan
        self.samples: dict[str, Sample] = {sample.id: sample for sample in plan.samples}
        self._templates = load_templates(
            [Path(name) for name in self.prepared.experiment.templates]
        )
        self.requests: dict[str, dict[str, list[Request]]] = {}
        for request in plan.all_requests():
            arm = self.requests.setdefault(str(request.condition), {})
            arm.setdefault(request.sample_id, []).append(request)
        self.skipped: dict[str, dict[str, str]] = {}
        for gap in plan.skipped:
            self.skipped.setdefault(str(gap.condition), {})[gap.sample_id] = gap.reason
            self.requests.setdefault(str(gap.condition), {})
        self._strategies = {
            (stage, arm.label): arm
            for stage in self.prepared.experiment.stages
            for arm in self.prepared.experiment.arms(stage)
        }
        self.sources = {name: source_of(self._templates[name]) for name in sorted(plan.templates)}
        self._identities: dict[tuple[str, str], dict[str, str]] = {}

    def template(self, condition: Condition) -> str:
        """The id of the template behind a condition."""
        return self._strategies[condition.stage, condition.strategy].strategy

    def identity(self, condition: Condition) -> dict[str, str]:
        """What an arm's answers and verdicts depend on besides its prompts."""
        cell = (condition.stage, condition.level)
        if cell not in self._identities:
            plan = self.prepared.plan
            model = next(m for m in plan.stage_models if (m.stage, m.level) == cell)
            engine = asdict(self.prepared.backends.of(model).identity(plan.settings[cell]))
            experiment = self.prepared.experiment
            specs = {check.id for sample in plan.samples for check in sample.checks}
            self._identities[cell] = {
                "model": model.model.sha256[:16],
                "sampling": _digest(
                    [asdict(experiment.sampling.record()), experiment.seed, experiment.epochs]
                ),
                "suites": _digest(sorted(self.prepared.suites.items())),
                "checks": _digest(
                    sorted((name, checks.find_check(name).version) for name in specs)
                ),
                "cpu": _digest(engine.pop("cpu_features")),
                "engine": _digest(engine),
            }
        return self._identities[cell]

    def prompts(self, name: str) -> dict[str, str]:
        """Digests of an arm's prompts by item; of an item left out, of the reason."""
        asked = {
            item: prompt_digest(found[0].prompt) for item, found in self.requests[name].items()
        }
        left_out = {item: _digest(why) for item, why in self.skipped.get(name, {}).items()}
        return {**asked, **left_out}

    def changed(self, baseline: Baseline) -> dict[str, set[str]]:
        """By arm the items whose answer or verdict may differ from the baseline's."""
        found = {}
        for name in self.requests:
            known = baseline.arms.get(name)
            prompts = self.prompts(name)
            if known is None or dict(known.identity) != self.identity(_condition(name)):
                found[name] = set(prompts)
            else:
                found[name] = {
                    item
                    for item, digest in prompts.items()
                    if item not in known.items or known.items[item].prompt != digest
                }
        return found

    def answer(self, baseline: Baseline) -> _Answered:
        """Every arm as it is now: unchanged items as the baseline has them, the others asked."""
        changed = self.changed(baseline)
        plan = self.prepared.plan
        wanted = replace(
            plan,
            requests={
                cell: tuple(r for r in group if r.sample_id in changed[str(r.condition)])
                for cell, group in plan.requests.items()
            },
            skipped=tuple(
                gap for gap in plan.skipped if gap.sample_id in changed[str(gap.condition)]
            ),
        )
        scored: list[Scored] = []
        generated = 0
        if any(changed.values()):
            with Store(self._options.store) as store:
                answers = generate(
                    replace(self.prepared, plan=wanted),
                    store,
                    self._options.use_cache,
                    watcher=self._watcher,
                )
            generated = answers.generated
            scored = score(
                collect(wanted, answers.generations),
                jobs=self._options.jobs,
                code=CodeSettings(self.prepared.experiment.code),
            )
        rows: dict[str, dict[str, list[Scored]]] = {}
        for row in scored:
            rows.setdefault(str(row.condition), {}).setdefault(row.sample.id, []).append(row)
        arms, reasons = {}, {}
        for name in sorted(self.requests):
            condition = _condition(name)
            known = baseline.arms.get(name)
            prompts = self.prompts(name)
            items = {
                item: _item(item, rows[name][item], digest)
                if item in changed[name]
                else known.items[item]  # type: ignore[union-attr]  # unchanged, so it is there
                for item, digest in sorted(prompts.items())
            }
            arms[name] = Arm(name, self.template(condition), self.identity(condition), items)
            reasons[name] = {
                item: "; ".join(dict.fromkeys(_faults(found)))
                for item, found in rows.get(name, {}).items()
            }
        asked = {name: len(items) for name, items in changed.items()}
        return _Answered(arms, reasons, asked, generated)

    def render(self, baseline: Baseline) -> _Answered:
        """Every arm's prompts alone; no model answers anything."""
        arms = {
            name: Arm(
                name,
                self.template(_condition(name)),
                {},
                {item: Item(item, None, digest, "") for item, digest in self.prompts(name).items()},
            )
            for name in sorted(self.requests)
        }
        return _Answered(arms, {}, dict.fromkeys(arms, 0))

    def text(self, name: str, item: str) -> str:
        """The prompt of an item in an arm, empty where it is left out."""
        found = self.requests[name].get(item)
        return found[0].prompt.text if found else ""

    def elsewhere(self, baseline: Baseline) -> list[str]:
        """What to say when the baseline was made by another engine or on another processor."""
        differ = {
            part
            for name in self.requests
            for part in MACHINE
            if baseline.arms[name].identity.get(part) != self.identity(_condition(name))[part]
        }
        if not differ:
            return []
        what = " and ".join(
            {"cpu": "another processor", "engine": "another llama.cpp build or engine settings"}[p]
            for p in sorted(differ)
        )
        return [
            f"the baseline was made with {what}: every item is asked again here, and answers may "
            "differ for that alone; the verdict is statistical, as always"
        ]


def source_of(template: Template) -> Source:
    """A template's file as lines, with the examples in use after them."""
    return Source(template.id, _shown(template.path), template.sha256, template.lines)


def template_diff(before: Source | None, after: Source) -> TemplateDiff | None:
    """What changed in a template since the baseline; None when nothing did."""
    if before is None or before.sha256 == after.sha256:
        return None
    old, new = list(before.lines), list(after.lines)
    text = "\n".join(
        difflib.unified_diff(old, new, f"{after.path} (baseline)", after.path, n=2, lineterm="")
    )
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    line = min(same + 1, max(1, sum(not row.startswith("example: ") for row in new)))
    return TemplateDiff(after.path, line, text)


def prompt_digest(prompt: RenderedPrompt) -> str:
    """What the model is given, and the opening its answer is judged with, in 12 hex digits."""
    return tagged_hash(
        "gate prompt",
        {
            "token_ids": list(prompt.token_ids),
            "stops": list(prompt.stops),
            "prefill": prompt.prefill,
            "rules": asdict(prompt.rules) if prompt.rules else None,
            "rerank": asdict(prompt.rerank) if prompt.rerank else None,
        },
    )[:12]


def _refuse_stale(path: Path, baseline: Baseline, now: _Now) -> None:
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


def _refuse_unknown(now: _Now, options: GateOptions) -> None:
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


def _rendered(before: Arm, after: Arm, now: _Now) -> ArmVerdict:
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
            found.append(ArmVerdict(f"contrast: {name}", verdict, f"{b} against {a}: {sentence}"))
    return found


def _item(name: str, rows: Sequence[Scored], digest: str) -> Item:
    """An item's epochs as one line: the share that passed, the first answer."""
    outcomes = [_passes(row) for row in rows]
    known = [value for value in outcomes if value is not None]
    share = sum(known) / len(known) if known else None
    return Item(name, share, digest, shortened(rows[0].generation.answer))


def _passes(row: Scored) -> float | None:
    passed = all_pass(row.results)
    return None if passed is None else float(passed)


def _faults(rows: Sequence[Scored]) -> list[str]:
    """What the checks held against an item's answers, or why there is none."""
    faults = [
        f"{result.check_id}: {result.reason}"
        for row in rows
        for result in row.results
        if result.strict is False
    ]
    return faults + [row.generation.error for row in rows if row.generation.error]


def _condition(name: str) -> Condition:
    return Condition(*name.split("/", 2))


def _digest(value: object) -> str:
    return tagged_hash("gate", value)[:16]


def _shown(path: Path) -> str:
    absolute = path.absolute()
    inside = absolute.is_relative_to(Path.cwd())
    return absolute.relative_to(Path.cwd()).as_posix() if inside else path.name
