"""``harness suite``: everything wrong with a suite or a module of checks, each with its line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.checks import registry
from harness.cli import main
from tests.support.command import harness

GOOD = {"id": "good", "prompt": "Name a tea.", "target": "Assam"}


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Checks that a test's modules register are gone after it; it runs in a folder of its own."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    monkeypatch.chdir(tmp_path)
    registry._bind.cache_clear()
    yield
    registry._bind.cache_clear()


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["suite", "check", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def row(**more: Any) -> str:
    return json.dumps({"prompt": "Name a cake.", **more})


def ask(*checks: Any, **more: Any) -> str:
    return row(checks=list(checks), **more)


def c(id: str, **kwargs: Any) -> dict[str, Any]:
    return {"id": id, "kwargs": kwargs}


ROWS = {
    "not JSON": ("{", "not JSON: Expecting property name"),
    "no object": ("[1]", "row: wanted an object with id and prompt, found [1]"),
    "a key twice": (
        '{"prompt": "a", "prompt": "b"}',
        "not JSON: the key 'prompt' is written twice",
    ),
    "a surrogate": ('{"prompt": "\\ud800"}', "holds half a surrogate pair, which is no text"),
    "a number too large": (
        '{"prompt": "x", "n": 1e999}',
        "not JSON: the number 1e999 is too large",
    ),
    "a misspelt key": ('{"promt": "x"}', "row: unknown key 'promt'; did you mean 'prompt'?"),
    "no prompt": ('{"id": "x"}', "row: needs exactly one of prompt, messages"),
    "an empty prompt": ('{"prompt": ""}', "prompt: "),
    "a prompt of numbers": ('{"prompt": 3}', "prompt: wanted a text, found 3"),
    "an unknown kind": (row(kind="chat"), "kind: 'chat' is unknown; accepted: instruction"),
    "an id twice": (row(id="good"), "id: 'good' is already on line 1"),
    "no target to look for": (ask(c("target")), "target: the check target needs a target"),
    "an assistant last": (
        json.dumps({"messages": [{"role": "assistant", "content": "x"}]}),
        "messages: the last one is assistant, wanted user",
    ),
    "an unknown check": (ask(c("contain", text="x")), "checks.0: there is no check 'contain'"),
    "an unknown argument": (
        ask(c("contains", txt="x")),
        "checks.0: contains: txt: unknown argument; did you mean 'text'?",
    ),
    "a missing argument": (ask(c("contains")), "checks.0: contains: text: "),
    "an argument's type": (
        ask(c("lines", exactly="1")),
        "checks.0: lines: exactly: wanted an integer, found '1'",
    ),
    "a bad pattern": (ask(c("regex", pattern="(")), "checks.0: regex: pattern: "),
    "a bad schema": (ask(c("json_schema", schema={"type": "txt"})), "not a JSON Schema"),
    "a bad path": (ask(c("json_path", path="a.b")), "is not a path such as $.items[0].name"),
    "two forms of a check": (
        ask({"id": "refusal", "not": {"id": "refusal"}}),
        "checks.0: needs exactly one of id, not, any, all",
    ),
    "no budget": (row(max_tokens=0), "max_tokens: 0 is less than the minimum of 1"),
    "a name without a value": (
        json.dumps({"prompt": "{{a}} {{ cit }}", "variables": {"a": "x", "city": "y"}}),
        "prompt: {{cit}} has no value; did you mean 'city'?",
    ),
    "a value without a name": (
        row(variables={"targt": "x"}),
        "variables: no text of the row holds {{targt}}; did you mean the key 'target'?",
    ),
    "bounds apart": (
        ask(c("length_words", at_least=10), c("length_words", at_most=5)),
        "checks.0 (length_words) and checks.1 (length_words) contradict each other: "
        "at least 10 words, at most 5 words",
    ),
    "words that are no characters": (
        ask(c("length_chars", at_most=10), c("length_words", exactly=8)),
        "checks.1 (length_words) and checks.0 (length_chars) contradict each other: "
        "at least 8 words, at most 10 characters",
    ),
    "wanted and forbidden": (
        ask(c("contains", text="green tea"), c("not_contains", text="tea")),
        "checks.0 (contains) and checks.1 (not_contains) contradict each other",
    ),
    "a target with a comma": (
        ask(c("punctuation:no_comma"), target=["Ulm, Bonn", "Bonn, Ulm"]),
        "checks.1 (target) and checks.0 (punctuation:no_comma) contradict each other",
    ),
    "a check and its opposite": (
        ask(c("refusal"), {"not": c("refusal")}),
        "checks.0 (refusal) and checks.1 (not) contradict each other",
    ),
    "equal to what fails": (
        ask(c("equals", text="Yes"), c("ends_with", text=".")),
        "checks.0 (equals) and checks.1 (ends_with) contradict each other: 'Yes' fails it",
    ),
    "a schema that nothing fits": (
        ask(c("json_schema", schema={"type": "integer", "minimum": 5, "maximum": 1})),
        "checks.0 (json_schema): schema: minimum 5 is above maximum 1, so nothing fits it",
    ),
    "an option that is none": (
        ask(c("choice", options=["yes", "no"], answer="ja")),
        "checks.0: choice: answer: 'ja' is none of the options, so nothing passes",
    ),
    "no line": (ask(c("lines", exactly=0)), "checks.0 (lines): at most 0: a blank answer fails"),
}

HEAD = "from harness import Context, Example, Outcome, check\n\n\n"
MODULES = {
    "registers nothing": ("x = 1\n", 1, "it registers no check; write `from harness import check"),
    "syntax": ("x = 1\ndef f(:\n    pass\n", 2, "invalid syntax"),
    "a name": ("x = 1\n\ny = nothing\n", 3, "NameError: name 'nothing' is not defined"),
    "an import": ("import no_such_module_x\n", 1, "ModuleNotFoundError: No module named"),
    "it exits": ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
    "an id that is taken": (
        HEAD + "@check('contains')\ndef f(context): return Outcome(True, '')\n",
        4,
        "two checks are called 'contains'",
    ),
    "no context": (
        HEAD + "@check('mine:a')\ndef f(): return Outcome(True, '')\n",
        4,
        "check 'mine:a': its function takes no context",
    ),
    "an argument in place": (
        HEAD + "@check('mine:b')\ndef f(context, n: int): return Outcome(True, '')\n",
        4,
        "check 'mine:b': the argument 'n' is not keyword-only",
    ),
    "an argument without a type": (
        HEAD + "@check('mine:c')\ndef f(context, *, n): return Outcome(True, '')\n",
        4,
        "check 'mine:c': the argument 'n' has no type: annotate it",
    ),
    "a type that is none": (
        HEAD + "@check('mine:d')\ndef f(context, *, n: 'Nmber'): return Outcome(True, '')\n",
        4,
        "check 'mine:d': an annotation cannot be read: name 'Nmber' is not defined",
    ),
    "a coroutine": (
        HEAD + "@check('mine:e')\nasync def f(context): return Outcome(True, '')\n",
        4,
        "check 'mine:e': a check is a plain function",
    ),
}


def test_there_are_forty_of_them() -> None:
    assert len(ROWS) + len(MODULES) >= 40


@pytest.mark.parametrize("name", ROWS)
def test_a_bad_row_gets_its_line_and_one_reason(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, reason = ROWS[name]
    lines = [json.dumps(GOOD), "", text, row(prompt="Name a pot.")]
    Path("mine.jsonl").write_text("\n".join(lines), encoding="utf-8")
    code, found = checked(capsys, "mine.jsonl")
    assert code == 1
    (error,) = found["errors"]
    assert (error["file"], error["line"]) == ("mine.jsonl", 3)
    assert reason in error["text"] and "\n" not in error["text"]
    # A row that can be read is looked at further, one that nothing passes among them.
    passes_nothing = re.search("so no answer|nothing fits|blank answer", error["text"])
    assert found["items"] == (3 if passes_nothing else 2)


@pytest.mark.parametrize("name", MODULES)
def test_a_bad_module_of_checks_gets_its_line_and_one_reason(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, line, reason = MODULES[name]
    Path("mine.py").write_text(text, encoding="utf-8")
    Path("mine.jsonl").write_text(json.dumps(GOOD), encoding="utf-8")
    assert main(["suite", "check", "mine.jsonl", "--checks", "mine.py"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"harness: --checks {Path('mine.py').resolve()}:{line}: {reason}")
    assert said.count("\n") == 1


BROKEN = (
    HEAD
    + """@check("mine:raises")
def raises(context: Context) -> Outcome:
    \"\"\"Raises.\"\"\"
    return Outcome(context.text[100] == "x", "")


@check("mine:returns")
def returns(context: Context) -> Outcome:
    \"\"\"Returns no outcome.\"\"\"
    return True


@check("mine:example", passes=[Example("tea")], fails=[Example("tee")])
def example(context: Context) -> Outcome:
    \"\"\"Says tea.\"\"\"
    return Outcome("t" in context.text, "looked for a t")
"""
)


def test_own_checks_that_do_not_judge_are_found_without_a_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("mine.py").write_text(BROKEN, encoding="utf-8")
    rows = [ask(c("mine:raises")), row(prompt="b", checks=[c("mine:returns"), c("mine:example")])]
    Path("mine.jsonl").write_text("\n".join(rows), encoding="utf-8")
    code, found = checked(capsys, "mine.jsonl", "--checks", "mine.py")
    assert code == 1
    told = {(Path(error["file"]).name, error["line"]): error["text"] for error in found["errors"]}
    assert told["mine.jsonl", 1].startswith("checks.0 (mine:raises): the check failed: IndexError")
    assert told["mine.jsonl", 2].startswith("checks.0 (mine:returns): the check returned bool")
    assert told["mine.py", 16].startswith("check 'mine:example': 'tee' is an example that fails")


def test_all_errors_come_at_once_and_the_rest_is_looked_at(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = {"prompt": "x", "kind": "chat", "tag": ["a"], "checks": [{"id": "lnes"}, {"id": "x:y"}]}
    rows = [
        "{",
        json.dumps(bad),
        *(row(prompt=f"Say {n} and {n * n}.", target=str(n)) for n in range(5)),
    ]
    Path("mine.jsonl").write_text("\n".join(rows), encoding="utf-8")
    code, found = checked(capsys, "mine.jsonl")
    assert (code, found["items"], found["independent"]) == (1, 5, 5)
    assert [(error["line"], error["text"][:12]) for error in found["errors"]] == [
        (1, "not JSON: Ex"),
        (2, "kind: 'chat'"),
        (2, "row: unknown"),
        (2, "checks.0: th"),
        (2, "checks.1: th"),
    ]
    assert found["floor"]["echo"] == 1.0 and found["floor"]["empty"] == 0.0
    assert found["seen"][1]["discordance"] == 0.1


def test_what_looks_odd_is_a_warning_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    long = [c("length_words", at_least=80)]
    rows = [
        row(prompt="Write three lines about the old harbour at night, please.", category="writing"),
        row(prompt="Please: write three lines about the old harbour at night!", category="writing"),
        row(prompt="Compare {{a}} with tea.", category="writting"),
        row(prompt="Tell me of rivers.", group="g", max_tokens=9, checks=long),
        row(prompt="Tell me of rivers!", group="g"),
    ]
    Path("mine.jsonl").write_text("\n".join(rows), encoding="utf-8")
    code, found = checked(capsys, "mine.jsonl")
    assert code == 0 and not found["errors"]
    told = [(remark["line"], remark["text"]) for remark in found["warnings"]]
    assert [line for line, _ in told] == [1, 3, 3, 4]
    assert "nearly the same prompt as on line 2" in told[0][1]
    assert any("category 'writting' occurs once; did you mean 'writing'?" in t for _, t in told)
    assert any("{{a}} is asked as it stands" in text for _, text in told)
    assert "80 words hardly fit the item's max_tokens, 9" in told[3][1]


@pytest.mark.slow
def test_the_command_says_what_items_can_tell_and_shows_them(tmp_path: Path) -> None:
    table = "id,prompt,target,city,metadata.from\na,Where is {{city}}?,Italy,Rome,an atlas\n"
    (tmp_path / "mine.csv").write_text(table, encoding="utf-8")
    done = harness("suite", "check", "mine.csv", cache=tmp_path / "cache", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mine: 1 item in 1 category, 1 judged (target 1)" in done.stdout
    assert "responders that ask no model pass: empty 0 %, yes 0 %" in done.stdout
    assert "majority 100 %" in done.stdout and "0 errors, 0 warnings" in done.stdout
    shown = harness("suite", "show", "-", cache=tmp_path / "cache", cwd=tmp_path, stdin=table)
    assert shown.returncode == 0, shown.stderr
    assert (
        "  user: Where is Rome?\n  check: target: 'Italy'\n  metadata.from: 'an atlas'"
        in shown.stdout
    )
    wrong = harness(
        "suite", "show", "mine.csv", "--item", "aa", cache=tmp_path / "cache", cwd=tmp_path
    )
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "harness: no item 'aa' in mine.csv; did you mean 'a'?\n",
    )
    missing = harness("suite", "check", "startr", cache=tmp_path / "cache", cwd=tmp_path)
    assert missing.returncode == 2 and "did you mean 'starter'?" in missing.stderr
