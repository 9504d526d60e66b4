"""The tables of a run: rows, columns and their types, for CSV files and data frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.analysis import Analysis, ConditionSummary
from harness.analysis.summaries import LEFT_OUT
from harness.records import Comparison, Estimate, Scored, all_loose
from harness.reporting.cells import Row
from harness.reporting.scrub import scrub_text
from harness.stats.recovery import Recovery


def ordered(scored: Sequence[Scored]) -> list[Scored]:
    """Rows in the order every file is written in, whatever order they came in."""
    return sorted(
        scored,
        key=lambda row: (
            row.sample.suite,
            row.sample.id,
            row.condition,
            row.epoch,
            row.key,
        ),
    )


SAMPLE_COLUMNS = [
    "sample_id",
    "suite",
    "kind",
    "category",
    "stage",
    "level",
    "strategy",
    "epoch",
    "prompt",
    "prefill",
    "text",
    "answer",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
    "seconds",
    "prompt_level_strict",
    "prompt_level_loose",
    "first_turn_strict",
    "untrimmed_strict",
    "request_key",
    "error",
]


def answer_rows(scored: Sequence[Scored]) -> Iterator[Row]:
    """One row per answer, without its verdicts' details."""
    for row in ordered(scored):
        generation = row.generation
        yield {
            "sample_id": row.sample.id,
            "suite": row.sample.suite,
            "kind": row.sample.kind,
            "category": row.sample.category,
            "stage": row.condition.stage,
            "level": row.condition.level,
            "strategy": row.condition.strategy,
            "epoch": row.epoch,
            "prompt": row.prompt,
            "prefill": row.prefill,
            "text": generation.text,
            "answer": generation.answer,
            "finish_reason": generation.finish_reason,
            "prompt_tokens": generation.prompt_tokens,
            "completion_tokens": generation.completion_tokens,
            "seconds": generation.seconds,
            "prompt_level_strict": row.passed,
            "prompt_level_loose": None if row.passed is None else all_loose(row.results),
            "first_turn_strict": row.views.first_turn,
            "untrimmed_strict": row.views.untrimmed,
            "request_key": row.key,
            "error": generation.error,
        }


SCORE_COLUMNS = [
    "sample_id",
    "stage",
    "level",
    "strategy",
    "epoch",
    "check_index",
    "check_id",
    "version",
    "strict",
    "loose",
    "reason",
    "category",
]


def score_rows(scored: Sequence[Scored]) -> Iterator[Row]:
    """One row per sample × condition × check; verdicts are True, False, or empty where missing."""
    for row in ordered(scored):
        condition = row.condition
        about = {
            "sample_id": row.sample.id,
            "stage": condition.stage,
            "level": condition.level,
            "strategy": condition.strategy,
            "epoch": row.epoch,
            "category": row.sample.category,
        }
        if row.generation.finish_reason == "failed":
            last_words = scrub_text(row.generation.error or "no error was reported")
            for index, spec in enumerate(row.sample.checks):
                yield about | {
                    "check_index": index,
                    "check_id": spec.id,
                    "version": 0,  # no check of any version has judged it
                    "strict": None,
                    "loose": None,
                    "reason": f"missing, no answer: {last_words}",
                }
            continue
        for result in row.results:
            yield about | {
                "check_index": result.index,
                "check_id": result.check_id,
                "version": result.version,
                "strict": result.strict,
                "loose": result.loose,
                "reason": result.reason,
            }


SUMMARY_COLUMNS = [
    "stage",
    "level",
    "strategy",
    "n",
    "n_missing",
    "n_unsupported",
    "n_failed",
    "n_generations",
    "prompt_level_strict_acc",
    "prompt_level_strict_low",
    "prompt_level_strict_high",
    "inst_level_strict_acc",
    "inst_level_strict_low",
    "inst_level_strict_high",
    "prompt_level_loose_acc",
    "prompt_level_loose_low",
    "prompt_level_loose_high",
    "inst_level_loose_acc",
    "inst_level_loose_low",
    "inst_level_loose_high",
    "null_corrected_acc",
    "n_headline",
    "headline_strict_acc",
    "headline_strict_low",
    "headline_strict_high",
    "headline_null_corrected_acc",
    "eos_rate",
    "stop_rate",
    "length_rate",
    "loop_rate",
    "mean_prompt_tokens",
    "mean_completion_tokens",
    "tokens_per_second_per_sequence",
    "bits_per_weight",
]


def summary_rows(analysis: Analysis) -> Iterator[Row]:
    """One row per condition and control: the four metrics over every item, and the headline's."""
    for item in (*analysis.conditions, *analysis.controls):
        yield _summary_row(item)


def _summary_row(item: ConditionSummary) -> Row:
    every, headline = item.overall, item.headline
    row: Row = {
        "stage": item.condition.stage,
        "level": item.condition.level,
        "strategy": item.condition.strategy,
        "n": every.n,
        "n_missing": every.n_missing,
        "n_unsupported": item.n_unsupported,
        "n_failed": item.n_failed,
        "n_generations": item.n_generations,
        "null_corrected_acc": every.null_corrected.value,
        "n_headline": headline.n,
        "headline_null_corrected_acc": headline.null_corrected.value,
        "eos_rate": item.eos_rate,
        "mean_prompt_tokens": item.mean_prompt_tokens,
        "mean_completion_tokens": item.mean_completion_tokens,
        "tokens_per_second_per_sequence": item.tokens_per_second,
        "bits_per_weight": item.bits_per_weight,
    }
    answered = 1 - item.finish["failed"] - item.finish[LEFT_OUT]
    for reason in ("stop", "length", "loop"):
        row[f"{reason}_rate"] = item.finish[reason] / answered if answered > 0 else None
    return (
        row
        | _ends("prompt_level_strict", every.prompt_strict)
        | _ends("inst_level_strict", every.inst_strict)
        | _ends("prompt_level_loose", every.prompt_loose)
        | _ends("inst_level_loose", every.inst_loose)
        | _ends("headline_strict", headline.prompt_strict)
    )


def _ends(name: str, estimate: Estimate) -> Row:
    return {
        f"{name}_acc": estimate.value,
        f"{name}_low": estimate.low,
        f"{name}_high": estimate.high,
    }


COMPARISON_COLUMNS = [
    "family",
    "contrast",
    "a",
    "b",
    "delta",
    "low",
    "high",
    "method",
    "n",
    "n_missing",
    "p",
    "adjusted_p",
    "adjustment",
    "wins",
    "losses",
    "ties",
    "flip_rate",
]


def comparison_rows(analysis: Analysis) -> Iterator[Row]:
    """Every paired comparison: declared (Holm) and explored (Benjamini–Hochberg)."""
    for family, items, adjustment in (
        ("declared", analysis.declared, "Holm"),
        ("explored", analysis.explored, "Benjamini-Hochberg"),
        ("interaction", analysis.interactions, "Benjamini-Hochberg"),
    ):
        for item in items:
            yield {"family": family, "adjustment": adjustment} | _comparison_row(item)


def _comparison_row(item: Comparison) -> Row:
    n = item.wins + item.losses + item.ties
    return {
        "contrast": item.contrast,
        "a": str(item.a),
        "b": str(item.b),
        "delta": item.delta.value,
        "low": item.delta.low,
        "high": item.delta.high,
        "method": item.delta.method,
        "n": item.delta.n,
        "n_missing": item.delta.n_missing,
        "p": item.p,
        "adjusted_p": item.adjusted_p,
        "wins": item.wins,
        "losses": item.losses,
        "ties": item.ties,
        "flip_rate": (item.wins + item.losses) / n if n else None,
    }


RECOVERY_COLUMNS = [
    "level",
    "wrapper",
    "control",
    "instruct",
    "recovered",
    "low",
    "high",
    "fieller_low",
    "fieller_high",
    "gap",
    "gap_low",
    "gap_high",
    "gain",
    "gain_low",
    "gain_high",
    "rest",
    "rest_low",
    "rest_high",
    "n",
    "n_missing",
    "note",
]


def recovery_rows(analysis: Analysis) -> Iterator[Row]:
    """Every recovered share, the cross-fitted best wrapper's among them."""
    for item in analysis.shares:
        yield {
            "level": item.wrapper.level,
            "wrapper": str(item.wrapper),
            "control": str(item.control),
            "instruct": str(item.instruct),
        } | _recovery_row(item.recovery)
    for best in analysis.best:
        yield {
            "level": best.level,
            "wrapper": "best, selected and judged on different prompts",
            "control": f"{best.winner.stage}/{best.level}/raw",
            "instruct": "" if analysis.instruct is None else analysis.instruct.stage,
        } | _recovery_row(best.recovery)


def _recovery_row(item: Recovery) -> Row:
    row: Row = {
        "recovered": item.share.value,
        "low": item.share.low,
        "high": item.share.high,
        "fieller_low": item.fieller.low,
        "fieller_high": item.fieller.high,
        "n": item.share.n,
        "n_missing": item.share.n_missing,
        "note": item.share.note,
    }
    for name, estimate in (("gap", item.gap), ("gain", item.gain), ("rest", item.rest)):
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return row


@dataclass(frozen=True, slots=True)
class Table:
    """A kind of rows: its columns in order, what makes them, and its CSV file (if it has one)."""

    columns: Sequence[str]
    rows: Callable[[Analysis, Sequence[Scored]], Iterable[Row]]
    file: str | None = None

    @staticmethod
    def dtype(column: str) -> str:
        """The pandas type of a column: what is not counted, judged or text is a number."""
        if column in _WHOLE or column.startswith("n_") or column == "n":
            return "Int64"
        if column in _JUDGED:
            return "boolean"
        return "str" if column in _TEXT else "float64"


_WHOLE = {"epoch", "check_index", "version", "prompt_tokens", "completion_tokens"} | {
    "wins",
    "losses",
    "ties",
}
_JUDGED = {"strict", "loose", "prompt_level_strict", "prompt_level_loose"} | {
    "first_turn_strict",
    "untrimmed_strict",
}
_TEXT = {
    *("sample_id", "suite", "kind", "category", "stage", "level", "strategy", "check_id"),
    *("prompt", "prefill", "text", "answer", "finish_reason", "request_key", "error", "reason"),
    *("family", "adjustment", "contrast", "a", "b", "method", "wrapper", "control", "instruct"),
    "note",
}

TABLES = {
    "samples": Table(SAMPLE_COLUMNS, lambda _, scored: answer_rows(scored)),
    "scores": Table(SCORE_COLUMNS, lambda _, scored: score_rows(scored), "scores.csv"),
    "summary": Table(SUMMARY_COLUMNS, lambda analysis, _: summary_rows(analysis), "summary.csv"),
    "comparisons": Table(
        COMPARISON_COLUMNS, lambda analysis, _: comparison_rows(analysis), "comparisons.csv"
    ),
    "recovery": Table(
        RECOVERY_COLUMNS, lambda analysis, _: recovery_rows(analysis), "recovery.csv"
    ),
}
"""Every table by name; ``docs/reports.md`` describes the columns."""
