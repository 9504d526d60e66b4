"""From answers to verdicts: strict and loose, one row per instruction, never raising."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TypeVar

from harness.checks.registry import (
    CodeSettings,
    Context,
    Outcome,
    Unsupported,
    Verifier,
    bind,
    resolve,
)
from harness.checks.text.plain import Text, loose_variants
from harness.checks.text.spans import MOST
from harness.errors import CheckError
from harness.records import CheckResult, CheckSpec, Sample, Span

Item = TypeVar("Item")
Found = TypeVar("Found")

_OFF = CodeSettings()
_CHUNK = 32
_TOO_SLOW = Outcome(False, "the pattern took more than a second on this answer")


def validate(spec: CheckSpec) -> None:
    """Refuse a row's check while a suite is loaded.

    Raises CheckError on an unknown id, on arguments the check cannot take, and on an IFEval type
    whose libraries are not installed.
    """
    resolve(spec)


def judge(
    sample: Sample,
    response: str,
    *,
    request_key: str = "",
    code: CodeSettings = _OFF,
    tokens: int | None = None,
) -> tuple[CheckResult, ...]:
    """One row per check of the sample: strict and loose verdict, version and reason.

    ``response`` is the view to be judged, with the prefilled opening where one was given;
    ``tokens`` is how many the model generated for it, None where that is not known. Loose
    is true when any of IFEval's eight variants of the answer passes. A blank answer fails every
    check. A check that cannot be done here gives None for both; one that raises gives False and
    says so. Never raises.
    """
    views = _Views(sample, response, code, tokens)
    return tuple(views.judge(index, spec, request_key) for index, spec in enumerate(sample.checks))


class _Views:
    """The answer and its loose variants, derived once for all checks of an item."""

    def __init__(
        self, sample: Sample, response: str, code: CodeSettings, tokens: int | None
    ) -> None:
        self._sample, self._code, self._tokens = sample, code, tokens
        self._strict = self._context(response)
        self._loose: list[Context] | None = None

    def judge(self, index: int, spec: CheckSpec, request_key: str) -> CheckResult:
        try:
            verifier = bind(spec)
        except CheckError as error:
            return CheckResult(request_key, index, spec.id, 0, None, None, str(error))
        version = verifier.version
        strict = _outcome(verifier, self._strict)
        loose = strict.value
        if loose is False and strict is not _TOO_SLOW:
            loose = self._any_variant(verifier)
        return CheckResult(
            request_key,
            index,
            spec.id,
            version,
            strict.value,
            loose,
            strict.reason,
            _inside(strict.spans, self._strict.text),
            verifier.check.source[:16],
        )

    def _any_variant(self, verifier: Verifier) -> bool:
        if self._loose is None:
            variants = loose_variants(self._strict.text)[1:]
            self._loose = [self._context(view) for view in variants if view.strip()]
        for view in self._loose:
            outcome = _outcome(verifier, view)
            if outcome.value or outcome is _TOO_SLOW:
                return outcome.value is True
        return False

    def _context(self, text: str) -> Context:
        return Context(Text(text), self._sample, self._code, self._tokens)


def _inside(spans: Iterable[Span], text: str) -> tuple[Span, ...]:
    """The first of a check's places that lie in the text: a user's own check may say anything."""
    return tuple((a, b) for a, b in islice(spans, MOST) if 0 <= a < b <= len(text))


def _outcome(verifier: Verifier, context: Context) -> Outcome:
    lacking = verifier.check.missing()
    if lacking:
        return Outcome(None, f"unsupported: {lacking}")
    if context.derived.blank:
        return Outcome(False, "the answer is blank")
    try:
        outcome = verifier(context)
        if isinstance(outcome, Outcome):
            return outcome
        said = f"the check returned {type(outcome).__name__}, wanted Outcome(True or False, reason)"
        return Outcome(False, said)
    except Unsupported as error:
        return Outcome(None, f"unsupported: {error}")
    except TimeoutError:
        return _TOO_SLOW
    except Exception as error:  # a check must never stop a run; what happened is the verdict
        return Outcome(False, f"the check failed: {type(error).__name__}: {error}")


def judge_many(
    items: Iterable[tuple[Sample, str, str]],
    *,
    jobs: int | None = None,
    code: CodeSettings = _OFF,
) -> Iterator[tuple[CheckResult, ...]]:
    """Judge ``(sample, response, request key)`` items in parallel over cores, in their order.

    ``jobs`` as for :func:`in_parallel`.
    """
    yield from in_parallel(partial(_judge_item, code), list(items), jobs)


def _judge_item(code: CodeSettings, item: tuple[Sample, str, str]) -> tuple[CheckResult, ...]:
    sample, response, request_key = item
    return judge(sample, response, request_key=request_key, code=code)


def in_parallel(
    examine: Callable[[Item], Found], work: Sequence[Item], jobs: int | None = None
) -> Iterator[Found]:
    """What ``examine`` finds in each item, in their order, in processes that know all checks.

    ``jobs`` None: one process per core when there is enough work; 1: in this process, as it is
    when a check was written in a script or a notebook, which other processes do not run. Otherwise
    ``examine``, the items and what is found have to be picklable.
    """
    workers = min(jobs or os.cpu_count() or 1, -(-len(work) // _CHUNK))
    if jobs is None and len(work) < 8 * _CHUNK:
        workers = 1  # starting a process costs more than judging a few hundred answers
    from harness.checks.plugins import load_plugins, loaded, only_here

    if workers <= 1 or only_here():
        yield from map(examine, work)
        return
    from harness.process import pool

    with pool(workers, load_plugins, loaded()) as processes:
        yield from processes.map(examine, work, chunksize=_CHUNK)


def metrics(results: Iterable[Sequence[CheckResult]]) -> Mapping[str, float | int | None]:
    """IFEval's four accuracies over answers, with what they were taken from.

    A verdict of None leaves every metric: its instruction is not counted, and an item with no
    verdict left is no prompt. ``n_unsupported`` says how many instructions that were. An accuracy
    over nothing is None.
    """
    prompts = instructions = unsupported = 0
    passed = dict.fromkeys(("strict", "loose", "prompt_strict", "prompt_loose"), 0)
    for rows in results:
        judged = [row for row in rows if row.strict is not None and row.loose is not None]
        unsupported += len(rows) - len(judged)
        if not judged:
            continue
        prompts, instructions = prompts + 1, instructions + len(judged)
        for kind in ("strict", "loose"):
            verdicts = [bool(getattr(row, kind)) for row in judged]
            passed[kind] += sum(verdicts)
            passed[f"prompt_{kind}"] += all(verdicts)
    return {
        "prompt_level_strict_acc": _share(passed["prompt_strict"], prompts),
        "inst_level_strict_acc": _share(passed["strict"], instructions),
        "prompt_level_loose_acc": _share(passed["prompt_loose"], prompts),
        "inst_level_loose_acc": _share(passed["loose"], instructions),
        "n_prompts": prompts,
        "n_instructions": instructions,
        "n_unsupported": unsupported,
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
