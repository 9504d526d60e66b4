"""``harness opinion``: what a model thinks of a run's answers, kept apart from every figure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from harness.cli.app import app
from harness.cli.options import JSON, print_json
from harness.errors import ConfigError
from harness.sanitize import for_terminal

if TYPE_CHECKING:
    from harness.experiment.opinion import Accord, Opinion, Preference

WEAKER = (
    "An opinion of a model, not a verdict: weaker evidence than a check, in no figure of the run."
)


@app.command(
    epilog='Examples: harness opinion latest --model judge.gguf --question "Is it polite?"; '
    'harness opinion latest --model judge.gguf --question "Which is clearer?" --pair qa native'
)
def opinion(
    run: str = typer.Argument("latest", help="A run's folder, latest, or an experiment's name."),
    model: str = typer.Option(
        ..., "--model", help="The judge: a GGUF file or repo:QUANT, better a larger model."
    ),
    question: str = typer.Option(
        ..., "--question", help="About one answer: answered by yes or no. With --pair: by A or B."
    ),
    arm: list[str] = typer.Option(
        [], "--arm", help="Only answers of this arm: stage/level/strategy, or a part of it."
    ),
    pair: tuple[str, str] = typer.Option(
        None, "--pair", help="Two arms whose answers are compared, in both orders."
    ),
    labels: Path = typer.Option(
        None,
        "--labels",
        exists=True,
        dir_okay=False,
        help='Your own verdicts, JSONL: {"id": "t1", "arm": "base/as-is/qa", "label": true}.',
    ),
    limit: int = typer.Option(None, "--limit", min=1, help="Answers (pairs) at most."),
    ngl: str = typer.Option("0", "--ngl", help="Layers on the GPU: a number, -1, auto."),
    out: Path = typer.Option(None, "-o", "--out", help="Write each opinion as a row (JSONL)."),
    as_json: bool = JSON,
) -> None:
    """Ask a model what it thinks of a run's answers: yes or no, or which of two.

    By log-probability of the one word, so nothing is drawn. Printed with its agreement with the
    run's checks, and with your labels where you give some. It enters no report and no headline.
    """
    from harness.experiment import opinion as judging
    from harness.reporting import read_run
    from harness.reporting.show import arms_named

    if not ngl.lstrip("-").isdigit() and ngl != "auto":
        raise ConfigError(f"--ngl takes a number of layers, -1 for all, or auto: {ngl!r}")
    read = read_run(run)
    layers = ngl if ngl == "auto" else int(ngl)
    if pair:
        if labels or arm:
            raise ConfigError("--pair names its two arms; --arm and --labels go without it")
        sides = [_one_arm(arms_named(read, name), name) for name in pair]
        pairs = judging.paired(read, sides[0], sides[1])[:limit]
        _require(pairs, f"answers of both {sides[0]} and {sides[1]}")
        with judging.opened_judge(model, layers) as judge:
            chosen = judging.preferences(judge, pairs, question)
        rows, value = [_preference(item) for item in chosen], _preferred(chosen, sides)
        asked = len(pairs)
    else:
        arms = [found for name in arm for found in arms_named(read, name)]
        answers = judging.answered(read, arms)[:limit]
        _require(answers, "answers of a model")
        marks = judging.read_labels(labels) if labels else {}
        with judging.opened_judge(model, layers) as judge:
            said = judging.opinions(judge, answers, question)
        rows, value = [_opinion(item) for item in said], _said(said, marks)
        asked = len(answers)
    value = {"model": model, "question": question, "left_out": asked - len(rows), **value}
    if out is not None:
        from harness.atomic import writing

        with writing(out) as stream:
            stream.writelines(json.dumps(row) + "\n" for row in rows)
    if as_json:
        print_json({**value, "opinions": rows})
        return
    for line in _lines(value):
        typer.echo(for_terminal(line))


def _require(found: Sequence[Any], what: str) -> None:
    if not found:
        raise ConfigError(f"the run has no {what} to judge")


def _one_arm(found: Sequence[Any], name: str) -> Any:
    if len(found) != 1:
        raise ConfigError(f"--pair {name}: several arms: {', '.join(map(str, found))}; name one")
    return found[0]


def _opinion(item: Opinion) -> dict[str, Any]:
    from harness.experiment.opinion import probability

    return {
        "sample_id": item.sample_id,
        "condition": str(item.condition),
        "epoch": item.epoch,
        "log_odds": item.odds,
        "p_yes": probability(item.odds),
        "passed": item.passed,
    }


def _preference(item: Preference) -> dict[str, Any]:
    return {
        "sample_id": item.sample_id,
        "epoch": item.epoch,
        "log_odds": item.first,
        "log_odds_swapped": item.swapped,
        "choice": item.choice,
    }


def _said(said: Sequence[Opinion], labels: Mapping[tuple[str, str], bool]) -> dict[str, Any]:
    from harness.experiment import opinion as judging

    labelled = judging.with_labels(said, labels)
    by_arm: dict[str, list[bool]] = {}
    for item in said:
        by_arm.setdefault(str(item.condition), []).append(item.yes)
    judged = [(item.yes, item.passed) for item in said if item.passed is not None]
    return {
        "yes": {name: {"yes": sum(values), "n": len(values)} for name, values in by_arm.items()},
        "agreement_with_checks": _accord(judging.accord(judged)),
        "agreement_with_labels": _accord(
            judging.accord([(odds > 0, label) for odds, label in labelled])
        ),
        "calibrated": _accord(judging.calibrated(labelled)),
        "threshold": judging.threshold(labelled) if labelled else None,
    }


def _preferred(chosen: Sequence[Preference], sides: Sequence[Any]) -> dict[str, Any]:
    from harness.stats.rates import wilson

    counts = {
        name: sum(item.choice == name for item in chosen) for name in ("left", "right", "neither")
    }
    decided = counts["left"] + counts["right"]
    return {
        "left": str(sides[0]),
        "right": str(sides[1]),
        "chosen": counts,
        "left_share": counts["left"] / decided if decided else None,
        "left_interval": wilson(counts["left"], decided) if decided else None,
    }


def _accord(found: Accord | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "agrees": found.agrees,
        "n": found.n,
        "share": found.share,
        "interval": found.interval,
        "chance": found.chance,
    }


def _lines(value: Mapping[str, Any]) -> Iterator[str]:
    yield f"{value['question']} (asked of {value['model']})"
    yield WEAKER
    if value["left_out"]:
        yield f"{value['left_out']} left out: too long, or with the judge's control tokens in it"
    if "chosen" in value:
        yield from _pair_lines(value)
        return
    for name, found in value["yes"].items():
        yield f"  {name}: yes to {found['yes']} of {found['n']}"
    yield _agreement("the run's checks", value["agreement_with_checks"]) or (
        "no answer of these has a verdict by a check to agree with"
    )
    if value["agreement_with_labels"]:
        yield str(_agreement("your labels", value["agreement_with_labels"]))
        cut = f"your labels, from log-odds {value['threshold']:.2f} on (each label left out once)"
        yield str(_agreement(cut, value["calibrated"]))
    else:
        yield "not calibrated: --labels FILE says how far it agrees with you"


def _pair_lines(value: Mapping[str, Any]) -> Iterator[str]:
    counts = value["chosen"]
    yield f"  {value['left']}: {counts['left']} preferred in both orders"
    yield f"  {value['right']}: {counts['right']} preferred in both orders"
    yield f"  {counts['neither']} decided by the order alone, counted for neither"
    if value["left_share"] is None:
        yield "nothing was preferred whatever the order: this judge cannot tell these answers apart"
        return
    low, high = value["left_interval"]
    yield (
        f"of the decided, {value['left']} has {100 * value['left_share']:.0f} % "
        f"[{100 * low:.0f}, {100 * high:.0f}]"
    )


def _agreement(what: str, found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    low, high = found["interval"]
    return (
        f"agrees with {what} on {found['agrees']} of {found['n']}: {100 * found['share']:.0f} % "
        f"[{100 * low:.0f}, {100 * high:.0f}]; by chance {100 * found['chance']:.0f} %"
    )
