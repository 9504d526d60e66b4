"""Early decisions: what of an answer's verdicts its beginning settles, whatever follows.

Each check may have a :data:`harness.checks.registry.Decider`. Where generation stops once they have
decided, verdicts are those of the whole answer by construction: a decider speaks only for every
continuation at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, NamedTuple

from harness.checks.judging import judge
from harness.checks.registry import CodeSettings, Context, Verifier, bind, decider
from harness.checks.settled import ifbench, ifeval, own
from harness.checks.text.plain import Text, loose_variants
from harness.errors import CheckError
from harness.hashing import tagged_hash
from harness.records import CheckResult, CheckSpec, Sample

__all__ = [
    "EARLY_FORMS",
    "Settled",
    "early_digest",
    "ifbench",
    "ifeval",
    "is_settled",
    "judge_cut",
    "own",
    "settle",
]

VERSION = 1
"""Raised when a decider decides at another place: answers cut there are other answers."""

Form = Literal["check", "prompt"]
EARLY_FORMS: tuple[Form, ...] = ("check", "prompt")
"""``check``: stop when every verdict of the item is settled; ``prompt``: when its pass is."""

_OFF = CodeSettings()

OPEN = "not settled when the answer was cut"


class Settled(NamedTuple):
    """A check's verdicts as far as a beginning settles them; ``unsupported`` ones never come."""

    strict: bool | None
    loose: bool | None
    unsupported: bool = False

    @property
    def whole(self) -> bool:
        """Whether nothing is open."""
        return self.unsupported or (self.strict is not None and self.loose is not None)


def settle(sample: Sample, beginning: str) -> tuple[Settled, ...]:
    """What is settled of each check of the sample when its answer begins like this."""
    return tuple(_settle(sample, spec, beginning) for spec in sample.checks)


def is_settled(sample: Sample, beginning: str, form: str) -> bool:
    """Whether generation may stop here; a sample without checks is never settled."""
    if not beginning.strip() or not sample.checks:
        return False
    if form == "prompt":
        return _pass_settled(sample, beginning)
    return all(_settle(sample, spec, beginning).whole for spec in sample.checks)


def judge_cut(
    sample: Sample, beginning: str, *, code: CodeSettings = _OFF
) -> tuple[CheckResult, ...]:
    """Verdicts on an answer that was cut here: what is settled, and None for what is open."""
    judged = judge(sample, beginning, code=code)
    found = []
    for result, known in zip(judged, settle(sample, beginning), strict=True):
        if known.unsupported:
            found.append(result)
        elif known.strict is None:
            found.append(replace(result, strict=None, loose=None, reason=OPEN, spans=()))
        else:
            found.append(replace(result, strict=known.strict, loose=known.loose))
    return tuple(found)


def early_digest(sample: Sample, form: str) -> str:
    """What of an early decision enters a request's key; empty where none can be made.

    The form and the checks, with their arguments and versions: they say where an answer is cut.
    """
    able = [_able(spec) for spec in sample.checks]
    if not (any(able) if form == "prompt" else able and all(able)):
        return ""
    specs = [[spec.id, dict(spec.kwargs), *_written(bind(spec))] for spec in sample.checks]
    return tagged_hash("early", [VERSION, form, specs, list(sample.target), sample.query])[:16]


def _written(verifier: Verifier) -> list[Any]:
    """What tells a check from what it was before: its version, and the file of a user's own."""
    source = verifier.check.source
    return [verifier.version, source] if source else [verifier.version]


def _able(spec: CheckSpec) -> bool:
    verifier = _verifier(spec)
    return verifier is not None and decider(verifier.check.id) is not None


def _pass_settled(sample: Sample, beginning: str) -> bool:
    """One check is known to fail, or all are known to pass."""
    verdicts = []
    context = Context(Text(beginning), sample)
    for spec in sample.checks:
        verifier = _verifier(spec)
        if verifier is None:
            continue
        verdicts.append(_decided(verifier, context))
        if verdicts[-1] is False:
            return True
    return bool(verdicts) and all(verdicts)


def _verifier(spec: CheckSpec) -> Verifier | None:
    """The check's verifier, None where it has no verdict on any answer."""
    try:
        verifier = bind(spec)
    except CheckError:
        return None
    return verifier if verifier.check.missing() is None else None


def _settle(sample: Sample, spec: CheckSpec, beginning: str) -> Settled:
    verifier = _verifier(spec)
    if verifier is None:
        return Settled(None, None, unsupported=True)
    if not beginning.strip():
        return Settled(None, None)
    strict = _decided(verifier, Context(Text(beginning), sample))
    if strict is not False:
        return Settled(strict, strict)
    return Settled(False, _loose(verifier, sample, beginning))


def _loose(verifier: Verifier, sample: Sample, beginning: str) -> bool | None:
    """The loose verdict of an answer whose strict one is False, as far as it is settled.

    Each of IFEval's other views of the whole answer begins with the same view of its beginning,
    less the white space at that view's end.
    """
    found: list[bool | None] = []
    for view in loose_variants(beginning)[1:]:
        if not view:
            found.append(None)
            continue
        found.append(_decided(verifier, Context(Text(view), sample)))
        if found[-1]:
            return True
    return False if all(verdict is False for verdict in found) else None


def _decided(verifier: Verifier, context: Context) -> bool | None:
    decide = decider(verifier.check.id)
    if decide is None or context.derived.blank:
        return None
    return decide(context, **verifier.kwargs)
