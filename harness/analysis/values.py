"""What an analysis is made of: frozen values that reports print and nothing else computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.measured import Measured
from harness.records import Cell, Comparison, Condition, Estimate
from harness.stats.agreement import Agreement
from harness.stats.recovery import Recovery
from harness.stats.variance import Decomposition


@dataclass(frozen=True, slots=True)
class Metrics:
    """The four IFEval metrics of one condition over one set of items.

    ``prompt_*``: the share of items whose every supported check passes; ``inst_*``: the share of
    checks that pass. ``null_corrected`` is ``prompt_strict`` above the null floor.
    """

    prompt_strict: Estimate
    inst_strict: Estimate
    prompt_loose: Estimate
    inst_loose: Estimate
    null_corrected: Estimate

    @property
    def n(self) -> int:
        """Items counted, those without an answer included (as wrong)."""
        return self.prompt_strict.n

    @property
    def n_missing(self) -> int:
        """Items of ``n`` without an answer: not expressible or failed, counted as wrong."""
        return self.prompt_strict.n_missing


@dataclass(frozen=True, slots=True)
class ConditionSummary:
    """One cell of the grid, or one control responder.

    ``overall`` covers every item, ``headline`` the instruction items, ``kinds`` and ``categories``
    hold prompt-level strict accuracy. A missing answer is wrong in all of these. Beside them, on
    headline items: ``common`` is the score on the items that every condition answered, ``bounds``
    the score with the missing answers all wrong and all right.
    ``finish`` are shares of all generations by finish reason;
    ``eos_rate`` is the share of answered ones that ended by an end-of-generation token.
    ``tokens_per_second`` is per sequence: generated tokens over the time they were in a slot.
    ``views`` are the shares of answers that pass in each other reading (``first_turn``,
    ``untrimmed``).
    """

    condition: Condition
    overall: Metrics
    headline: Metrics
    kinds: Mapping[str, Estimate]
    categories: Mapping[str, Estimate]
    common: Estimate
    bounds: tuple[float, float] | None
    missing_share: float
    n_generations: int
    n_failed: int
    n_unsupported: int
    finish: Mapping[str, float]
    eos_rate: float | None
    mean_prompt_tokens: float | None
    mean_completion_tokens: float | None
    tokens_per_second: float | None
    bits_per_weight: float | None
    health: Mapping[str, float]
    views: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class NullFloor:
    """The best control responder that does not echo the prompt: what no model at all scores."""

    control: str
    value: float


@dataclass(frozen=True, slots=True)
class RecoveredShare:
    """What a wrapper recovers of the gap between a control and the instruct arm."""

    wrapper: Condition
    control: Condition
    instruct: Condition
    recovery: Recovery


@dataclass(frozen=True, slots=True)
class NamedWinner:
    """The wrapper that is best on all items of the reference level: what a user would deploy.

    ``score`` and ``gains`` (candidate − raw, by strategy) carry simultaneous max-T intervals over
    all candidates, which hold for whichever of them comes out on top; ``chance`` is the share of
    resamples in which it is the best (ties split).
    """

    condition: Condition
    score: Estimate
    gains: Mapping[str, Estimate]
    chance: float

    @property
    def gain(self) -> Estimate:
        """The winner's gain over the raw prompt."""
        return self.gains[self.condition.strategy]


@dataclass(frozen=True, slots=True)
class LevelVerdict:
    """One arm at a level against itself at the reference level, two one-sided tests at 5 %.

    ``delta`` (level − reference) carries the 90 % interval that decides; ``flips`` is the share of
    items whose outcome changed, ``gained`` and ``lost`` are those items (suite and id).
    """

    condition: Condition
    reference: Condition
    verdict: Literal["equivalent", "worse", "undecided"]
    delta: Estimate
    margin: float
    flips: float
    gained: tuple[tuple[str, str], ...] = ()
    lost: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class BestWrapper:
    """The best wrapper, selected at the reference level and judged on other prompts.

    ``score`` and ``recovery`` judge each item of this level by the wrapper that won on the other
    folds *of the reference level*; their intervals re-run the selection in every resample.
    ``folds`` counts who won them. ``winner`` is the named winner of the reference level, at this
    level; ``named`` says what may be claimed of it (reference level only). ``fixed`` is the share
    of the reference level's own gap: (best here − raw there) / (instruct there − raw there);
    ``interaction`` is (best − raw) here minus (best − raw) there; None at the reference level.
    """

    level: str
    winner: Condition
    score: Estimate
    recovery: Recovery
    folds: Mapping[str, int]
    named: NamedWinner | None
    fixed: Estimate
    interaction: Estimate | None


Ends = tuple[Condition, Condition, Condition]
"""What a recovered share is made of: wrapper, raw, instruct."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """An arm against itself without the instruction, both judged by the items' checks.

    ``effect`` is asked − unasked; ``unasked`` the share of what the arm passes that it passes
    without the instruction too. For wrappers of the base, ``gained`` is the same of what it gains
    over raw (passes where raw fails), and ``share`` the recovered share of the ablated arm: what
    would be "recovered" if nobody asked for anything.
    """

    condition: Condition
    ablated: Condition
    effect: Estimate
    unasked: Estimate
    gained: Estimate | None
    share: Estimate | None


@dataclass(frozen=True, slots=True)
class CategoryShare:
    """What one wrapper recovers in one category of ``n`` items; intervals are not adjusted."""

    category: str
    wrapper: Condition
    n: int
    recovery: Recovery


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The named winner under another ``way`` to count answers.

    ``changes`` says whether any answer counts otherwise than reported, ``survives`` whether both
    ``claims`` (:func:`claims_of`) stay what they are.
    """

    way: str
    wrapper: Condition
    recovery: Recovery
    changes: bool
    claims: tuple[str, str]
    survives: bool


@dataclass(frozen=True, slots=True)
class Variance:
    """Where the spread of a stage's outcomes over its ``arms`` comes from."""

    stage: str
    arms: tuple[Condition, ...]
    parts: Decomposition


@dataclass(frozen=True, slots=True)
class SuiteScores:
    """One arm's score per suite, over all items (``pooled``), and with suites weighed equally."""

    condition: Condition
    suites: Mapping[str, Estimate]
    pooled: Estimate
    equal: Estimate


@dataclass(frozen=True, slots=True)
class SuiteShares:
    """What one wrapper recovers per suite; ``gain`` and ``share`` weigh the suites equally."""

    wrapper: Condition
    suites: Mapping[str, Recovery]
    gain: Estimate
    share: Estimate


def claims_of(recovery: Recovery) -> tuple[str, str]:
    """What the intervals bear of a wrapper: against raw, and against the instruct arm."""
    return (
        _claim(recovery.gain, "beats raw", "is worse than raw"),
        _claim(recovery.rest, "is behind instruct", "is ahead of instruct"),
    )


def _claim(delta: Estimate, above: str, below: str) -> str:
    if delta.low is None or delta.high is None:
        return "cannot be told"
    return above if delta.low > 0 else below if delta.high < 0 else "cannot be told"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a model file's header says: bytes, bits per weight, elements of each tensor type.

    ``fallback`` is the share of weights that llama.cpp stored in a wider type than the level's own
    because their rows are no multiple of 256; None where nobody noted it.
    """

    size: int
    bits_per_weight: float | None
    types: Mapping[str, int]
    fallback: float | None = None


@dataclass(frozen=True, slots=True)
class Power:
    """The smallest difference that ``n`` independent items show in four runs of five (exact power).

    ``effect`` is for one test at 5 %; ``first_step`` for the hardest step of Holm's method over
    ``family`` tests. None where no difference that this discordance allows reaches 80 %.
    """

    n: int
    discordance: float
    effect: float | None
    basis: str
    family: int = 1
    first_step: float | None = None


@dataclass(frozen=True, slots=True)
class Predictability:
    """How an arm repeats itself over ``kind``: ``seeds`` (epochs) or ``paraphrases``."""

    condition: Condition
    kind: str
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything a report says in numbers.

    ``raw`` and ``instruct`` are the two ends of the recovered share at ``level`` (None when the
    run has no such pair); ``shares`` are against raw at every level and against every control at
    ``level``. ``declared`` is a Holm family; ``explored`` and ``interactions`` share one
    Benjamini-Hochberg family, ``pairs`` (every two strategies of a stage at ``level``) have their
    own. ``margin`` is the difference that counts as none, ``equivalences`` the levels judged by it.
    ``headline_kinds`` are the kinds of item the headline counts. ``unranked`` says why the
    wrappers may not be ranked (answers missing from some more than from others); else empty.
    ``category_shares`` and ``sensitivities`` are of the named winner. ``measured`` and ``files``
    are what is known of the model files, by cell.
    """

    recovery: tuple[str, str] | None
    level: str
    levels: tuple[str, ...]
    seed: int
    epochs: int
    n_items: int
    n_headline: int
    n_units: int
    headline_kinds: tuple[str, ...]
    kinds: Mapping[str, int]
    categories: Mapping[str, int]
    conditions: tuple[ConditionSummary, ...]
    controls: tuple[ConditionSummary, ...]
    floor: NullFloor | None
    raw: Condition | None
    instruct: Condition | None
    shares: tuple[RecoveredShare, ...]
    best: tuple[BestWrapper, ...]
    declared: tuple[Comparison, ...]
    explored: tuple[Comparison, ...]
    interactions: tuple[Comparison, ...]
    pairs: tuple[Comparison, ...]
    margin: float
    equivalences: tuple[LevelVerdict, ...]
    power: tuple[Power, ...]
    predictability: tuple[Predictability, ...]
    unranked: str
    notes: tuple[str, ...]
    ablations: tuple[Ablation, ...] = ()
    category_shares: tuple[CategoryShare, ...] = ()
    sensitivities: tuple[Sensitivity, ...] = ()
    variances: tuple[Variance, ...] = ()
    suite_scores: tuple[SuiteScores, ...] = ()
    suite_shares: SuiteShares | None = None
    measured: Measured = field(default_factory=Measured)
    files: Mapping[Cell, FileFacts] = field(default_factory=dict)

    def summary(self, condition: Condition) -> ConditionSummary | None:
        """The summary of a condition or control, None when it was not run."""
        for item in (*self.conditions, *self.controls):
            if item.condition == condition:
                return item
        return None

    def share(self, wrapper: Condition, control: Condition) -> RecoveredShare | None:
        """The recovered share of a wrapper against a control, None when it was not computed."""
        for item in self.shares:
            if (item.wrapper, item.control) == (wrapper, control):
                return item
        return None

    def pair(self, one: Condition, other: Condition) -> Comparison | None:
        """The comparison of two strategies of one stage, whichever of them comes first."""
        wanted = {one, other}
        return next((item for item in self.pairs if {item.a, item.b} == wanted), None)

    def best_at(self, level: str) -> BestWrapper | None:
        """The best wrapper of a level, None where there is none to choose."""
        return next((item for item in self.best if item.level == level), None)

    @property
    def judged(self) -> bool:
        """Whether any item has a check that could be judged."""
        return any(item.overall.n for item in self.conditions)

    @property
    def wrappers(self) -> tuple[ConditionSummary, ...]:
        """The base model's wrapped arms at the reference level, best first."""
        if self.raw is None:
            return ()
        found = [
            item
            for item in self.conditions
            if (item.condition.stage, item.condition.level) == (self.raw.stage, self.level)
            and item.condition != self.raw
            and not item.condition.is_ablated
        ]
        return tuple(
            sorted(
                found,
                key=lambda item: (-(item.headline.prompt_strict.value or 0.0), item.condition),
            )
        )

    @property
    def headline_arms(self) -> list[tuple[str, str]]:
        """Raw, the winner of the reference level and instruct, as stage and strategy."""
        best = self.best_at(self.level)
        found = (self.raw, best.winner if best else None, self.instruct)
        return [(item.stage, item.strategy) for item in found if item is not None]
