"""What is wrong with a changed template whatever its answers say: lint errors, lost parts."""

from __future__ import annotations

from harness.gate.baseline import Baseline
from harness.gate.judge import LOST, TEMPLATE, ArmVerdict
from harness.gate.sources import lost_parts
from harness.gate.state import State
from harness.strategies import template_problems


def lint(baseline: Baseline, now: State) -> list[ArmVerdict]:
    """A ``regress`` for each template that changed since the baseline and shows an error.

    Errors are those of ``harness template check``, a part that the baseline's template had (system,
    prefill, examples, stop strings) and examples in another order; of an experiment's arm, a system
    text, persona or prefill that it was given. A small model's answers may not show them;
    ``--update`` accepts them.
    """
    found = []
    for name, source in now.sources.items():
        known = baseline.templates.get(name)
        if known is None or known.sha256 == source.sha256:
            continue
        problems = template_problems(now.templates[name])
        errors = [*lost_parts(known, source)]
        errors += [problem.message for problem in problems if problem.severity == "error"]
        if errors:
            said = "lint: " + "; ".join(errors)
            found.append(ArmVerdict(f"{TEMPLATE}{name}", "regress", said, name))
    return found + _arms(baseline, now)


def _arms(baseline: Baseline, now: State) -> list[ArmVerdict]:
    """Arms that the experiment gave a part of their own and gives it no more."""
    found = []
    for name in sorted(now.requests):
        known = baseline.arms[name]
        lost = [part for part in known.gives if part not in now.gives(name)]
        if lost:
            said = "lint: " + "; ".join(f"the experiment gives it no {part} now" for part in lost)
            found.append(ArmVerdict(f"{LOST}{name}", "regress", said, known.template))
    return found
