"""An experiment as it stands: its prompts, what its answers depend on, and the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness import checks
from harness.checks import CodeSettings
from harness.config import Experiment
from harness.experiment import Prepared, RunOptions, Watcher, prepare
from harness.experiment.generate import generate
from harness.experiment.judging import collect, score
from harness.gate.baseline import Arm, Baseline, Item, shortened
from harness.gate.sources import source_of
from harness.hashing import tagged_hash
from harness.records import Cell, Condition, RenderedPrompt, Request, Sample, Scored
from harness.store import Store
from harness.strategies import load_templates

MACHINE = ("engine", "cpu")
"""The parts of an arm's identity that say where it ran, not what was asked."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Arms as they are now; by arm why items failed and how many were answered anew."""

    arms: Mapping[str, Arm]
    reasons: Mapping[str, Mapping[str, str]]
    asked: Mapping[str, int]
    generated: int = 0


class State:
    """The experiment as it stands: its plan, its templates, and what its answers depend on."""

    def __init__(self, experiment: Experiment, options: RunOptions, watcher: Watcher) -> None:
        self.experiment, self._options, self._watcher = experiment, options, watcher
        self.prepared: Prepared = prepare(experiment, options, watcher=watcher)
        plan = self.prepared.plan
        self.samples: dict[str, Sample] = {sample.id: sample for sample in plan.samples}
        self.templates = load_templates([Path(name) for name in self.prepared.experiment.templates])
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
        self.sources = {name: source_of(self.templates[name]) for name in sorted(plan.templates)}
        self._identities: dict[Cell, dict[str, str]] = {}
        self._prompts: dict[str, dict[str, str]] = {}

    def template(self, condition: Condition) -> str:
        """The id of the template behind a condition."""
        return self._strategies[condition.stage, condition.strategy].strategy

    def gives(self, name: str) -> tuple[str, ...]:
        """The parts that the experiment itself adds to an arm's template."""
        condition = _condition(name)
        arm = self._strategies[condition.stage, condition.strategy]
        return tuple(part for part in ("system", "persona", "prefill") if getattr(arm, part))

    def identity(self, condition: Condition) -> dict[str, str]:
        """What an arm's answers and verdicts depend on besides its prompts."""
        cell = condition.cell
        if cell not in self._identities:
            plan = self.prepared.plan
            model = next(m for m in plan.stage_models if m.cell == cell)
            engine = asdict(self.prepared.backends.of(model).identity(plan.settings[cell]))
            experiment = self.prepared.experiment
            specs = {check.id for sample in plan.samples for check in sample.checks}
            self._identities[cell] = {
                "model": model.model.sha256[:16],
                "sampling": _digest(
                    [asdict(experiment.sampling.record()), experiment.seed, experiment.epochs]
                ),
                "suites": _digest(sorted(self.prepared.suites.items())),
                "checks": _digest(sorted(_version(name) for name in specs)),
                "cpu": _digest(engine.pop("cpu_features")),
                "engine": _digest(engine),
            }
        return self._identities[cell]

    def prompts(self, name: str) -> dict[str, str]:
        """Digests of an arm's prompts by item; of an item left out, of the reason."""
        if name not in self._prompts:
            asked = {
                item: prompt_digest(found[0].prompt) for item, found in self.requests[name].items()
            }
            left_out = {item: _digest(why) for item, why in self.skipped.get(name, {}).items()}
            self._prompts[name] = {**asked, **left_out}
        return self._prompts[name]

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

    def answer(self, baseline: Baseline, wanted: Mapping[str, Set[str]] | None = None) -> Answered:
        """Every arm as it is now: unchanged items as the baseline has them, the others asked.

        ``wanted`` names by arm the changed items to ask (None: all of them); the changed items
        that it leaves out are not in the arm that is returned.
        """
        changed = self.changed(baseline)
        asked = changed if wanted is None else {name: set(wanted[name]) for name in changed}
        scored, generated = self._scored(asked)
        rows: dict[str, dict[str, list[Scored]]] = {}
        for row in scored:
            rows.setdefault(str(row.condition), {}).setdefault(row.sample.id, []).append(row)
        arms, reasons = {}, {}
        for name in sorted(self.requests):
            known = baseline.arms.get(name)
            items = {
                item: _item(item, rows[name][item], digest)
                if item in asked[name]
                else known.items[item]  # type: ignore[union-attr]  # unchanged, so it is there
                for item, digest in sorted(self.prompts(name).items())
                if item in asked[name] or item not in changed[name]
            }
            arms[name] = self.arm(name, items)
            reasons[name] = {
                item: "; ".join(dict.fromkeys(_faults(found)))
                for item, found in rows.get(name, {}).items()
            }
        return Answered(
            arms, reasons, {name: len(items) for name, items in asked.items()}, generated
        )

    def arm(self, name: str, items: Mapping[str, Item]) -> Arm:
        """An arm as it is now, with these items."""
        condition = _condition(name)
        return Arm(
            name, self.template(condition), self.identity(condition), items, self.gives(name)
        )

    def _scored(self, asked: Mapping[str, Set[str]]) -> tuple[list[Scored], int]:
        """The verdicts on some items by arm, and how many answers were generated for them."""
        if not any(asked.values()):
            return [], 0
        plan = self.prepared.plan
        part = replace(
            plan,
            requests={
                cell: tuple(r for r in group if r.sample_id in asked[str(r.condition)])
                for cell, group in plan.requests.items()
            },
            skipped=tuple(
                gap for gap in plan.skipped if gap.sample_id in asked[str(gap.condition)]
            ),
        )
        with Store(self._options.store) as store:
            answers = generate(
                replace(self.prepared, plan=part),
                store,
                self._options.use_cache,
                watcher=self._watcher,
            )
        scored = score(
            collect(part, answers.generations),
            jobs=self._options.jobs,
            code=CodeSettings(self.prepared.experiment.code),
        )
        return scored, answers.generated

    def render(self, baseline: Baseline) -> Answered:
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
        return Answered(arms, {}, dict.fromkeys(arms, 0))

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


def _item(name: str, rows: Sequence[Scored], digest: str) -> Item:
    """An item's epochs as one line: the share that passed, the first answer."""
    known = [row.passed for row in rows if row.passed is not None]
    share = sum(known) / len(known) if known else None
    return Item(name, share, digest, shortened(rows[0].generation.answer))


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


def _version(name: str) -> list[object]:
    """A check's version, and the file of a user's own."""
    found = checks.find_check(name)
    return [name, found.version, *([found.source[:16]] if found.source else [])]


def _digest(value: object) -> str:
    return tagged_hash("gate", value)[:16]
