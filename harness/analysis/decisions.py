"""From figures to what a user may do: which wrapper, which level, which of the two models.

Pure: an :class:`Analysis` in, decisions out. Each sentence claims what its interval bears and no
more; terminal, Markdown, HTML and JSON say it in the same words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness import numbers
from harness.analysis.ablation import unasked_decisions
from harness.analysis.levels import level_decisions
from harness.analysis.sensitivity import survival
from harness.analysis.shift import shift_decisions
from harness.analysis.values import (
    Analysis,
    BestWrapper,
    ConditionSummary,
)
from harness.records import Comparison, Condition, Decision, Estimate, Verdict
from harness.stats.power import items_to_detect

ALPHA = 0.05
_WORTH_SAVING = 0.9
"""A wrapper is called cheaper when it costs less than this share of the other's prompt tokens."""
_UNENDED = 0.1
"""A cheaper wrapper may leave at most this many more of its answers without an end."""
_SMALLEST = 0.01
"""Nobody is sent to collect items for a difference smaller than this."""
_NTH = {2: "half", 3: "a third of", 4: "a quarter of", 5: "a fifth of", 6: "a sixth of"}
_NTH |= {7: "a seventh of", 8: "an eighth of", 9: "a ninth of", 10: "a tenth of"}


UNJUDGED = "Nothing was judged: no item of this run has a check or a target that could be judged."
_TO_JUDGE = "give rows a target or checks (datasets/README.md); until then, read the answers"


def decide(analysis: Analysis) -> tuple[Decision, ...]:
    """Everything that this run decides, the most asked question first.

    Topics: ``recovery`` (does wrapping recover anything), ``wrapper`` (which one to take),
    ``use`` (wrapped base or instruct model), ``level`` (how far to quantize), ``shift`` (how
    near a wrapper brings the base, token by token), ``unasked`` (does
    what an arm passes need the instruction at all).
    """
    if not analysis.judged:
        return (_decision("recovery", "", "cannot tell", UNJUDGED, settle=_TO_JUDGE),)
    return (
        *recovery_decisions(analysis),
        *wrapper_decisions(analysis),
        *use_decisions(analysis),
        *level_decisions(analysis),
        *shift_decisions(analysis),
        *unasked_decisions(analysis),
    )


def recovery_decisions(analysis: Analysis) -> tuple[Decision, ...]:
    """Does wrapping the base recover anything of the gap to the instruct model?"""
    if analysis.recovery is None:
        return ()
    best = analysis.best_at(analysis.level)
    if best is None:
        return (_decision("recovery", "", "cannot tell", f"No recovered share: {_lack(analysis)}"),)
    if analysis.unranked:
        return (_refused("recovery", analysis),)
    gain, share, gap = best.recovery.gain, best.recovery.share, best.recovery.gap
    told = f"best wrapper − raw = {numbers.points(gain)}"
    evidence = (
        f"the gap itself, instruct − raw: {numbers.points(gap)}",
        f"what is left, instruct − best wrapper: {numbers.points(best.recovery.rest)}",
        survival(analysis.sensitivities) if analysis.sensitivities else "",
        _resolution(analysis),
    )
    verdict, sentence, settle = _recovered(analysis, best, told)
    if share.value is not None and best.recovery.overstated and verdict == "shown":
        sentence += " A gap seen with so few items tends to be overstated, and the share with it."
    return (_decision("recovery", "", verdict, sentence, evidence, settle),)


def _recovered(analysis: Analysis, best: BestWrapper, told: str) -> tuple[Verdict, str, str]:
    gain, share = best.recovery.gain, best.recovery.share
    if gain.low is None or gain.high is None:
        return "cannot tell", f"Whether wrapping recovers anything cannot be told: {told}.", ""
    if gain.high < 0:
        return "shown not", f"Wrapping hurts: {told}.", ""
    if gain.low <= 0:
        settle = _items(_between(analysis, analysis.raw, best.winner), gain)
        sentence = f"No wrapper is shown to beat the raw prompt: {told}."
        if gain.high < analysis.margin:
            margin = numbers.plain_points(analysis.margin)
            return "shown not", f"Wrapping gains less than {margin} if anything: {told}.", ""
        return "cannot tell", sentence, settle
    if share.value is None or (share.low is not None and share.low <= 0):
        why = share.note or f"its interval, {numbers.rate(share)}, includes nothing"
        return "shown", f"Wrapping beats the raw prompt ({told}); as a share of the gap: {why}.", ""
    return (
        "shown",
        f"Wrapping recovers {numbers.rate(share)} of the gap between the raw base and the "
        f"instruct model ({told}).",
        "",
    )


def wrapper_decisions(analysis: Analysis) -> tuple[Decision, ...]:
    """Which wrapper to take: the best, what it cannot be told from, and the cheapest of those."""
    best = analysis.best_at(analysis.level)
    if best is None or best.named is None or analysis.raw is None:
        return ()
    if analysis.unranked:
        return (_refused("wrapper", analysis),)
    named = best.named
    winner, gain = named.condition, named.gain
    evidence = [
        f"{winner.strategy} has the best score, {numbers.rate(named.score)}, "
        f"{numbers.points(gain)} against raw; these intervals hold for all "
        f"{numbers.size(len(named.gains), 'candidate')} at once",
        f"{winner.strategy} is the best in {numbers.percent(named.chance, 0)} of resamples",
        _cost(analysis, winner),
    ]
    if gain.low is None or gain.low <= 0:
        verdict: Verdict = "cannot tell" if gain.high is None or gain.high >= 0 else "shown not"
        sentence = (
            f"Keep the raw prompt: no wrapper is shown to beat it; the best, {winner.strategy}, "
            f"is at {numbers.points(gain)} against it."
        )
        settle = _items(_between(analysis, analysis.raw, winner), gain) if gain.value else ""
        return (_decision("wrapper", "raw", verdict, sentence, evidence, settle),)
    alike, worse = _rivals(analysis, winner, list(named.gains))
    pick = _cheapest(analysis, named.gains, winner, alike)
    evidence += [_cost(analysis, arm) for arm in alike]
    if worse:
        names = numbers.listed([arm.strategy for arm in worse])
        evidence.append(f"shown to be worse than {winner.strategy}: {names}")
    settle = ""
    if alike:
        between = analysis.pair(winner, alike[0])
        settle = _items(between, between.delta if between else gain)
    sentence = _advice(analysis, winner, alike, pick)
    return (_decision("wrapper", pick.strategy, "shown", sentence, evidence, settle),)


def _rivals(
    analysis: Analysis, winner: Condition, names: Sequence[str]
) -> tuple[list[Condition], list[Condition]]:
    """The other candidates: those that cannot be told from the winner, and the worse ones."""
    alike: list[Condition] = []
    worse: list[Condition] = []
    for name in names:
        other = Condition(winner.stage, winner.level, name)
        if other == winner:
            continue
        between = analysis.pair(winner, other)
        told_apart = between is not None and between.adjusted_p <= ALPHA
        (worse if told_apart else alike).append(other)
    return alike, worse


def _cheapest(
    analysis: Analysis,
    gains: Mapping[str, Estimate],
    winner: Condition,
    alike: Sequence[Condition],
) -> Condition:
    """The fewest prompt tokens among those that beat raw and end about as often."""
    mine = analysis.summary(winner)
    pick, least = winner, mine.mean_prompt_tokens if mine else None
    if mine is None or least is None:
        return winner
    least *= _WORTH_SAVING
    for arm in alike:
        other, gain = analysis.summary(arm), gains[arm.strategy]
        if other is None or other.mean_prompt_tokens is None or not (gain.low or 0) > 0:
            continue
        if other.mean_prompt_tokens < least and unended(other) <= unended(mine) + _UNENDED:
            pick, least = arm, other.mean_prompt_tokens
    return pick


def _advice(
    analysis: Analysis, winner: Condition, alike: Sequence[Condition], pick: Condition
) -> str:
    if pick != winner:
        return (
            f"{winner.strategy} cannot be told from {pick.strategy} with these items; "
            f"{pick.strategy} costs {_fraction(analysis, pick, winner)} the prompt tokens: "
            f"take {pick.strategy}."
        )
    if not alike:
        return f"Take {winner.strategy}: it beats the raw prompt and every other wrapper tried."
    names = numbers.listed([arm.strategy for arm in alike])
    return (
        f"Take {winner.strategy}: it beats the raw prompt and has the best score, but cannot be "
        f"told from {names} with these items; none of them is shown to beat raw at less cost."
    )


def use_decisions(analysis: Analysis) -> tuple[Decision, ...]:
    """The wrapped base or the instruct model?"""
    best = analysis.best_at(analysis.level)
    if best is None or analysis.instruct is None or analysis.unranked:
        return ()
    rest, margin = best.recovery.rest, analysis.margin
    if rest.low is None or rest.high is None:
        return ()
    told = f"instruct − best wrapper = {numbers.points(rest)}"
    verdict: Verdict = "shown"
    settle = ""
    if rest.low > 0:
        sentence = f"Use the instruct model: no wrapper tried reaches it ({told})."
    elif rest.high < 0:
        sentence = (
            f"Use the wrapped base: it follows more instructions than the instruct model ({told})."
        )
    elif rest.low > -margin and rest.high < margin:
        verdict = "equivalent"
        sentence = (
            f"Either will do: the best wrapper is within {numbers.plain_points(margin)} of the "
            f"instruct model ({told})."
        )
    else:
        verdict = "cannot tell"
        sentence = (
            "Whether the instruct model follows more instructions than the best wrapper cannot be "
            f"told with these items ({told})."
        )
        settle = _items(_between(analysis, best.winner, analysis.instruct), rest)
    return (_decision("use", str(analysis.instruct), verdict, sentence, (), settle),)


def unended(item: ConditionSummary) -> float:
    """The share of answers that reach the token limit or go round in circles."""
    return item.finish.get("length", 0.0) + item.finish.get("loop", 0.0)


def _cost(analysis: Analysis, arm: Condition) -> str:
    item = analysis.summary(arm)
    if item is None:
        return f"{arm.strategy}: not run"
    return (
        f"{arm.strategy} costs {numbers.decimal(item.mean_prompt_tokens, 0)} prompt tokens an "
        f"item; {numbers.percent(unended(item), 0)} of its answers do not end"
    )


def _fraction(analysis: Analysis, pick: Condition, winner: Condition) -> str:
    """``half``, ``an eighth of``, ``83 % of``."""
    small, large = analysis.summary(pick), analysis.summary(winner)
    assert small and large and small.mean_prompt_tokens and large.mean_prompt_tokens
    ratio = small.mean_prompt_tokens / large.mean_prompt_tokens
    parts = round(1 / ratio)
    if parts in _NTH and abs(1 / ratio - parts) < 0.15 * parts:
        return f"about {_NTH[parts]}"
    return f"{numbers.percent(ratio, 0)} of"


def _between(analysis: Analysis, a: Condition | None, b: Condition | None) -> Comparison | None:
    """The plain comparison of two arms, wherever it was made."""
    every = (*analysis.explored, *analysis.pairs, *analysis.declared)
    return next((item for item in every if {item.a, item.b} == {a, b}), None)


def _items(between: Comparison | None, seen: Estimate) -> str:
    """How many items would show a difference as large as the one seen."""
    if between is None or seen.value is None:
        return ""
    n = between.wins + between.losses + between.ties
    discordance = (between.wins + between.losses) / n if n else 0.0
    effect = abs(seen.value)
    if not _SMALLEST <= effect <= discordance:
        if discordance < _SMALLEST:
            return ""
        effect = min(_SMALLEST, discordance)
    needed = items_to_detect(effect, discordance)
    return (
        f"{numbers.size(needed, 'item')} give an 80 % chance to show a difference of "
        f"{numbers.plain_points(effect)} (one test, {numbers.percent(discordance, 0)} discordance "
        "as seen here)"
    )


def _resolution(analysis: Analysis) -> str:
    """What the suite resolves at all: the margin, and where it comes from."""
    return (
        f"{numbers.size(analysis.n_units, 'independent item')}; a difference under "
        f"{numbers.plain_points(analysis.margin)} counts as none"
    )


def _lack(analysis: Analysis) -> str:
    notes = [note.removeprefix("No recovered share: ") for note in analysis.notes]
    if analysis.raw and analysis.instruct:
        if not analysis.wrappers:
            return "no wrapper was run on the base."
        return "there are too few items to choose a wrapper on others, or no eligible wrapper."
    return " ".join(notes) or "the run has no such pair of arms."


def _refused(topic: str, analysis: Analysis) -> Decision:
    sentence = f"The wrappers are not ranked: {analysis.unranked}."
    return _decision(
        topic, "", "cannot tell", sentence, (), "an answer from every arm to every item"
    )


def _decision(
    topic: str,
    subject: str,
    verdict: Verdict,
    sentence: str,
    evidence: Sequence[str] = (),
    settle: str = "",
) -> Decision:
    return Decision(topic, subject, verdict, sentence, tuple(filter(None, evidence)), settle)
