"""``harness template``: list, show and check prompt-wrapping strategies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.app import app
from harness.errors import ConfigError, TemplateError
from harness.intake import read_text
from harness.sanitize import for_terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.protocols import Tokenizer
    from harness.records import Arm, LogitRules, RenderedPrompt, Sample
    from harness.strategies import Template

group = typer.Typer(
    name="template",
    help="Prompt-wrapping strategies: what there is, what a model will see, what is wrong.",
    no_args_is_help=True,
)
app.add_typer(group)

TEMPLATES = typer.Option(
    [], "--templates", exists=True, file_okay=False, help="Folder of your own templates."
)


@group.command("list")
def list_templates(templates: list[Path] = TEMPLATES) -> None:
    """List every strategy; `harness template show NAME` says more about one."""
    from rich.table import Table

    from harness.reporting.terminal import table_console
    from harness.strategies import load_templates

    table = Table("id", "what it is", "known failure", box=None, pad_edge=False)
    for template in load_templates(templates).values():
        cells = (template.id, template.description, template.known_failure)
        table.add_row(*(_plain(cell) for cell in cells))
    table_console().print(table)


@group.command()
def show(
    name: str = typer.Argument(..., help="A strategy's id (`harness template list`)."),
    query: str = typer.Option(..., "--query", "-q", help="The question or instruction."),
    model: str = typer.Option(
        None, "--model", help="GGUF file, repo:QUANT or family/stage whose tokenizer is used."
    ),
    tokens: bool = typer.Option(False, "--tokens", help="Also list every token (needs --model)."),
    system: str = typer.Option(None, "--system", help="Text or file replacing the system part."),
    persona: str = typer.Option(None, "--persona", help="Text put in front of the system part."),
    prefill: str = typer.Option(None, "--prefill", help="Opening of the answer."),
    item_system: str = typer.Option(None, "--item-system", help="A system message of the item."),
    turn: list[str] = typer.Option(
        [], "--turn", help="Earlier turns in order, user first; may be repeated."
    ),
    var: list[str] = typer.Option([], "--var", help="name=value for a variable; may be repeated."),
    chat_template: Path = typer.Option(
        None, "--chat-template", exists=True, dir_okay=False, help="Instead of the model's own."
    ),
    templates: list[Path] = TEMPLATES,
) -> None:
    """Print exactly what the model will see, control tokens visible, with its contract.

    Without --model the text alone is shown: token counts belong to a tokenizer.
    """
    from harness import strategies
    from harness.experiment.override import system_text
    from harness.records import Arm
    from harness.strategies import find_template, load_templates

    template = find_template(load_templates(templates), name)
    arm = Arm(
        strategy=template.id,
        label=template.id,
        system=system_text(system),
        persona=persona,
        prefill=prefill,
        variables=_variables(var),
    )
    sample = _sample(query, item_system, turn)
    if model is not None:
        _show_with_model(sample, arm, template, model, chat_template, tokens)
        return
    if template.kind == "native":
        raise TemplateError(
            f"{name} wraps with a model's own chat template: name the model with --model FILE"
        )
    if tokens:
        raise ConfigError("--tokens needs a tokenizer: name a model with --model FILE")
    typer.echo(for_terminal(strategies.preview(sample, arm, template)))
    typer.echo(_footer(template, None))


@group.command()
def check(
    files: list[Path] = typer.Argument(
        None, exists=True, help="Template files or folders (default: the shipped ones)."
    ),
    templates: list[Path] = TEMPLATES,
) -> None:
    """Lint templates: front matter, variables, whitespace, stop strings, sources, twins.

    Exit code 0 when there is no error (notes are allowed), 1 otherwise.
    """
    from harness.resources import resource_dir
    from harness.strategies import check_files, load_templates

    wanted = [*(files or []), *templates] or [resource_dir("templates")]
    paths = [path for place in wanted for path in _template_files(place)]
    shipped = load_templates().values()
    problems = check_files(list(dict.fromkeys(paths)), shipped)
    for problem in problems:
        typer.echo(for_terminal(f"{problem.path}: {problem.severity}: {problem.message}"))
    errors = sum(problem.severity == "error" for problem in problems)
    typer.echo(f"{len(paths)} templates, {errors} errors, {len(problems) - errors} notes")
    if errors:
        raise typer.Exit(1)


def _template_files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    found = sorted(place.glob("*.j2"))
    if not found:
        raise ConfigError(f"{place} has no template files (*.j2)")
    return found


def _variables(pairs: list[str]) -> Mapping[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise ConfigError(f"--var takes name=value, found {pair!r}")
    return dict(pair.split("=", 1) for pair in pairs)


def _sample(query: str, system: str | None, turns: list[str]) -> Sample:
    from harness.records import Message, Sample

    messages = [Message("system", system)] if system else []
    for number, text in enumerate(turns):
        messages.append(Message("assistant" if number % 2 else "user", text))
    return Sample(id="query", messages=(*messages, Message("user", query)), checks=())


def _show_with_model(
    sample: Sample,
    arm: Arm,
    template: Template,
    model: str,
    chat_template: Path | None,
    tokens: bool,
) -> None:
    from harness import strategies
    from harness.engine import open_tokenizer
    from harness.models import resolve_model

    path = resolve_model(model, base_dir=Path.cwd())
    with open_tokenizer(path) as tokenizer:
        source = tokenizer.chat_template
        if chat_template is not None:
            source = _chat_template(chat_template)
        prompt = strategies.render(sample, arm, template, tokenizer, chat_template=source)
        _print_prompt(prompt, template, tokenizer)
        if tokens:
            _print_tokens(prompt, tokenizer)
        typer.echo(_footer(template, prompt))
        if prompt.rules:
            typer.echo(for_terminal(_rules(prompt.rules, tokenizer)))


def _chat_template(path: Path) -> str:
    return read_text(path, TemplateError)


def _print_prompt(prompt: RenderedPrompt, template: Template, tokenizer: Tokenizer) -> None:
    """The prompt with its control tokens in reverse video (as written where there is none)."""
    shown = for_terminal(prompt.text)
    if template.kind == "native" and prompt.special_tokens:
        markers = sorted(map(for_terminal, set(prompt.special_tokens)), key=len, reverse=True)
        shown = re.sub(
            "|".join(map(re.escape, markers)),
            lambda found: typer.style(found[0], reverse=True),
            shown,
        )
    elif prompt.bos_count and tokenizer.bos_id is not None:
        bos = for_terminal(tokenizer.token_text(tokenizer.bos_id))
        shown = typer.style(bos, reverse=True) + shown
    typer.echo(shown)  # not through Rich, which turns tabs into spaces


def _print_tokens(prompt: RenderedPrompt, tokenizer: Tokenizer) -> None:
    from harness.strategies import markers

    known = markers(tokenizer)
    for place, token in enumerate(prompt.token_ids):
        kind = "  control" if token in known else ""
        text = for_terminal(repr(tokenizer.token_text(token)))
        typer.echo(f"{place:>5} {token:>8}  {text}{kind}")


def _footer(template: Template, prompt: RenderedPrompt | None) -> str:
    """The contract in a few lines under the prompt."""
    stops = prompt.stops if prompt else template.stops
    digest = prompt.template_sha256 if prompt else template.sha256
    lines = [
        "─" * 40,
        f"template  {template.id}  sha256 {digest[:16]}",
        f"source    {template.source}",
        f"fails by  {template.known_failure}",
        f"stops     {' '.join(repr(stop) for stop in stops) or 'end of generation only'}",
    ]
    if prompt is None:
        lines.append("tokens    name a model with --model to count them")
    else:
        controls = " ".join(prompt.special_tokens) or "none"
        lines += [
            f"tokens    {len(prompt.token_ids)}, of which BOS {prompt.bos_count}",
            f"control   {controls}",
            *(f"note      {note}" for note in prompt.notes),
        ]
        if prompt.rerank:
            lines.append(f"rerank    {prompt.rerank.n} answers, judged by: {prompt.rerank.judge!r}")
    return for_terminal("\n".join(lines))


def _rules(rules: LogitRules, tokenizer: Tokenizer) -> str:
    """The logit rules in words, with the tokens they found in this vocabulary."""
    openers = "  ".join(
        f"{tokenizer.token_text(token)!r} {bias:+g}" for token, bias in rules.openers
    )
    return (
        f"rules     end of generation +{rules.eos_slope:g} a token, at most +{rules.eos_cap:g}; "
        f"tokens already used -{rules.used_penalty:g}\n"
        f"openers   for {rules.opener_tokens} token(s): {openers or 'none'}"
    )


def _plain(text: str) -> str:
    """Text for a rich table cell: no markup of its own, no control characters."""
    from rich.markup import escape

    return escape(for_terminal(text))
