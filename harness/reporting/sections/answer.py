"""The answer: what to do, and the figures it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from harness import numbers
from harness.analysis import Analysis, BestWrapper, ConditionSummary, decide
from harness.records import Decision
from harness.reporting.markdown import WIDEST, arm_name, code, paragraphs, table
from harness.sanitize import for_markdown
from harness.stats.power import items_to_detect

_SMALL_GOAL = 0.03


def the_answer(analysis: Analysis) -> str:
    """What to do, in the words that terminal and HTML use too, and the figures it rests on."""
    best = analysis.best_at(analysis.level)
    notes = "" if best else for_markdown(" ".join(analysis.notes))
    return paragraphs(
        decisions_section(decide(analysis)) or f"**Nothing is decided:** {notes}",
        _ends_and_best(analysis, best),
        _selection(best) if best else "",
        _power(analysis),
        _missing(analysis),
    )


def decisions_section(decisions: Sequence[Decision]) -> str:
    """Decisions as a list: the sentence, then its evidence and what would settle what is open."""
    lines = []
    for item in decisions:
        lines.append(f"- **{item.topic}, {item.verdict}:** {for_markdown(item.sentence)}")
        lines += [f"  - {for_markdown(line)}" for line in item.evidence]
        if item.settle:
            lines.append(f"  - To settle it: {for_markdown(item.settle)}")
    return "\n".join(lines)


def _ends_and_best(analysis: Analysis, best: BestWrapper | None) -> str:
    """The scores of raw, best wrapper and instruct, those that were run."""
    rows = []
    if raw := analysis.summary(analysis.raw) if analysis.raw else None:
        rows.append(_end("raw base", raw))
    if best is not None:
        name = f"best wrapper, chosen on other prompts (overall: {arm_name(best.winner)})"
        above = numbers.percent(_above(analysis, best.score.value))
        rows.append([name, numbers.rate(best.score), above])
    if instruct := analysis.summary(analysis.instruct) if analysis.instruct else None:
        rows.append(_end("instruct", instruct))
    if not rows:
        return ""
    counted = numbers.size(analysis.n_headline, f"{_kind(analysis)} item")
    return paragraphs(
        f"Prompt-level strict accuracy at {code(analysis.level)} on {counted}, "
        "with 95 % intervals:",
        table(["", "score", "above the null floor"], rows),
    )


def _end(role: str, item: ConditionSummary) -> list[str]:
    """The row of one end of the gap."""
    return [
        f"{role} ({arm_name(item.condition)})",
        numbers.rate(item.headline.prompt_strict),
        numbers.percent(item.headline.null_corrected.value),
    ]


def _selection(best: BestWrapper) -> str:
    won = ", ".join(f"{code(name)} on {count}" for name, count in sorted(best.folds.items()))
    return (
        "The best wrapper is selected on four fifths of the prompts and judged on the other fifth, "
        f"for each fifth in turn ({won}), so that picking the luckiest does not count as skill; "
        "the interval runs the selection again in every resample." + _named(best)
    )


def _named(best: BestWrapper) -> str:
    """What may be claimed of the wrapper with the best score, which a user would deploy."""
    if best.named is None:
        return ""
    named = best.named
    return (
        f" {arm_name(named.condition)} has the best score: {numbers.rate(named.score)}, "
        f"{numbers.points(named.gain)} against raw, intervals that hold for all candidates at "
        f"once; it is the best in {numbers.percent(named.chance, 0)} of resamples."
    )


def _power(analysis: Analysis) -> str:
    """The sentence every report must have."""
    parts = []
    for power in analysis.power:
        if power.effect is None:
            parts.append(
                f"{numbers.size(power.n, 'independent item')} detect no difference four times of "
                f"five at {numbers.percent(power.discordance, 0)} discordance "
                f"({for_markdown(power.basis)})."
            )
            continue
        holm = ""
        if power.family > 1 and power.first_step is not None:
            after = numbers.plain_points(power.first_step)
            holm = f", {after} at the first step of Holm's method over {power.family}"
        parts.append(
            f"{numbers.size(power.n, 'independent item')} give an 80 % chance to detect "
            f"{numbers.plain_points(power.effect)} at {numbers.percent(power.discordance, 0)} "
            f"discordance in one test{holm} ({for_markdown(power.basis)})."
        )
    if analysis.power:
        first = analysis.power[0]
        needed = items_to_detect(_SMALL_GOAL, first.discordance)
        parts.append(
            f"Detecting {numbers.plain_points(_SMALL_GOAL)} at "
            f"{numbers.percent(first.discordance, 0)} discordance takes "
            f"{numbers.size(needed, 'item')}."
        )
    return " ".join(parts)


def _missing(analysis: Analysis) -> str:
    """What is not in the figures, said where the figures are read."""
    missing = [item for item in analysis.conditions if item.overall.n_missing]
    unsupported = sum(item.n_unsupported for item in analysis.conditions)
    parts = []
    if missing:
        total = sum(item.overall.n_missing for item in missing)
        parts.append(
            f"Missing: {numbers.size(total, 'answer')} over "
            f"{numbers.size(len(missing), 'condition')} (not expressible, or failed). A missing "
            "answer counts as wrong: missing is no way to win. On the items that every "
            f"condition answered: {_common(missing)}."
        )
    if unsupported:
        parts.append(
            f"{numbers.size(unsupported, 'verdict')} of unsupported checks left out of every "
            "metric."
        )
    return " ".join(parts)


def _common(missing: list[ConditionSummary]) -> str:
    """The common-items score and the bounds of the arms that owe answers."""
    told = []
    for item in missing[:WIDEST]:
        low, high = item.bounds or (None, None)
        told.append(
            f"{code(str(item.condition))} {numbers.rate(item.common)} on {item.common.n} items "
            f"(missing all wrong {numbers.percent(low)}, all right {numbers.percent(high)})"
        )
    return "; ".join(told)


def _above(analysis: Analysis, value: float | None) -> float | None:
    if value is None or analysis.floor is None or analysis.floor.value >= 1:
        return None
    return (value - analysis.floor.value) / (1 - analysis.floor.value)


def _kind(analysis: Analysis) -> str:
    return numbers.listed(list(analysis.headline_kinds))
