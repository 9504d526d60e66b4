"""The report's findings: the answer, the leaderboard, levels, contrasts, categories."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness import numbers
from harness.analysis import Analysis, BestWrapper, ConditionSummary, decide
from harness.analysis.decisions import ALPHA
from harness.records import Comparison, Condition, Decision
from harness.reporting.levels import TextTable, level_tables
from harness.reporting.markdown import arm_name, bullets, code, paragraphs, table
from harness.reporting.scrub import scrub_text
from harness.reporting.scrutiny import category_shares_section
from harness.reporting.shift import shift_table
from harness.sanitize import for_markdown
from harness.stats.power import items_to_detect

_WIDEST = 9
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
        name = f"raw base ({arm_name(raw.condition)})"
        rows.append([name, numbers.rate(raw.headline.prompt_strict), _corrected(raw)])
    if best is not None:
        name = f"best wrapper, chosen on other prompts (overall: {arm_name(best.winner)})"
        above = numbers.percent(_above(analysis, best.score.value))
        rows.append([name, numbers.rate(best.score), above])
    if instruct := analysis.summary(analysis.instruct) if analysis.instruct else None:
        name = f"instruct ({arm_name(instruct.condition)})"
        rows.append([name, numbers.rate(instruct.headline.prompt_strict), _corrected(instruct)])
    if not rows:
        return ""
    counted = numbers.size(analysis.n_headline, f"{_kind(analysis)} item")
    return paragraphs(
        f"Prompt-level strict accuracy at {code(analysis.level)} on {counted}, "
        "with 95 % intervals:",
        table(["", "score", "above the null floor"], rows),
    )


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
    for item in missing[:_WIDEST]:
        low, high = item.bounds or (None, None)
        told.append(
            f"{code(str(item.condition))} {numbers.rate(item.common)} on {item.common.n} items "
            f"(missing all wrong {numbers.percent(low)}, all right {numbers.percent(high)})"
        )
    return "; ".join(told)


def leaderboard(analysis: Analysis) -> str:
    """Every wrapper with its score, recovered share and prompt cost, best first."""
    raw = analysis.summary(analysis.raw) if analysis.raw else None
    instruct = analysis.summary(analysis.instruct) if analysis.instruct else None
    if raw is None or not analysis.wrappers:
        return ""
    rows, notes = [], []
    for item in (*([instruct] if instruct else []), *analysis.wrappers, raw):
        share = analysis.share(item.condition, raw.condition)
        told = numbers.NOTHING if share is None else numbers.rate(share.recovery.share)
        if share is not None and share.recovery.share.note:
            notes.append(f"{code(item.condition.strategy)}: {share.recovery.share.note}")
        rows.append(
            [
                arm_name(item.condition),
                numbers.rate(item.headline.prompt_strict),
                _corrected(item),
                told,
                numbers.decimal(item.mean_prompt_tokens, 0),
                numbers.decimal(item.mean_completion_tokens, 0),
                numbers.percent(item.eos_rate, 0),
            ]
        )
    columns = [
        "arm",
        "score",
        "above floor",
        "recovered share",
        "prompt tokens",
        "answer tokens",
        "ends by itself",
    ]
    return paragraphs(
        table(columns, rows),
        bullets(for_markdown(note) if "`" not in note else note for note in notes),
        "A strategy's own row is judged on the prompts it was compared on; only the best wrapper "
        "above is corrected for having been picked.",
        _beside_the_share(analysis, raw),
        _against_controls(analysis),
    )


def _beside_the_share(analysis: Analysis, raw: ConditionSummary) -> str:
    """What the share must be read beside: both differences, wins and losses, Fieller."""
    explored = {(item.a, item.b): item for item in analysis.explored}
    rows = []
    for item in analysis.wrappers:
        share = analysis.share(item.condition, raw.condition)
        test = explored.get((raw.condition, item.condition))
        if share is None or test is None:
            continue
        rows.append(
            [
                arm_name(item.condition),
                numbers.points(share.recovery.gain),
                numbers.points(share.recovery.rest),
                numbers.rate(share.recovery.fieller),
                numbers.outcomes(test),
                numbers.p_value(test.adjusted_p),
            ]
        )
    columns = [
        "arm",
        "wrapper − raw",
        "instruct − wrapper",
        "share, Fieller",
        "wins / losses / ties against raw",
        "p (BH)",
    ]
    return table(columns, rows) if rows else ""


def strategy_pairs_section(analysis: Analysis) -> str:
    """Every two strategies against each other, one Benjamini–Hochberg family."""
    if not analysis.pairs:
        return ""
    stages = len({item.a.stage for item in analysis.pairs}) > 1
    rows = [
        [
            arm_name(item.b) if stages else code(item.b.strategy),
            code(item.a.strategy),
            numbers.points(item.delta),
            numbers.outcomes(item),
            numbers.p_value(item.adjusted_p),
            "yes" if item.adjusted_p <= ALPHA else "cannot tell",
        ]
        for item in sorted(analysis.pairs, key=lambda item: (item.a.stage, item.adjusted_p))
    ]
    columns = ["strategy", "against", "difference", "wins / losses / ties", "p (BH)", "differs"]
    return paragraphs(
        table(columns, rows, left=2),
        f"At {code(analysis.level)}, all {numbers.size(len(rows), 'pair')} in one family; "
        "intervals are not adjusted. What is not told apart is not shown to be equal.",
    )


def _against_controls(analysis: Analysis) -> str:
    """The recovered share with each control in raw's place."""
    controls = list(
        dict.fromkeys(
            share.control for share in analysis.shares if share.wrapper.level == analysis.level
        )
    )
    if len(controls) < 2:
        return ""
    rows = []
    for item in analysis.wrappers:
        cells = []
        for control in controls:
            share = analysis.share(item.condition, control)
            cells.append(numbers.NOTHING if share is None else numbers.rate(share.recovery.share))
        rows.append([arm_name(item.condition), *cells])
    heads = [code(control.strategy) for control in controls]
    return paragraphs(
        "Recovered share against each control, (W − C) / (I − C): strategies that are controls of "
        "others, and responders that ask no model.",
        table(["arm", *heads], rows),
    )


def level_section(analysis: Analysis) -> str:
    """Scores and shares per level, what a level costs, and whether it costs wrappers more."""
    if len(analysis.levels) < 2:
        return ""
    return paragraphs(
        _level_table(analysis),
        *(text_table(item) for item in level_tables(analysis)),
        bullets(for_markdown(scrub_text(note)) for note in analysis.measured.notes),
        _level_costs(analysis),
        _interactions(analysis),
    )


def shift_section(analysis: Analysis) -> str:
    """How the base takes the instruct model's answers, raw and under every wrapper."""
    item = shift_table(analysis)
    return text_table(item) if item else ""


def text_table(item: TextTable) -> str:
    """A table that other presentations have too, in Markdown."""
    heads = [for_markdown(head) for head in item.heads]
    rows = [[code(row[0]), *row[1:]] for row in item.rows]
    return paragraphs(
        f"**{for_markdown(item.title)}**",
        table(heads, rows),
        bullets(for_markdown(note) for note in item.notes),
    )


def _level_table(analysis: Analysis) -> str:
    if analysis.raw is None or analysis.instruct is None:
        return ""
    rows = []
    for level in analysis.levels:
        raw = analysis.summary(_at(analysis.raw, level))
        instruct = analysis.summary(_at(analysis.instruct, level))
        best = analysis.best_at(level)
        bits = [item.bits_per_weight for item in (raw, instruct) if item]
        told = " / ".join(numbers.decimal(value, 2) for value in dict.fromkeys(bits))
        rows.append(
            [
                code(level),
                told or numbers.NOTHING,
                numbers.rate(raw.headline.prompt_strict) if raw else numbers.NOTHING,
                numbers.rate(best.score) if best else numbers.NOTHING,
                numbers.rate(instruct.headline.prompt_strict) if instruct else numbers.NOTHING,
                numbers.rate(best.recovery.share) if best else numbers.NOTHING,
                numbers.rate(best.fixed) if best else numbers.NOTHING,
            ]
        )
    columns = [
        "level",
        "bits per weight",
        "raw",
        "best wrapper",
        "instruct",
        "share of the level's gap",
        f"share of the {code(analysis.level)} gap",
    ]
    return paragraphs(
        table(columns, rows),
        "Bits per weight are read from the files' tensors (base / instruct), not from the label. "
        f"The instruct side of every share is {_policy(analysis)}.",
    )


def _policy(analysis: Analysis) -> str:
    """At which level the instruct model stands in the shares of each level."""
    assert analysis.instruct is not None
    others = [level for level in analysis.levels if level != analysis.level]
    if all(analysis.summary(_at(analysis.instruct, level)) is None for level in others):
        return f"{arm_name(analysis.instruct)} at {code(analysis.level)}, whatever the level"
    return f"{arm_name(analysis.instruct)} at the same level"


def _level_costs(analysis: Analysis) -> str:
    wanted = _headline_arms(analysis)
    items = [
        item
        for item in analysis.explored
        if item.contrast.startswith("quantization:")
        and (not wanted or (item.b.stage, item.b.strategy) in wanted)
    ]
    rows = [
        [
            code(str(item.b)),
            numbers.points(item.delta),
            numbers.flips(item),
            numbers.p_value(item.adjusted_p),
        ]
        for item in items
    ]
    if not rows:
        return ""
    return paragraphs(
        f"Against {code(analysis.level)}, item by item:",
        table(["arm", "difference", "flips", "p (BH)"], rows),
    )


def _interactions(analysis: Analysis) -> str:
    """Difference in differences with the choice made at the reference level."""
    best = analysis.best_at(analysis.level)
    if best is None:
        return ""
    rows = [
        [code(item.level), numbers.points(item.interaction)]
        for item in analysis.best
        if item.interaction is not None
    ]
    if not rows:
        return ""
    return paragraphs(
        "Does quantization take more from the best wrapper than from raw? (best wrapper − raw) at "
        f"the level minus the same at {code(analysis.level)}, with the choice of wrapper made at "
        f"{code(analysis.level)} on other prompts; intervals are not adjusted for the number of "
        "levels:",
        table(["level", "difference in differences"], rows),
    )


def contrasts_section(analysis: Analysis, declared: str = "") -> str:
    """The contrasts declared in the experiment, one Holm family; ``declared`` says when."""
    if not analysis.declared:
        return ""
    rows = [_contrast_row(item) for item in analysis.declared]
    columns = ["contrast", "b − a", "wins / losses / ties", "p", "p (Holm)"]
    return paragraphs(
        table(columns, rows),
        f"Declared {declared or 'in the file'}; p adjusted together by Holm's method, intervals "
        "unadjusted.",
    )


def _contrast_row(item: Comparison) -> list[str]:
    return [
        f"{for_markdown(item.contrast)}: {code(str(item.b))} − {code(str(item.a))}",
        numbers.points(item.delta),
        numbers.outcomes(item),
        numbers.p_value(item.p),
        numbers.p_value(item.adjusted_p),
    ]


def by_category(analysis: Analysis) -> str:
    """Prompt-level strict accuracy per category at the reference level."""
    arms = _shown_arms(analysis)
    if not arms or not analysis.categories:
        return ""
    rows = []
    for category, n in analysis.categories.items():
        cells = [numbers.percent(_value(arm, category), 0) for arm in arms]
        rows.append([for_markdown(category), numbers.whole(n), *cells])
    heads = [arm_name(arm.condition) for arm in arms]
    return paragraphs(
        table(["category", "items", *heads], rows),
        f"At {code(analysis.level)}. Few items per category: read these as hints.",
        category_shares_section(analysis),
    )


def other_kinds(analysis: Analysis) -> str:
    """Items the headline leaves out, in a table of their own."""
    kinds = [kind for kind in analysis.kinds if kind not in analysis.headline_kinds]
    arms = _shown_arms(analysis)
    if not kinds or not arms:
        return ""
    rows = [
        [
            arm_name(arm.condition),
            *(numbers.rate(arm.kinds[kind]) for kind in kinds if kind in arm.kinds),
        ]
        for arm in arms
    ]
    heads = [f"{for_markdown(kind)} ({analysis.kinds[kind]})" for kind in kinds]
    return paragraphs(
        "A text to be continued is not an instruction, and the bare prompt is the right way to ask "
        "a base model for it: these items are scored here and stay out of the headline.",
        table(["arm", *heads], rows),
    )


def _shown_arms(analysis: Analysis) -> list[ConditionSummary]:
    """The arms of the reference level; the three that matter where all would not fit."""
    arms = [item for item in analysis.conditions if item.condition.level == analysis.level]
    wanted = _headline_arms(analysis)
    if len(arms) > _WIDEST and wanted:
        return [a for a in arms if (a.condition.stage, a.condition.strategy) in wanted]
    return arms[: 2 * _WIDEST]


def _headline_arms(analysis: Analysis) -> list[tuple[str, str]]:
    """Raw, the winner of the reference level and instruct, as stage and strategy."""
    best = analysis.best_at(analysis.level)
    found: Iterable[Condition | None] = (
        analysis.raw,
        best.winner if best else None,
        analysis.instruct,
    )
    return [(item.stage, item.strategy) for item in found if item is not None]


def _value(arm: ConditionSummary, category: str) -> float | None:
    found = arm.categories.get(category)
    return found.value if found else None


def _at(condition: Condition, level: str) -> Condition:
    return Condition(condition.stage, level, condition.strategy)


def _corrected(item: ConditionSummary) -> str:
    return numbers.percent(item.headline.null_corrected.value)


def _above(analysis: Analysis, value: float | None) -> float | None:
    if value is None or analysis.floor is None or analysis.floor.value >= 1:
        return None
    return (value - analysis.floor.value) / (1 - analysis.floor.value)


def _kind(analysis: Analysis) -> str:
    return numbers.listed(list(analysis.headline_kinds))
