"""``harness ask``: the founding exercise, side by side in the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.app import app
from harness.errors import ConfigError, HarnessError, Interrupted
from harness.sanitize import fence, for_markdown, for_terminal

if TYPE_CHECKING:
    from rich.console import RenderableType

    from harness.asking import Answer, Asking
    from harness.records import Condition

PANEL = 26
"""Columns a panel needs to be read: the panels that do not fit beside each other stand below."""
AGAIN = "Ask again (/system TEXT changes the system prompt, an empty line ends): "


@app.command()
def ask(
    question: str = typer.Argument(None, help="The question; asked for when left out."),
    experiment: str = typer.Option(
        None,
        "--experiment",
        "-e",
        help="Experiment whose models answer: file or shipped name (tiny).",
    ),
    base: str = typer.Option(
        None, "--base", help="The base model's GGUF file or server (http://...), without a YAML."
    ),
    instruct: str = typer.Option(
        None, "--instruct", help="The instruct model's GGUF file or server (http://...#MODEL)."
    ),
    strategies: str = typer.Option(
        None, "--strategies", help="Wrappers of the base model, comma-separated (sys_qa)."
    ),
    system: str = typer.Option(
        None, "--system", help="Your own system prompt, a text or a file of it."
    ),
    level: str = typer.Option(None, "--level", help="Quantization level (the experiment's first)."),
    pair: str = typer.Option(None, "--pair", help="Take the models from this registry family."),
    max_tokens: int = typer.Option(None, "--max-tokens", min=1, help="Tokens per answer at most."),
    templates: list[Path] = typer.Option(
        [], "--templates", exists=True, file_okay=False, help="Folder of your own templates."
    ),
    markdown: bool = typer.Option(False, "--markdown", help="Print Markdown for pasting."),
    no_cache: bool = typer.Option(
        False, "--no-cache", help="Ask again what was answered before; keep no answers."
    ),
) -> None:
    """Put one question to the raw base, the wrapped base and the instruct model, side by side.

    In a terminal it asks for the next question and keeps the models loaded; Ctrl-C ends an answer.
    What a run or an earlier question has answered is shown as it was ("stored").
    """
    from harness.asking import Asking
    from harness.experiment.override import chosen_experiment, override, system_text
    from harness.store import default_store

    # With its output in a file nobody would see what it asks for.
    loop = sys.stdin.isatty() and sys.stdout.isatty() and not markdown
    if question is None and not loop:
        raise ConfigError('no question: write it behind the command, harness ask "..."')
    chosen = override(
        chosen_experiment(experiment, pair=pair, base=base, instruct=instruct),
        max_tokens=max_tokens,
        templates=templates,
    )
    store = None if no_cache else default_store()
    names = [part.strip() for part in (strategies or "").split(",") if part.strip()] or None
    own = system_text(system)
    try:
        with Asking(chosen, chosen=names, level=level, store=store) as asking:
            if chosen.warning and not markdown:
                typer.echo(for_terminal(f"note: {chosen.warning}"), err=True)
            if loop:
                _converse(asking, question, own)
            else:
                _answer(asking, question, own, markdown)
    except KeyboardInterrupt:
        raise Interrupted("stopped; an answer that was cut short is not kept") from None


def _converse(asking: Asking, question: str | None, system: str | None) -> None:
    """Questions until an empty line; one that cannot be asked, or is cut short, ends nothing."""
    line = _next_line("Question: ") if question is None else question
    while line:
        command, _, text = line.partition(" ")
        if command == "/system":
            system = _system(text.strip(), system)
            typer.echo("system prompt: " + for_terminal(system or "each strategy's own"))
        else:
            try:
                _answer(asking, line, system, markdown=False)
            except HarnessError as error:
                typer.echo(for_terminal(f"harness: {error}"), err=True)
            except KeyboardInterrupt:
                typer.echo("stopped; that model is loaded again for the next question")
        line = _next_line(AGAIN)


def _system(text: str, before: str | None) -> str | None:
    from harness.experiment.override import system_text

    try:
        return system_text(text) or None
    except HarnessError as error:
        typer.echo(for_terminal(f"harness: {error}"), err=True)
        return before


def _next_line(prompt: str) -> str:
    try:
        return input(prompt).strip()
    except EOFError:
        typer.echo()
        return ""


def _answer(asking: Asking, question: str, system: str | None, markdown: bool) -> None:
    if markdown:
        answers = list(_as_listed(asking, asking.ask(question, system=system)))
        typer.echo(as_markdown(question, system, answers))
    elif sys.stdout.isatty() and os.environ.get("TERM") != "dumb":  # such a one cannot redraw
        _live(asking, question, system)
    else:
        for answer in _as_listed(asking, asking.ask(question, system=system)):
            typer.echo(as_text(answer))


def _as_listed(asking: Asking, answers: Iterable[Answer]) -> Iterable[Answer]:
    """Answers in the order of the conditions, each as soon as those before it have come."""
    waiting = list(asking.conditions)
    early: dict[Condition, Answer] = {}
    for answer in answers:
        early[answer.condition] = answer
        while waiting and waiting[0] in early:
            yield early[waiting.pop(0)]


def _live(asking: Asking, question: str, system: str | None) -> None:
    """A panel per condition, growing as its answer comes."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    texts = dict.fromkeys(asking.conditions, "")
    done: dict[Condition, Answer] = {}

    def shown() -> RenderableType:
        return _columns(texts, done, console.width)

    def told(condition: Condition, text: str) -> None:
        texts[condition] += text
        live.update(shown())

    # The live view is cut at the terminal's height: what stays is printed whole afterwards.
    live = Live(shown(), console=console, transient=True)
    try:
        live.start()
        for answer in asking.ask(question, system=system, on_text=told):
            done[answer.condition] = answer
            live.update(shown())
    finally:
        # Not `with`: Ctrl-C may come while the view is being put up, and it must come down again.
        live.stop()
        if any(texts.values()) or done:
            console.print(shown())


def _columns(
    texts: dict[Condition, str], done: dict[Condition, Answer], width: int
) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    panels = [_panel(condition, texts[condition], done.get(condition)) for condition in texts]
    per_row = max(1, min(len(panels), width // PANEL))
    rows = []
    for start in range(0, len(panels), per_row):
        grid = Table.grid(expand=True, padding=(0, 1))
        for _ in range(per_row):
            grid.add_column(ratio=1)
        grid.add_row(*panels[start : start + per_row])
        rows.append(grid)
    return Group(*rows)


def _panel(condition: Condition, so_far: str, answer: Answer | None) -> RenderableType:
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    body: list[RenderableType] = [Text(for_terminal(answer.text if answer else so_far))]
    if answer:
        body += [Text(), Text(footing(answer), style="dim")]
    return Panel(Group(*body), title=Text(for_terminal(title(condition))))


def title(condition: Condition) -> str:
    """``base, sys_qa`` with the level where there is one to tell."""
    level = "" if condition.level == "as-is" else f" {condition.level}"
    return f"{condition.stage}{level}, {condition.strategy}"


def footing(answer: Answer) -> str:
    """Why the answer ended and what it cost, on one line."""
    generation = answer.generation
    return (
        f"{generation.finish_reason} · {generation.prompt_tokens} prompt + "
        f"{generation.completion_tokens} answer tokens" + (" · stored" if answer.stored else "")
    )


def as_text(answer: Answer) -> str:
    """One condition's answer for a pipe or a file."""
    head = f"== {title(answer.condition)} ({footing(answer)})"
    return for_terminal(f"{head}\n{answer.text}\n")


def as_markdown(question: str, system: str | None, answers: Sequence[Answer]) -> str:
    """The exchange for pasting: a heading and a fenced block per condition."""
    lines = [f"**Question:** {for_markdown(question)}", ""]
    if system:
        lines += ["**System prompt:**", "", fence(system), ""]
    for answer in answers:
        name = for_markdown(title(answer.condition))
        lines += [f"### {name}", "", footing(answer), "", fence(answer.text), ""]
    return "\n".join(lines)
