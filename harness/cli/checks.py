"""``harness list`` and ``harness score``: what there is, and verdicts on answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from harness.atomic import writing
from harness.cli.app import app
from harness.cli.options import JSON, print_json
from harness.errors import ConfigError
from harness.intake import meant
from harness.sanitize import for_terminal

if TYPE_CHECKING:
    from harness.checks import Check
    from harness.checks.registry import Example
    from harness.records import Scored

KINDS = ("checks", "suites", "experiments", "strategies", "controls", "families")

_PLUGINS = typer.Option(
    [], "--checks", exists=True, dir_okay=False, help="Python module with your own checks."
)


@app.command(
    "list",
    epilog="Examples: harness list checks keywords:frequency · harness list families --json",
)
def list_(
    kind: str = typer.Argument(help=f"One of: {', '.join(KINDS)}."),
    name: str = typer.Argument(None, help="With checks: one of them, with its examples."),
    plugins: list[Path] = _PLUGINS,
    as_json: bool = JSON,
) -> None:
    """List what there is: checks, suites, experiments, strategies, controls or families."""
    if kind not in KINDS:
        there = f"there are {', '.join(KINDS)}{meant(kind, KINDS)}"
        raise ConfigError(f"there is no list of {kind!r}; {there}")
    if kind == "checks":
        from harness.checks import load_plugins

        load_plugins(plugins)
        if name and as_json:
            raise ConfigError("--json lists all checks; leave out the name")
        if name:
            _show_check(name)
            return
    elif name:
        raise ConfigError(f"only checks can be shown one by one; try `harness list {kind}`")
    rows = _LISTS[kind]()
    if as_json:
        print_json([{"id": first, "about": second} for first, second in rows])
    else:
        _print_table(rows)


def _checks() -> list[tuple[str, str]]:
    from harness.checks import all_checks

    return [
        (found.id, f"v{found.version}  {found.summary}")
        for found in sorted(all_checks().values(), key=lambda found: (found.family, found.id))
    ]


def _suites() -> list[tuple[str, str]]:
    from harness import numbers
    from harness.datasets import HUB
    from harness.resources import resource_dir

    rows = []
    for path in sorted(resource_dir("datasets").glob("*.jsonl")):
        with path.open(encoding="utf-8") as stream:
            groups = [json.loads(line).get("group") for line in stream if line.strip()]
        named = [group for group in groups if group]
        again = len(named) - len(set(named))
        told = f" and {again} paraphrases of some" if again else ""
        rows.append((path.stem, f"{numbers.size(len(groups) - again, 'item')}{told}, shipped"))
    for name, (repository, _) in HUB.items():
        rows.append((name, f"fetched from {repository}, or a local file: {{{name}: path}}"))
    return rows


def _experiments() -> list[tuple[str, str]]:
    import yaml

    from harness.resources import resource_dir

    rows = []
    for path in sorted(resource_dir("experiments").glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        rows.append((path.stem, str((content or {}).get("description", ""))))
    return rows


def _strategies() -> list[tuple[str, str]]:
    from harness.strategies import load_templates

    return [(found.id, found.description) for found in load_templates([]).values()]


def _controls() -> list[tuple[str, str]]:
    from harness.checks.controls import DESCRIPTIONS

    return list(DESCRIPTIONS.items())


def _families() -> list[tuple[str, str]]:
    from harness.models.families import families

    return [
        (f"{family}/{stage}", str(place.get("repo") or place.get("path") or ""))
        for family, entry in families().items()
        for stage, place in (entry.get("stages") or {}).items()
    ]


_LISTS = {
    "checks": _checks,
    "suites": _suites,
    "experiments": _experiments,
    "strategies": _strategies,
    "controls": _controls,
    "families": _families,
}


def _print_table(rows: Sequence[tuple[str, str]]) -> None:
    width = max((len(first) for first, _ in rows), default=0)
    for first, second in rows:
        typer.echo(for_terminal(f"{first:<{width}}  {second}".rstrip()))


def _show_check(name: str) -> None:
    from harness.checks import find_check
    from harness.checks.registry import describe_arguments

    found = find_check(name)
    typer.echo(f"{found.id} (version {found.version}, {found.family})")
    typer.echo(found.summary)
    typer.echo(f"Arguments: {describe_arguments(found)}")
    if lacking := found.missing():
        typer.echo(f"Missing: {lacking}")
    for title, examples in (("Passes", found.passes), ("Fails", found.fails)):
        for example in examples:
            typer.echo(f"\n{title}: {json.dumps(example.text, ensure_ascii=False)}")
            if example.kwargs:
                typer.echo(f"  with {json.dumps(dict(example.kwargs), ensure_ascii=False)}")
            typer.echo(for_terminal(f"  {_reason(found, example)}"))


def _reason(found: Check, example: Example) -> str:
    from harness.checks import judge
    from harness.records import CheckSpec, Message, Sample

    sample = Sample("example", (Message("user", "-"),), (CheckSpec(found.id, example.kwargs),))
    return judge(sample, example.text, tokens=example.tokens)[0].reason


@app.command(
    epilog="Examples: harness score reports/pair/RUN · "
    "harness score --responses answers.jsonl --suite ifeval -o verdicts.jsonl"
)
def score(
    run: Path = typer.Argument(None, help="Folder of a finished run to judge again, offline."),
    responses: Path = typer.Option(
        None,
        "--responses",
        exists=True,
        dir_okay=False,
        help="JSONL of answers made elsewhere: key and response in each row.",
    ),
    suite: str = typer.Option(
        None, "--suite", help="Suite the keys belong to: ifeval, ifbench, a shipped name, a file."
    ),
    out: Path = typer.Option(None, "-o", "--out", help="Where the verdicts go (JSONL)."),
    jobs: int = typer.Option(None, "--jobs", min=1, help="Processes (default: cores)."),
    plugins: list[Path] = _PLUGINS,
    code: bool = typer.Option(
        False, "--code", help="Let code_passes run answers' Python under bubblewrap."
    ),
    unsafe_code: bool = typer.Option(
        False, "--unsafe-code", help="The same without bubblewrap: answers run as you."
    ),
) -> None:
    """Judge a finished run again, or answers that somebody else generated. Loads no model.

    A run: shows which verdicts changed between versions of the checks. Answers: each row has key
    (or id) and response, and either --suite says what was asked or the row brings its own
    instruction_id_list and kwargs; writes strict, loose and reasons per row and prints the four
    IFEval metrics.
    """
    if (run is None) == (responses is None):
        raise ConfigError("give either the folder of a run, or --responses with a file of answers")
    mode = "unsafe" if unsafe_code else "sandboxed" if code else "off"
    if responses is not None:
        _score_responses(responses, suite, out, jobs, plugins, mode)
        return
    if suite:
        raise ConfigError("--suite goes with --responses; a run brings its own questions")
    _rescore(run, out, jobs, plugins, mode)


def _rescore(
    run: Path, out: Path | None, jobs: int | None, plugins: Sequence[Path], mode: Any
) -> None:
    from harness.experiment import rescore
    from harness.reporting import write_run

    result = rescore(run, jobs=jobs, plugins=plugins, code=mode, out=out)
    write_run(result.run, stale=result.stale)
    for note in result.notes:
        typer.echo(for_terminal(f"ignored: {note}"))
    for note in result.stale:
        typer.echo(for_terminal(f"stale: {note}"))
    for row in result.changed:
        old, new = (
            {None: "unsupported", True: "pass", False: "fail"}[verdict]
            for verdict in (row.old_strict, row.new_strict)
        )
        line = (
            f"{row.condition} {row.sample_id} {row.check_id}: {old} (v{row.old_version}) -> "
            f"{new} (v{row.new_version}): {row.reason}"
        )
        typer.echo(for_terminal(line))
    typer.echo(for_terminal(str(result.summary)))


def _score_responses(
    responses: Path,
    suite: str | None,
    out: Path | None,
    jobs: int | None,
    plugins: Sequence[Path],
    mode: Any,
) -> None:
    from harness.checks import CodeSettings, load_plugins, metrics
    from harness.experiment.responses import judged, read_responses

    load_plugins(plugins)
    given = read_responses(responses, suite)
    rows = judged(given, jobs=jobs, code=CodeSettings(mode))
    if out is not None:
        with writing(out) as stream:
            for answer, row in zip(given.answers, rows, strict=True):
                stream.write(json.dumps({**answer.names, **_verdicts(row)}) + "\n")
    _print_metrics(metrics(row.results for row in rows), given.unanswered)


def _verdicts(row: Scored) -> dict[str, Any]:
    return {
        "strict": [result.strict for result in row.results],
        "loose": [result.loose for result in row.results],
        "reasons": [result.reason for result in row.results],
    }


def _print_metrics(figures: Mapping[str, float | int | None], unanswered: int) -> None:
    for name, share in figures.items():
        if not name.endswith("_acc"):
            continue
        total = figures["n_prompts" if name.startswith("prompt") else "n_instructions"] or 0
        shown = "-" if share is None else f"{share:.4f}"
        typer.echo(f"{name}  {shown}  ({round((share or 0) * total)}/{total})")
    if figures["n_unsupported"]:
        typer.echo(
            f"unsupported, left out of every metric: {figures['n_unsupported']} instructions"
        )
    if unanswered:
        typer.echo(f"items of the suite without an answer, not counted: {unanswered}")
