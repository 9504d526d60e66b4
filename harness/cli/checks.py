"""``harness list`` and ``harness score``: what there is, and verdicts on answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from harness.atomic import writing
from harness.cli.app import app
from harness.errors import ConfigError, SuiteError
from harness.intake import near
from harness.sanitize import for_terminal

if TYPE_CHECKING:
    from harness.checks import Check
    from harness.records import CheckResult, Sample

KINDS = ("checks", "suites", "experiments", "strategies", "controls", "families")

_PLUGINS = typer.Option(
    [], "--checks", exists=True, dir_okay=False, help="Python module with your own checks."
)


@app.command("list", epilog="Example: harness list checks keywords:frequency")
def list_(
    kind: str = typer.Argument(help=f"One of: {', '.join(KINDS)}."),
    name: str = typer.Argument(None, help="With checks: one of them, with its examples."),
    plugins: list[Path] = _PLUGINS,
) -> None:
    """List what there is: checks, suites, experiments, strategies, controls or families."""
    if kind not in KINDS:
        raise ConfigError(f"there is no list of {kind!r}; there are {', '.join(KINDS)}")
    if kind == "checks":
        from harness.checks import load_plugins

        load_plugins(plugins)
        if name:
            _show_check(name)
            return
    elif name:
        raise ConfigError(f"only checks can be shown one by one; try `harness list {kind}`")
    _print_table(_LISTS[kind]())


def _checks() -> list[tuple[str, str]]:
    from harness.checks import all_checks

    return [
        (found.id, f"v{found.version}  {found.summary}")
        for found in sorted(all_checks().values(), key=lambda found: (found.family, found.id))
    ]


def _suites() -> list[tuple[str, str]]:
    from harness.datasets import HUB
    from harness.resources import resource_dir

    rows = []
    for path in sorted(resource_dir("datasets").glob("*.jsonl")):
        with path.open(encoding="utf-8") as stream:
            count = sum(1 for line in stream if line.strip())
        rows.append((path.stem, f"{count} items, shipped"))
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
    import yaml

    import harness

    path = Path(harness.__file__).parent / "families.yaml"
    if not path.is_file():
        return []
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    rows = []
    for family, entry in (content.get("families") or {}).items():
        for stage, place in (entry.get("stages") or {}).items():
            rows.append((f"{family}/{stage}", str(place.get("repo") or place.get("path") or "")))
    return rows


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
            typer.echo(for_terminal(f"  {_reason(found, example.text, example.kwargs)}"))


def _reason(found: Check, text: str, kwargs: Mapping[str, Any]) -> str:
    from harness.checks import judge
    from harness.records import CheckSpec, Message, Sample

    sample = Sample("example", (Message("user", "-"),), (CheckSpec(found.id, kwargs),))
    return judge(sample, text)[0].reason


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

    result = rescore(run, jobs=jobs, plugins=plugins, code=mode, out=out)
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


@dataclass(frozen=True)
class _Answer:
    """One row of the answers: what names it in the output, what was asked, what came."""

    names: dict[str, Any]
    sample: Sample
    response: str


def _score_responses(
    responses: Path,
    suite: str | None,
    out: Path | None,
    jobs: int | None,
    plugins: Sequence[Path],
    mode: Any,
) -> None:
    from harness.checks import CodeSettings, judge_many, load_plugins, metrics, validate
    from harness.datasets import load_suite

    load_plugins(plugins)
    samples = load_suite(suite, validate=validate) if suite else ()
    answers = list(_answers(responses, {sample.id: sample for sample in samples}))
    if not answers:
        raise SuiteError(f"{responses}: there are no answers in it")
    work = [(answer.sample, answer.response, "") for answer in answers]
    results = list(judge_many(work, jobs=jobs, code=CodeSettings(mode)))
    if out is not None:
        _write(out, answers, results)
    answered = {answer.sample.id for answer in answers}
    _print_metrics(metrics(results), sum(1 for sample in samples if sample.id not in answered))


def _answers(path: Path, samples: Mapping[str, Sample]) -> Iterator[_Answer]:
    from harness.datasets import parse_line, text_lines

    seen: dict[str, int] = {}
    for number, line in text_lines(path):
        where = f"{path}:{number}"
        answer = _answer(parse_line(line, where, surrogates=True), samples, where)
        if answer.sample.id in seen:
            raise SuiteError(
                f"{where}: key: {answer.sample.id!r:.80} is already on line "
                f"{seen[answer.sample.id]}; give each answer once"
            )
        seen[answer.sample.id] = number
        yield answer


def _answer(row: Any, samples: Mapping[str, Sample], where: str) -> _Answer:
    if not isinstance(row, dict):
        raise SuiteError(f"{where}: row: wanted an object with key and response")
    if "response" not in row:
        hint = near("response", row)
        raise SuiteError(f"{where}: response: missing{'; ' + hint.strip() if hint else ''}")
    if not isinstance(row.get("response"), str):
        raise SuiteError(f"{where}: response: wanted a text, found {row.get('response')!r:.80}")
    names = {name: row[name] for name in ("id", "key") if name in row}
    if not names:
        raise SuiteError(f"{where}: key: missing; every answer needs its key (or id)")
    key = str(row.get("key", row.get("id")))
    if "instruction_id_list" in row:
        return _Answer(names, _asked_by_itself(row, key, where), row["response"])
    if not samples:
        raise SuiteError(
            f"{where}: instruction_id_list: missing, and no --suite says what {key!r} asked"
        )
    if key not in samples:
        raise SuiteError(f"{where}: key: {key!r:.80} is not in the suite")
    return _Answer(names, samples[key], row["response"])


def _asked_by_itself(row: Mapping[str, Any], key: str, where: str) -> Sample:
    from harness.checks import validate
    from harness.datasets import parse_row

    prompt = row.get("prompt") or "(not given)"
    published = {"key": key, "prompt": prompt, "kwargs": row.get("kwargs")}
    return parse_row(
        published | {"instruction_id_list": row["instruction_id_list"]},
        suite="",
        where=where,
        validate=validate,
    )


def _write(out: Path, answers: Sequence[_Answer], results: Sequence[Sequence[CheckResult]]) -> None:
    """A row of verdicts per answer."""
    with writing(out) as stream:
        for answer, rows in zip(answers, results, strict=True):
            verdict = answer.names | {
                "strict": [row.strict for row in rows],
                "loose": [row.loose for row in rows],
                "reasons": [row.reason for row in rows],
            }
            stream.write(json.dumps(verdict) + "\n")


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
