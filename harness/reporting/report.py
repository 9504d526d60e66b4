"""report.md: the answer first, then everything it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness import numbers
from harness.analysis import Analysis, decide
from harness.choice import Choice
from harness.records import RunManifest, Scored
from harness.reporting.answers import every_answer, side_by_side
from harness.reporting.choice import TITLE as CHOICE
from harness.reporting.choice import choice_section
from harness.reporting.markdown import bullets, code, paragraphs, picture, table
from harness.reporting.plots import USES
from harness.reporting.scrub import scrub, scrub_text
from harness.reporting.sections.answer import decisions_section, the_answer
from harness.reporting.sections.categories import by_category, other_kinds
from harness.reporting.sections.contrasts import contrasts_section, strategy_pairs_section
from harness.reporting.sections.evidence import every_condition, how_answers_end, text_health
from harness.reporting.sections.leaderboard import leaderboard
from harness.reporting.sections.quantization import level_section, shift_section
from harness.reporting.sections.scrutiny import (
    null_floor_section,
    sensitivity_section,
    unasked_section,
)
from harness.reporting.sections.spread import predictability_section, variance_section
from harness.reporting.sections.suites import suites_section
from harness.sanitize import fence, for_markdown


def report_text(
    analysis: Analysis,
    scored: Sequence[Scored],
    manifest: RunManifest,
    *,
    description: str,
    warnings: Sequence[str],
    command: str,
    plots: Mapping[str, str],
    choice: Choice | None = None,
) -> str:
    """The whole report as Markdown."""
    name = str(manifest.experiment.get("name", "run"))
    chosen = [(CHOICE, choice_section(choice, _picture(plots, USES)))]
    judged = [
        ("", the_answer(analysis)),
        *chosen,
        (
            "Leaderboard",
            paragraphs(
                _picture(plots, "leaderboard.png"),
                leaderboard(analysis),
                _picture(plots, "cost.png"),
            ),
        ),
        (
            "Quantization",
            paragraphs(
                *(_picture(plots, f"{name}.png") for name in ("levels", "pareto", "flips")),
                level_section(analysis),
            ),
        ),
        ("Token distribution shift", shift_section(analysis)),
        ("By category", by_category(analysis)),
        *scrutiny(analysis, manifest),
        ("Continuations and other items", other_kinds(analysis)),
    ]
    sections = [
        *(
            judged
            if analysis.judged
            else [
                ("", decisions_section(decide(analysis))),
                *chosen,
                ("Answers side by side", every_answer(analysis, scored)),
            ]
        ),
        ("How answers end", how_answers_end(analysis)),
        ("Text health", text_health(analysis)),
        ("Predictability", spread(analysis)),
        ("Three answers side by side", side_by_side(analysis, scored)),
        ("Every condition", every_condition(analysis)),
        ("How this was run", _how_it_was_run(analysis, manifest)),
        ("Reproduce", _reproduce(command, manifest)),
    ]
    body = [f"## {title}\n\n{text}" if title else text for title, text in sections if text.strip()]
    return (
        paragraphs(
            f"# {for_markdown(name)}",
            for_markdown(scrub_text(description)),
            *(f"> **Warning.** {for_markdown(scrub_text(text))}" for text in warnings),
            *body,
        )
        + "\n"
    )


def scrutiny(analysis: Analysis, manifest: RunManifest) -> list[tuple[str, str]]:
    """What stands behind the answer, title and Markdown: sections that the page shows as well."""
    return [
        ("Strategy against strategy", strategy_pairs_section(analysis)),
        ("Declared contrasts", contrasts_section(analysis, manifest.declared)),
        ("By suite", suites_section(analysis)),
        ("What passes unasked", unasked_section(analysis)),
        ("Counted otherwise", sensitivity_section(analysis)),
        ("What no model scores", null_floor_section(analysis)),
    ]


def spread(analysis: Analysis) -> str:
    """How far answers and scores vary when they are asked again."""
    return paragraphs(predictability_section(analysis), variance_section(analysis))


def _picture(plots: Mapping[str, str], name: str) -> str:
    return picture(f"plots/{name}", plots.get(name, ""))


def _how_it_was_run(analysis: Analysis, manifest: RunManifest) -> str:
    lines = [
        *_engine_lines(manifest),
        f"Seed {analysis.seed}, {numbers.size(analysis.epochs, 'epoch')}; "
        "epochs are averaged within an item before any test.",
        *(for_markdown(scrub_text(note)) for note in manifest.notes),
        *(for_markdown(note) for note in analysis.notes),
    ]
    return paragraphs(bullets(lines), _models(manifest), _STATISTICS)


_STATISTICS = (
    "Intervals are 95 %, for one figure at a time unless called simultaneous: Wilson for rates and "
    "Tango's score interval for paired differences of pass or fail (both at the effective sample "
    "size where units come in clusters or items have several epochs), a joint BCa bootstrap over "
    "prompts with 10,000 seeded resamples for recovered shares (MOVER-R from Tango's ends where "
    "fewer than 5 items differ) and Fieller's interval beside it. p-values are McNemar's mid-p "
    "test, or a sign-flip permutation test for item means; Holm for declared contrasts, "
    "Benjamini–Hochberg for everything else. An item that an arm did not answer counts as wrong "
    "there. p above 0.05 is never a finding of equality."
)


def _engine_lines(manifest: RunManifest) -> list[str]:
    """Mode and shape of the engine, once where all models share them, else per model."""
    settings = manifest.engine.get("settings", manifest.engine)
    groups: dict[str, list[str]] = {}
    if isinstance(settings, Mapping):
        many = bool(settings) and all(isinstance(item, Mapping) for item in settings.values())
        for cell, item in settings.items() if many else [("", settings)]:
            groups.setdefault(_engine_line(item), []).append(str(cell))
    lines = []
    for line, cells in groups.items():
        where = f" ({', '.join(map(code, sorted(cells)))})" if len(groups) > 1 else ""
        lines.append(f"Engine: {line}{where}.")
    builds = manifest.engine.get("builds", {"llama.cpp": manifest.engine.get("build", {})})
    for name, build in scrub(builds).items() if isinstance(builds, Mapping) else ():
        if isinstance(build, Mapping) and build:
            told = ", ".join(
                f"{key} {value}" for key, value in sorted(build.items()) if _is_short(value)
            )
            lines.append(f"{for_markdown(name)}: {for_markdown(told)}.")
    machine = ", ".join(
        f"{key} {value}"
        for key, value in sorted(scrub(manifest.system).items())
        if _is_short(value)
    )
    return lines + ([f"Machine: {for_markdown(machine)}."] if machine else [])


def _engine_line(settings: Mapping[str, object]) -> str:
    mode = str(settings.get("mode", "unknown"))
    meaning = {
        "exact": "texts do not depend on how many requests run at once",
        "fast": "texts may differ in rounding with the load; harness bench --flips measures it",
        "remote": "a server's answers; the notes say whether it gave the same text twice",
    }.get(mode)
    shape = ", ".join(
        f"{name} {settings[name]}"
        for name in ("width", "parallel", "chunk", "threads", "n_gpu_layers")
        if name in settings and (mode != "remote" or name == "parallel")
    )
    told = f"**{for_markdown(mode)} mode**" + (f" ({meaning})" if meaning else "")
    return f"{told}, {for_markdown(shape)}" if shape else told


def _is_short(value: object) -> bool:
    return isinstance(value, (str, int, float)) and 0 < len(str(value)) <= 120


def _models(manifest: RunManifest) -> str:
    rows = []
    for cell, model in sorted(manifest.models.items()):
        if not isinstance(model, Mapping):
            continue
        bits, nbytes = model.get("bits_per_weight"), model.get("size")
        rows.append(
            [
                code(str(cell)),
                for_markdown(str(model.get("architecture", ""))) or numbers.NOTHING,
                numbers.decimal(bits, 2) if isinstance(bits, (int, float)) else numbers.NOTHING,
                numbers.megabytes(nbytes) + " MB"
                if isinstance(nbytes, (int, float))
                else numbers.NOTHING,
                code(str(model.get("sha256", ""))[:16]),
            ]
        )
    if not rows:
        return ""
    return table(
        ["model", "architecture", "bits per weight", "size", "sha256 (first 16)"], rows, left=2
    )


def _reproduce(command: str, manifest: RunManifest) -> str:
    suites = [
        f"suite {code(name)}: sha256 {code(str(digest)[:16])}"
        for name, digest in sorted(manifest.suites.items())
    ]
    versions = ", ".join(f"{name} {v}" for name, v in sorted(manifest.versions.items()))
    return paragraphs(
        fence(scrub_text(command), "sh"),
        bullets([*suites, f"versions: {for_markdown(versions)}"]),
        "Everything that could change a number is in `manifest.json`. Every generation with its "
        "prompt is in `samples.jsonl`, every verdict in `scores.csv`, every condition in "
        "`summary.csv`, every recovered share in `recovery.csv`, every paired comparison in "
        "`comparisons.csv`. `summary.csv` counts all items; the headline of this report counts "
        "instruction items only and has its own columns there.",
    )
