"""What a user writes by hand, wrong: one line that names the file, the key and what is accepted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cli import main

GOOD: dict[str, Any] = {
    "name": "x",
    "stages": {"base": {"model": "models/tiny-base-F16.gguf"}},
    "strategies": {"base": ["raw", "alpaca"]},
    "suites": ["tiny"],
}


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a command says when it refuses."""
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("harness: ") and said.count("\n") == 1, said
    return said


def written(path: Path, text: str | dict[str, Any]) -> Path:
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(text), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nname: b\n", "line 2, column 1: not valid YAML: the key 'name' is written twice"),
        ({**GOOD, "a[b": 1}, "a[b: unknown key; "),
        ({**GOOD, "str": 1}, "str: unknown key; "),
        ({**GOOD, "pair": "smollm2-135m"}, "it has both pair and stages"),
        ({**GOOD, "epochs": 3}, "epochs: 3 with sampling.temperature 0"),
        ({**GOOD, "engine": {"n_gpu_layers": -5}}, "engine.n_gpu_layers: wanted "),
        ({**GOOD, "name": "n" * 300}, "name: a text should have at most 100 characters"),
        (
            "controls: [yes]\n",
            'controls.0: YAML reads a plain yes as true: put it in quotes, "yes"',
        ),
        ({**GOOD, "stages": {"base": {"model": "m", "sha256": "abc"}}}, "64 hexadecimal digits"),
        (
            {
                **GOOD,
                "levels": ["Q8_0"],
                "stages": {"base": {"model": "m", "sha256": {"Q80": "a" * 64}}},
            },
            "stages.base.sha256: 'Q80' is no level of this experiment, so the pin would never act; "
            "did you mean 'Q8_0'?",
        ),
        ({**GOOD, "suites": [{"suite": "tiny", "sha256": "0" * 64}]}, "the suite has changed"),
        ("seed: " + "9" * 100_000, "an integer of 100000 characters"),
        ("name: x\nseed: 2001-99-99", "seed: wanted an integer (found '2001-99-99')"),
        ("[" * 200_000, "nested more than 64 deep"),
        ("a: &a [x, x]\nb: {<<: *a}\n", "merge keys (<<) are not supported"),
        (
            "".join(
                f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]\n" for n in range(9)
            ),
            "more than 50000 values, aliases written out",
        ),
        ('name: "\\ud800"', "half a surrogate pair"),
        ({**GOOD, "strategies": {"base": ["alpca"]}}, "did you mean 'alpaca'?"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_experiment_is_one_line(
    text: str | dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "mine.yaml", text)
    line = refused(capsys, "run", path, "--dry-run", "-o", tmp_path / "out")
    assert said in line
    assert "mine.yaml" in line or "suites" in line or "strategy" in line


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (
            {"id": "language", "kwargs": {"language": "klingon"}},
            "'klingon' can be told; accepted: af,",
        ),
        (
            {"id": "lines", "kwargs": {"at_least": 10, "at_most": 2}},
            "at_least 10 is above at_most 2",
        ),
        ({"id": "lines", "kwargs": {"exactly": "3"}}, "exactly: integer >= 0, optional"),
        (
            {"id": "lines", "kwargs": {"exact": 3}},
            "lines: exact: unknown argument; did you mean 'exactly'?",
        ),
        ({"all": [{"any": [{"id": "containz"}]}]}, "did you mean contains"),
        (
            {"id": "json_schema", "kwargs": {"schema": {"$ref": "#/nope"}}},
            "$ref '#/nope' leads to nothing",
        ),
    ],
    ids=str,
)
def test_a_wrong_check_is_one_line_in_plain_words(
    check: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tmp_path / "mine.jsonl"
    suite.write_text(json.dumps({"id": "a", "prompt": "?", "checks": [check]}), encoding="utf-8")
    line = refused(capsys, "score", "--suite", suite, "--responses", suite)
    assert "mine.jsonl:1: checks.0: " in line
    assert said in line


def test_a_misspelt_key_a_csv_and_a_pipe_are_named_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = written(tmp_path / "mine.jsonl", '{"id": "a", "promt": "?", "target": "x"}\n')
    assert "unknown key 'promt'; did you mean 'prompt'?" in refused(
        capsys, "score", "--suite", suite, "--responses", suite
    )
    table = written(tmp_path / "mine.csv", "id,prompt\n")
    assert "the suite has no rows" in refused(
        capsys, "score", "--suite", table, "--responses", suite
    )
    answers = written(tmp_path / "a.jsonl", '{"key": "a", "response": "x"}\n' * 2)
    good = written(tmp_path / "good.jsonl", '{"id": "a", "prompt": "?", "target": "x"}\n')
    assert "a.jsonl:2: key: 'a' is already on line 1" in refused(
        capsys, "score", "--suite", good, "--responses", answers
    )
    assert "holds no template" in refused(
        capsys, "template", "show", "qa", "-q", "?", "--templates", tmp_path
    )
    os.mkfifo(tmp_path / "pipe")
    head = "---\nid: mine\ndescription: d\nsource: tests\nknown_failure: f\n"
    template = written(
        tmp_path / "mine.j2",
        head + "examples: {file: pipe, count: 1}\n---\n{{ examples }}{{ query }}\n",
    )
    assert main(["template", "check", str(template)]) != 0
    assert "a pipe or a device, wanted a file" in capsys.readouterr().out
    module = written(tmp_path / "nothing.py", "x = 1\n")
    assert "it registers no check" in refused(capsys, "list", "checks", "--checks", module)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are a Unix matter")
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "command",
    [
        "ask Hi -e tiny --system PIPE",
        "score --suite starter --responses PIPE",
        "template show native -q Go --model models/tiny-base-F16.gguf --chat-template PIPE",
        "gate tiny --baseline PIPE",
        "quantize models/tiny-base-F16.gguf --levels Q4_K_M -o OUT --imatrix PIPE",
    ],
)
def test_a_pipe_in_a_files_place_is_refused_and_never_waited_for(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "PIPE")
    names = {"PIPE": str(tmp_path / "PIPE"), "OUT": str(tmp_path)}
    code = main([names.get(word, word) for word in command.split()])
    shown = capsys.readouterr()
    assert code == 2 and "PIPE: a pipe or a device" in shown.err, shown.out + shown.err
    assert shown.err.count("harness: ") == 1


def test_a_stop_string_never_cuts_what_a_check_deep_inside_or_of_a_plugin_demands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    deep = {"all": [{"all": [{"id": "contains", "kwargs": {"text": "### Result"}}]}]}
    rows = [
        {"id": "deep", "prompt": "?", "checks": [deep]},
        {"id": "plugin", "prompt": "?", "checks": [{"id": "stopsafe:mine"}]},
        {"id": "free", "prompt": "?", "checks": [{"any": [deep, {"id": "refusal"}]}]},
    ]
    suite = written(tmp_path / "mine.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    module = written(
        tmp_path / "mine.py",
        "from harness.checks.registry import Context, Outcome, always, check\n"
        "@check('stopsafe:mine', demands=always('### Mine'))\n"
        "def mine(context: Context) -> Outcome:\n"
        "    '''Says it.'''\n"
        "    return Outcome('### Mine' in context.text, 'looked')\n",
    )
    path = written(tmp_path / "x.yaml", {**GOOD, "suites": [str(suite)]})
    assert main(["run", str(path), "--dry-run", "--checks", str(module)]) == 0
    assert "2 items left out" in capsys.readouterr().out


def test_a_schema_whose_parts_multiply_ends_in_a_verdict_and_unique_items_are_linear(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts: dict[str, Any] = {
        f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 10} for n in range(7)
    }
    bomb = {"$defs": {**parts, "a7": {"type": "integer"}}, "$ref": "#/$defs/a0"}
    rows = [
        {"id": name, "prompt": "?", "checks": [{"id": "json_schema", "kwargs": {"schema": schema}}]}
        for name, schema in (("bomb", bomb), ("unique", {"uniqueItems": True}))
    ]
    suite = written(tmp_path / "mine.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    items = [{"n": n} for n in range(3000)]
    answers = [{"key": "bomb", "response": "1"}, {"key": "unique", "response": json.dumps(items)}]
    file = written(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in answers))
    out = tmp_path / "out.jsonl"
    assert main(["score", "--suite", str(suite), "--responses", str(file), "-o", str(out)]) == 0
    first, second = (json.loads(line) for line in out.read_text(encoding="utf-8").splitlines())
    assert "the schema's parts multiply" in first["reasons"][0]
    assert second["strict"] == [True]


def test_a_template_that_prints_a_memory_address_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = "---\nid: mine\ndescription: d\nsource: tests\nknown_failure: f\n---\n"
    written(tmp_path / "mine.j2", head + "{{ ''|attr('format')|string }} {{ query }}\n")
    line = refused(capsys, "template", "show", "mine", "-q", "?", "--templates", tmp_path)
    assert "memory address" in line
