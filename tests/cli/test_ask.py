"""``harness ask`` as a user types it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import main
from tests.support.processes import heed_interrupts
from tests.support.tinygguf import CHATML, write_llama

ROOT = Path(__file__).parents[2]
PAIR = [("base", "base"), ("instruct", "dpo")]
TINY = ["-e", "tiny", "--max-tokens", "12"]
TEMPLATE = """\
---
id: {id}
description: d
source: tests
known_failure: f
---
Q: {{{{ query }}}}{{{{ system }}}}{{{{ history }}}}
"""


@pytest.fixture(autouse=True)
def a_store_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
def test_what_a_run_or_a_question_answered_is_not_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["ask", "Name the colour of tea.", *TINY]

    def heads(*more: str) -> list[str]:
        assert main([*asked, *more]) == 0
        return [line for line in capsys.readouterr().out.splitlines() if line[:3] == "== "]

    first = heads()
    assert not any("stored" in head for head in first)
    again = heads("--strategies", "sys_qa,qa")
    assert [head for head in again if "stored" not in head] == [
        head for head in again if "base F16, qa" in head
    ]
    assert heads() == [head.replace("tokens)", "tokens · stored)") for head in first]
    assert heads("--no-cache") == first
    suite = tmp_path / "one.txt"
    suite.write_text("Name the colour of juice.\n", encoding="utf-8")
    files = [f"--{stage}={ROOT}/models/tiny-{name}-F16.gguf" for stage, name in PAIR]
    run = ["run", *files, "--suite", str(suite), "--strategies", "sys_qa", "-q"]
    assert main([*run, "-o", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert main(["ask", "Name the colour of juice.", *files, "--strategies", "sys_qa"]) == 0
    assert capsys.readouterr().out.count("· stored)") == 3


def test_without_a_question_and_a_terminal_it_says_how_to_ask(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["ask"]) == 2
    assert 'harness ask "..."' in capsys.readouterr().err


def test_a_pipe_gets_the_answers_in_the_order_of_the_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # sys_qa stops at its stop string long before raw has used up its tokens.
    assert main(["ask", "What is the capital of France?", "-e", "tiny", "--max-tokens", "40"]) == 0
    heads = [line for line in capsys.readouterr().out.splitlines() if line.startswith("== ")]
    assert [head.split(" (")[0] for head in heads] == [
        "== base F16, raw", "== base F16, sys_qa", "== dpo F16, native",
    ]  # fmt: skip
    assert all(" prompt + " in head and " answer tokens)" in head for head in heads)


def test_a_marker_in_the_question_is_refused_before_any_model_answers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["ask", "What is <|im_end|>?", *TINY]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "item question: its text contains '<|im_end|>'" in shown.err


def test_templates_of_ones_own_can_be_asked_and_replace_none_silently(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.j2").write_text(TEMPLATE.format(id="mine"), encoding="utf-8")
    options = ["--templates", str(tmp_path), "--strategies", "mine,"]
    assert main(["ask", "Hi", *TINY, *options]) == 0
    assert "== base F16, mine (" in capsys.readouterr().out
    (tmp_path / "qa.j2").write_text(TEMPLATE.format(id="qa"), encoding="utf-8")
    assert main(["ask", "Hi", *TINY, *options]) == 2
    assert "the id 'qa' is taken by" in capsys.readouterr().err


def test_help_tells_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "(sys_qa)" in shown
    assert "(the experiment's first)" in shown


def terminal(
    arguments: list[str], talk: list[tuple[str, str]], kind: str = "xterm-256color"
) -> tuple[int, str]:
    """Run ``harness ask`` in a pseudo-terminal: wait for each text, then type its reply.

    Ctrl-C is typed again when nothing happens: one that comes between the prompt and the moment
    Python waits for a key is only heeded at the next key.
    """
    import pty
    import select

    pid, terminal = pty.fork()
    if pid == 0:
        heed_interrupts()
        os.environ.update(TERM=kind, COLUMNS="80", LINES="40")
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "harness", "ask", *arguments])
    seen, read, waiting, waited, typed = "", 0, list(talk), "", ""
    while True:
        if (waited, typed) == ("Ask again", "\x03") and not select.select([terminal], [], [], 5)[0]:
            os.write(terminal, typed.encode())
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        seen += data.decode("utf-8", "replace")
        if waiting and waiting[0][0] in seen[read:]:
            read = len(seen)
            waited, typed = waiting.pop(0)
            os.write(terminal, typed.encode())
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert waiting == [], seen
    return os.waitstatus_to_exitcode(status), seen


UNIX = pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are a Unix matter")


@UNIX
def test_a_question_that_cannot_be_asked_does_not_end_the_session() -> None:
    code, seen = terminal(
        ["Hi", *TINY],
        [
            ("Ask again", "What is <|im_end|>?\n"),
            ("Ask again", "/system Be kind.\n"),
            ("Ask again", "Who?\n"),
            ("Ask again", "\n"),
        ],
    )
    assert code == 0, seen
    assert "harness: item question: its text contains '<|im_end|>'" in seen
    after = seen.split("system prompt: Be kind.")[1]
    assert "answer tokens" in " ".join(after.replace("│", " ").split())


@UNIX
def test_a_terminal_that_cannot_redraw_gets_plain_lines() -> None:
    code, seen = terminal(["Hi", *TINY], [("Ask again", "\n")], kind="dumb")
    assert code == 0, seen
    assert "== base F16, raw (" in seen and "╭" not in seen


HOSTILE = (
    "\x1b]0;owned\x07",  # the window's title
    "\x1b]52;c;cm0gLXJm\x07",  # the clipboard
    "\x1b[2J\x1b[H",  # the screen
    "\u202egnp.exe",  # the order of reading
    "\u009b31m",  # one byte's worth of escape
    "[red]not[/red] markup",
    "\r\x08\x7f",
    "\x1b[6n",  # the terminal answers this one by typing
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options that ask two models which answer in escape sequences only."""
    folder = tmp_path_factory.mktemp("hostile")
    for seed, name in enumerate(("base", "instruct")):
        write_llama(folder / f"{name}.gguf", seed=seed, chat_template=CHATML, says=HOSTILE)
    models = ["--base", f"{folder}/base.gguf", "--instruct", f"{folder}/instruct.gguf"]
    return [*models, "--max-tokens", "24"]


def acts(text: str) -> list[str]:
    """Which of the hostile answers reached the screen as they are."""
    signs = ("\x1b]", "\x1b[2J", "\x1b[H", "\u202e", "\u009b", "\x07", "\x08", "\x7f", "\x1b[6n")
    return [sign for sign in signs if sign in text]


@UNIX
@pytest.mark.parametrize("kind", ["xterm-256color", "dumb"])
@pytest.mark.slow
def test_an_answer_of_escape_sequences_is_shown_and_does_nothing(
    hostile: list[str], kind: str
) -> None:
    code, seen = terminal(["Hi", *hostile], [("Ask again", "Who?\n"), ("Ask again", "\n")], kind)
    assert code == 0, seen
    assert acts(seen) == []
    shown = "".join(seen.replace("│", "").split())
    assert "\\x1b" in shown and "\\x07" in shown, "the answers are hostile ones"


def test_a_pipe_and_a_pasted_exchange_hold_no_escape_sequence(
    hostile: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for options in ([], ["--markdown"]):
        assert main(["ask", "Hi", *hostile, *options]) == 0
        out = capsys.readouterr().out
        assert acts(out) == [] and "\\x1b" in out


@UNIX
def test_ctrl_c_at_the_prompt_ends_with_one_line() -> None:
    code, seen = terminal(["Hi", *TINY], [("Ask again", "\x03")])
    assert code == 130
    assert "harness: stopped; an answer that was cut short is not kept" in seen


@pytest.mark.real
@UNIX
def test_ctrl_c_ends_an_answer_and_asks_for_the_next_question() -> None:
    options = ["-e", "cross-family", "--strategies", "raw", "--max-tokens", "300"]
    talk = [("9,", "\x03"), ("Ask again", "Name a fruit.\n"), ("raw", "\x03"), ("Ask again", "\n")]
    code, seen = terminal(["Count: 1, 2, 3, 4, 5, 6,", *options], talk)
    assert code == 0, seen
    assert seen.count("stopped; that model is loaded again for the next question") == 2
    assert "9," in seen.split("stopped;")[0].rsplit("╭", 1)[1], "what was said so far stays"


@pytest.mark.real
def test_the_exercise_runs_on_real_weights_and_prints_markdown() -> None:
    command = [sys.executable, "-m", "harness", "ask", "What is the capital of France?"]
    options = ["-e", "cross-family", "--max-tokens", "8", "--strategies", "qa", "--markdown"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for heading in ("### base, raw", "### base, qa", "### instruct, native"):
        assert heading in done.stdout
    assert "Paris" in done.stdout


@pytest.mark.real
@UNIX
def test_in_a_terminal_it_asks_again_with_the_models_loaded() -> None:
    code, text = terminal(
        ["Name a fruit.", "-e", "cross-family", "--max-tokens", "6"],
        [
            ("Ask again", "/system Answer in French.\n"),
            ("Ask again", "Name a colour.\n"),
            ("Ask again", "\n"),
        ],
    )
    assert code == 0
    assert "system prompt: Answer in French." in text
    assert text.count("base, sys_qa") >= 2
