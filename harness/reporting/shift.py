"""The token distribution shift as a table: the same cells in every presentation."""

from __future__ import annotations

from harness import numbers
from harness.analysis import Analysis
from harness.analysis.shift import shift_rows
from harness.records import Condition
from harness.reporting.levels import TextTable


def shift_table(analysis: Analysis) -> TextTable | None:
    """Each arm of the base over the instruct model's answers; None where none was measured."""
    rows = shift_rows(analysis)
    if not rows:
        return None
    first = rows[0].shift
    firsts = [item.first for item in first.positions]
    ends = [*(place - 1 for place in firsts[1:]), None]
    bins = [_bin(begin, end) for begin, end in zip(firsts, ends, strict=True)]
    cells = []
    for row in rows:
        item, share = row.shift, row.share
        by_first = {position.first: position.mean_kld for position in item.positions}
        cells.append(
            (
                Condition.named(item.arm).strategy,
                numbers.percent(item.unshifted),
                numbers.percent(item.marginal),
                numbers.percent(item.shifted),
                numbers.nats(item.mean_kld),
                numbers.rate(share) if share else numbers.NOTHING,
                *(numbers.nats(by_first.get(place)) for place in firsts),
            )
        )
    heads = ("arm", "unshifted", "marginal", "shifted", "mean KL", "divergence gone", *bins)
    stage = Condition.named(first.arm).stage
    return TextTable(
        f"Token distribution shift: {stage} over {first.instruct}'s answers",
        heads,
        tuple(cells),
        (
            f"{numbers.whole(first.tokens)} tokens of {numbers.size(first.texts, 'answer')} of "
            "the instruct model, each put to the base behind the arm's own prompt. Unshifted: the "
            "token is the arm's first choice; marginal: its second or third. KL(instruct ‖ arm) in "
            "nats, in the mean and by the token's place in the answer. Divergence gone: 1 − its "
            "sum over raw's, a recovered share without checks (jackknife over answers).",
        ),
    )


def _bin(begin: int, end: int | None) -> str:
    """``KL at 1``, ``KL at 3 to 5``, ``KL from 501``: places counted from one."""
    if end is None:
        return f"KL from {begin + 1}"
    return f"KL at {begin + 1}" if end == begin else f"KL at {begin + 1} to {end + 1}"
