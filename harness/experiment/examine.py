"""A suite before it is asked: every error, what looks wrong, and what its items can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness import checks, numbers
from harness.checks import CONTROLS, MAJORITY
from harness.checks.conflicts import conflicts, counted
from harness.checks.registry import written
from harness.datasets import Line, Source, locate, read_suite
from harness.datasets.variables import PLACE
from harness.errors import SuiteError
from harness.experiment.forecast import DISCORDANCES, independent
from harness.experiment.twins import twins
from harness.intake import near, shown
from harness.records import CheckSpec, Message, Sample, all_pass
from harness.stats.power import default_margin, minimum_detectable_effect

BROKEN = ("the check failed: ", "the check returned ")
"""How the reason of a check begins that did not judge."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to say of a suite: an ``error`` (a row that is refused, an item that nothing can
    pass, a check that does not judge), or a ``warning``.

    ``line`` is 0 where it concerns the whole file.
    """

    grade: Literal["error", "warning"]
    file: str
    line: int
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{self.grade}: {place}: {self.text}"


@dataclass(frozen=True, slots=True)
class Examined:
    """A suite's good items, the remarks on all of it, and figures on the good ones.

    ``floor`` is each null responder's share of passed items, ``unasked`` how many items at least
    one of them passes; ``seen`` pairs a discordance with the difference that so many independent
    items show four times of five (None: none).
    """

    name: str
    lines: tuple[Line, ...]
    remarks: tuple[Remark, ...]
    floor: Mapping[str, float]
    unasked: int
    independent: int
    seen: tuple[tuple[float, float | None], ...]

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The items that are good."""
        return tuple(line.sample for line in self.lines if line.sample is not None)

    @property
    def errors(self) -> int:
        """How many of the remarks are errors."""
        return sum(remark.grade == "error" for remark in self.remarks)

    @property
    def judged(self) -> int:
        """How many items have a check."""
        return sum(bool(sample.checks) for sample in self.samples)

    @property
    def margin(self) -> float:
        """The margin that so many items resolve."""
        return default_margin(self.independent)


def examine(source: Source) -> Examined:
    """Look a whole suite through; no model is loaded, no answer's code is run.

    Raises SuiteError when there is no such suite, FetchError as loading does.
    """
    name, place = locate(source)
    lines, remarks = _read(source, place)
    good = [(line, line.sample) for line in lines if line.sample is not None]
    for line, sample in good:
        remarks += [
            Remark("error", str(line.file), line.number, text) for text in conflicts(sample)
        ]
        remarks += [Remark("warning", str(line.file), line.number, text) for text in _odd(sample)]
    remarks += _alike(good)
    remarks += _lonely_names(good)
    floor, unasked, broken = _floor(good)
    remarks += [*broken, *_wrong_examples()]
    items = independent([sample for _, sample in good])
    order = {(str(line.file), line.number): n for n, line in enumerate(lines)}
    remarks.sort(key=lambda r: (r.grade, order.get((r.file, r.line), -1)))
    seen = tuple((share, minimum_detectable_effect(items, share)) for share in DISCORDANCES)
    return Examined(name, tuple(lines), tuple(remarks), floor, unasked, items, seen)


def _read(source: Source, place: Path) -> tuple[list[Line], list[Remark]]:
    """Every row, and everything that is wrong with the rows or the file."""
    lines: list[Line] = []
    remarks: list[Remark] = []
    try:
        for line in read_suite(source, validate=checks.validate):
            lines.append(line)
            remarks += [
                Remark("error", str(line.file), line.number, text) for text in line.problems
            ]
    except SuiteError as error:
        remarks.append(_of_the_file(str(error), place))
    if not lines and not remarks:
        remarks.append(Remark("error", str(place), 0, "the suite has no rows"))
    return lines, remarks


def _of_the_file(message: str, place: Path) -> Remark:
    """An error that ended the reading; its message begins with the file, and maybe a line."""
    file, _, rest = message.partition(": ")
    path, _, number = file.rpartition(":")
    if path and number.isdecimal():
        return Remark("error", path, int(number), rest)
    known = rest and Path(file).exists()
    return Remark("error", file, 0, rest) if known else Remark("error", str(place), 0, message)


def _odd(sample: Sample) -> Iterator[str]:
    """What looks wrong with an item and is allowed."""
    for turn in sample.messages:
        for match in PLACE.finditer(turn.content):
            yield f"{match[0]} is asked as it stands: the row has no variables"
    for number, spec in enumerate(sample.checks):
        bounds = counted(spec)
        if bounds and bounds.what == "words" and bounds.low > (sample.max_tokens or bounds.low):
            yield (
                f"checks.{number} ({spec.id}): {bounds.low:g} words hardly fit the item's "
                f"max_tokens, {sample.max_tokens}"
            )


def _alike(good: Sequence[tuple[Line, Sample]]) -> list[Remark]:
    """Prompts that are nearly the same and not said to be paraphrases."""
    texts = ["\n".join(turn.content for turn in sample.messages) for _, sample in good]
    groups = [sample.group for _, sample in good]
    remarks = []
    for cluster in twins(texts):
        first = good[cluster[0]][0]
        if len({groups[n] or n for n in cluster}) == 1:
            continue
        others = ", ".join(str(good[n][0].number) for n in cluster[1:6])
        more = f" and {len(cluster) - 6} more" if len(cluster) > 6 else ""
        same = "the same" if len({texts[n] for n in cluster}) == 1 else "nearly the same"
        text = (
            f"{same} prompt as on line {others}{more}: such items say one thing more than once; "
            "join them with a group, or keep one"
        )
        remarks.append(Remark("warning", str(first.file), first.number, text))
    return remarks


def _lonely_names(good: Sequence[tuple[Line, Sample]]) -> list[Remark]:
    """A category, tag or group of one item that is nearly the name of another."""
    remarks = []
    kinds: Mapping[str, Any] = {
        "category": lambda sample: [sample.category],
        "tag": lambda sample: list(sample.tags),
        "group": lambda sample: [sample.group] if sample.group else [],
    }
    for kind, names_of in kinds.items():
        count = Counter(name for _, sample in good for name in names_of(sample))
        often = [name for name, times in count.items() if times > 1]
        for line, sample in good:
            for name in names_of(sample):
                hint = near(name, often) if count[name] == 1 else ""
                if hint and not any(letter.isdigit() for letter in name):
                    text = f"{kind} {name!r:.60} occurs once; {hint}".strip()
                    remarks.append(Remark("warning", str(line.file), line.number, text))
    return remarks


def _floor(
    good: Sequence[tuple[Line, Sample]],
) -> tuple[dict[str, float], int, list[Remark]]:
    """What responders that ask no model score, how many items they pass, which checks break."""
    judged = [(line, sample) for line, sample in good if sample.checks]
    common = checks.majority_answers([sample for _, sample in judged])
    passed: Counter[str] = Counter()
    unasked: set[int] = set()
    broken: dict[tuple[str, int, str], None] = {}
    for number, (line, sample) in enumerate(judged):
        answers = {name: checks.respond(name, sample) for name in CONTROLS}
        if sample.suite in common:
            answers[MAJORITY] = common[sample.suite][0]
        for name, text in answers.items():
            results = checks.judge(sample, text)
            for result in results:
                if result.reason.startswith(BROKEN):
                    place = f"checks.{result.index} ({result.check_id}): {result.reason}"
                    broken[str(line.file), line.number, place] = None
            if all_pass(results):
                passed[name] += 1
                unasked.add(number)
    names = [*CONTROLS, *([MAJORITY] if common else [])]
    floor = {name: passed[name] / len(judged) for name in names} if judged else {}
    remarks = [Remark("error", file, line, text) for file, line, text in broken]
    return floor, len(unasked), remarks


def _wrong_examples() -> Iterator[Remark]:
    """Examples of the user's own checks that get another verdict than they are given for."""
    for check in checks.all_checks().values():
        if not check.source:
            continue
        code = written(check.run).__code__
        for passes, examples in ((True, check.passes), (False, check.fails)):
            for example in examples:
                spec = CheckSpec(check.id, dict(example.kwargs))
                sample = Sample("-", (Message("user", example.prompt or "-"),), (spec,))
                (result,) = checks.judge(sample, example.text, tokens=example.tokens)
                if result.strict not in (passes, None) or result.version == 0:
                    verdict = "passes" if passes else "fails"
                    text = (
                        f"check {check.id!r}: {shown(example.text)} is an example that {verdict}, "
                        f"and it does not: {result.reason}"
                    )
                    yield Remark("error", code.co_filename, code.co_firstlineno, text)


def summary(examined: Examined) -> str:
    """``12 items in 3 categories, 10 judged (label 8, json_schema 4)``."""
    samples = examined.samples
    used = Counter(spec.id for sample in samples for spec in sample.checks)
    kinds = ", ".join(f"{name} {count}" for name, count in used.most_common(8))
    more = f" and {len(used) - 8} more kinds" if len(used) > 8 else ""
    categories = len({sample.category for sample in samples})
    said = f" ({kinds}{more})" if kinds else ""
    return (
        f"{examined.name}: {numbers.size(len(samples), 'item')} in "
        f"{categories} {'category' if categories == 1 else 'categories'}, "
        f"{examined.judged} judged{said}"
    )
