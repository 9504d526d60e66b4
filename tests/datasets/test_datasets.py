from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness import checks
from harness.datasets import load_suite, locate, parse_row, suite_name, suite_sha256
from harness.errors import FetchError, SuiteError
from harness.hashing import file_sha256
from harness.records import CheckSpec, Message
from harness.resources import resource_dir

GOOD: dict[str, Any] = {"id": "a", "prompt": "Name a tea.", "target": "Assam"}
IFEVAL = {
    "key": 7,
    "prompt": "No commas.",
    "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
    "kwargs": [{"num_words": None}, {"num_words": 3.0, "relation": "at least", "letter": None}],
}


def suite(folder: Path, *rows: Any, name: str = "mine.jsonl") -> Path:
    path = folder / name
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def load(source: Any, limit: int | None = None) -> Any:
    return load_suite(source, validate=checks.validate, limit=limit)


def test_a_row_becomes_a_sample(tmp_path: Path) -> None:
    row = GOOD | {
        "system": "Be brief.",
        "category": "facts",
        "checks": [{"id": "lines", "kwargs": {"exactly": 1}}, {"not": {"id": "refusal"}}],
        "tags": ["tea"],
        "needs": ["system"],
        "group": "g1",
    }
    (sample,) = load(suite(tmp_path, row))
    assert sample.messages == (Message("system", "Be brief."), Message("user", "Name a tea."))
    assert sample.checks == (
        CheckSpec("lines", {"exactly": 1}),
        CheckSpec("not", {"check": {"id": "refusal"}}),
        CheckSpec("target"),
    )
    assert (sample.id, sample.suite, sample.category) == ("a", "mine", "facts")
    assert (sample.target, sample.tags, sample.needs) == (("Assam",), ("tea",), ("system",))
    assert sample.group == "g1"


def test_a_conversation_keeps_its_turns(tmp_path: Path) -> None:
    turns = [("user", "Hi"), ("assistant", "Hello"), ("user", "Name a tea.")]
    messages = [{"role": role, "content": content} for role, content in turns]
    row = {"id": "a", "messages": messages, "target": ["Assam", "Ceylon"]}
    (sample,) = load(suite(tmp_path, row))
    assert [(turn.role, turn.content) for turn in sample.messages] == turns
    assert sample.query == "Name a tea."


def test_a_published_row_loses_its_nulls_and_floats(tmp_path: Path) -> None:
    pytest.importorskip("punkt", reason="needs the ifeval extra")
    (sample,) = load({"ifeval": str(suite(tmp_path, IFEVAL))})
    assert sample.id == "7"
    assert sample.suite == "ifeval"
    assert sample.checks == (
        CheckSpec("punctuation:no_comma", {}),
        CheckSpec("length_constraints:number_words", {"num_words": 3, "relation": "at least"}),
    )


def test_a_published_row_is_ablated_by_the_sentences_that_hold_its_instructions() -> None:
    row = {**IFEVAL, "prompt": "Describe a walk by the sea. Use no commas.\nAt least 3 words."}
    parse = partial(parse_row, suite="ifeval", where="here", validate=lambda spec: None)
    assert parse(row).ablated == "Describe a walk by the sea."
    # An instruction that no sentence holds alone cannot be taken out.
    whole = {**row, "prompt": "Describe a walk by the sea in at least 3 words without commas."}
    assert parse(whole).ablated is None
    assert parse({**row, "prompt": "Describe a walk by the sea. Use no commas."}).ablated is None


def test_ifbench_is_read_from_parquet_as_the_hub_has_it(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs the ifeval extra")
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the ifeval extra")
    row = {
        "key": "0",
        "prompt": "Use 3 numbers.",
        "instruction_id_list": ["count:numbers"],
        "kwargs": [{"N": 3.0, "keyword": None}],
    }
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "test.parquet")
    (sample,) = load({"ifbench": str(tmp_path / "test.parquet")})
    assert (sample.id, sample.checks) == ("0", (CheckSpec("count:numbers", {"N": 3}),))


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("{", "mine.jsonl:2: not JSON"),
        ('{"id": NaN}', "mine.jsonl:2: not JSON: NaN"),
        ('{"id": "b", "prompt": "\\ud800", "target": "x"}', "half a surrogate pair"),
        ([1], "mine.jsonl:2: row: "),
        ({"id": "b", "prompt": "", "target": "x"}, "mine.jsonl:2: prompt: "),
        ({"id": 3, "prompt": "x", "target": "y"}, "mine.jsonl:2: id: wanted a text, found 3"),
        (GOOD | {"id": "b", "promt": "x"}, "promt"),
        (
            GOOD | {"id": "b", "needs": ["tools"]},
            "mine.jsonl:2: needs.0: 'tools' is unknown; accepted: system",
        ),
        (GOOD | {"id": "b", "kind": "chat"}, "mine.jsonl:2: kind: "),
        (
            {"id": "b", "prompt": "x", "checks": [{"kwargs": {}}]},
            "mine.jsonl:2: checks.0: needs exactly one of id, not, any, all",
        ),
        (GOOD, "mine.jsonl:2: id: 'a' is already on line 1"),
        (
            {"id": "b", "prompt": "x", "checks": [{"id": "target"}]},
            "mine.jsonl:2: target: the check target needs",
        ),
        (
            {"id": "b", "prompt": "x", "checks": [{"id": "lines", "kwargs": {"exactly": "1"}}]},
            "mine.jsonl:2: checks.0: lines: exactly: ",
        ),
        (
            {"id": "b", "prompt": "x", "checks": [{"id": "refusal"}, {"id": "lnes"}]},
            "mine.jsonl:2: checks.1: there is no check 'lnes'; did you mean lines?",
        ),
        (
            {"id": "b", "messages": [{"role": "assistant", "content": "x"}], "target": "y"},
            "mine.jsonl:2: messages: the last one is assistant, wanted user",
        ),
        (IFEVAL | {"kwargs": [{}]}, "mine.jsonl:2: kwargs: 1 entries for 2 instructions"),
        (
            IFEVAL | {"instruction_id_list": ["a:b", "c:d"]},
            "mine.jsonl:2: instruction_id_list.0: there is no check 'a:b'",
        ),
    ],
)
def test_a_bad_row_names_file_line_and_field(tmp_path: Path, row: Any, complaint: str) -> None:
    with pytest.raises(SuiteError) as caught:
        load(suite(tmp_path, GOOD, row))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_row_needs_neither_checks_nor_an_id_and_gets_one_of_its_text(tmp_path: Path) -> None:
    rows = [{"prompt": "Name a tea."}, {"prompt": "Name a tree.", "checks": []}]
    one, other = load(suite(tmp_path, *rows))
    assert one.checks == other.checks == ()
    assert one.id.startswith("p-") and one.id != other.id
    assert [item.id for item in load(suite(tmp_path, *reversed(rows)))] == [other.id, one.id]
    with pytest.raises(SuiteError, match=r"mine\.jsonl:2: id: 'p-\w+' is already on line 1"):
        load(suite(tmp_path, rows[0], rows[0]))


def test_prompts_come_a_line_each_or_between_dashes(tmp_path: Path) -> None:
    lines, blocks = tmp_path / "lines.txt", tmp_path / "blocks.md"
    lines.write_text("Name a tea.\n\n  Name a tree.\r\n", encoding="utf-8")
    assert [item.query for item in load(lines)] == ["Name a tea.", "Name a tree."]
    blocks.write_text("Name a tea.\n\nShortly.\n---\n---\nName a tree.\n", encoding="utf-8")
    assert [item.query for item in load(blocks)] == ["Name a tea.\n\nShortly.", "Name a tree."]


def test_a_table_gives_a_row_an_item(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text('prompt,target,category\n"A, b\nc?",Assam,tea\nd?,,\n', encoding="utf-8")
    one, other = load(table)
    assert (one.query, one.target, one.category) == ("A, b\nc?", ("Assam",), "tea")
    assert (other.query, other.checks) == ("d?", ())


def test_names_in_braces_are_filled_from_columns_and_fields(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text(
        "prompt,city,the_dish,target,max_tokens,metadata.source\n"
        '"What is {{ the_dish }} in {{city}}?",Rome,{{city}},{{the_dish}},40,a book\n'
        "Which {{city}}?,Oslo,,,,\n",
        encoding="utf-8",
    )
    one, other = load(table)
    # A value is never filled again, and an empty cell is no value.
    assert (one.query, one.target) == ("What is {{city}} in Rome?", ("{{city}}",))
    assert (one.max_tokens, one.metadata) == (40, {"source": "a book"})
    assert (other.query, other.max_tokens, other.metadata) == ("Which Oslo?", None, {})
    row = {
        "messages": [
            {"role": "user", "content": "I am {{name}}."},
            {"role": "assistant", "content": "Hello {{name}}."},
            {"role": "user", "content": "Add {{n}} and {{ big number }}."},
        ],
        "system": "You speak to {{name}}.",
        "variables": {"name": "Ann", "n": 3, "big number": 4.5},
    }
    (talk,) = load(suite(tmp_path, row))
    assert [turn.content for turn in talk.messages] == [
        "You speak to Ann.",
        "I am Ann.",
        "Hello Ann.",
        "Add 3 and 4.5.",
    ]
    (plain,) = load(suite(tmp_path, {"prompt": "A template such as {{name}}."}))
    assert plain.query == "A template such as {{name}}."


def test_the_first_line_may_speak_for_all_rows(tmp_path: Path) -> None:
    usual = {
        "prompt": "Sort: {{ticket}}",
        "checks": [{"id": "contains", "kwargs": {"text": ["{{label}}"]}}],
        "variables": {"label": "low"},
        "tags": ["tickets"],
        "max_tokens": 9,
    }
    rows = [
        {"defaults": usual},
        {"variables": {"ticket": "It burns.", "label": "high"}, "tags": ["fire"]},
        {"variables": {"ticket": "Hello."}, "checks": [{"id": "lines", "kwargs": {"exactly": 1}}]},
        {"messages": [{"role": "user", "content": "{{label}}?"}], "max_tokens": 3},
    ]
    one, two, three = load(suite(tmp_path, *rows))
    assert (one.query, one.checks) == (
        "Sort: It burns.",
        (CheckSpec("contains", {"text": ["high"]}),),
    )
    assert (one.tags, one.max_tokens) == (("tickets", "fire"), 9)
    assert [spec.id for spec in two.checks] == ["contains", "lines"]
    assert (three.query, three.max_tokens) == ("low?", 3)
    for first, complaint in (
        ({"promt": "x"}, "mine.jsonl:1: defaults: unknown key 'promt'; did you mean 'prompt'?"),
        ({"id": "x"}, "mine.jsonl:1: defaults: unknown key 'id'"),
        ({"checks": [{"id": "lnes"}]}, "mine.jsonl:1: defaults.checks.0: there is no check 'lnes'"),
        ({"max_tokens": 0}, "mine.jsonl:1: defaults.max_tokens: 0 is less"),
    ):
        with pytest.raises(SuiteError) as caught:
            load(suite(tmp_path, {"defaults": first}, GOOD))
        assert complaint in str(caught.value)
    with pytest.raises(SuiteError, match=r"mine\.jsonl:2: defaults: only the first row may speak"):
        load(suite(tmp_path, GOOD, {"defaults": usual}))


def test_a_folder_is_one_suite_with_a_category_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "tea.txt").write_text("Name a tea.\nName a pot.\n", encoding="utf-8")
    suite(folder, {"id": "c", "prompt": "d", "category": "own"}, {"prompt": "e"}, name="cake.jsonl")
    (folder / "README.md").write_text("Not a prompt.", encoding="utf-8")
    (folder / "notes.json").write_text("{}", encoding="utf-8")
    found = load(folder)
    assert [(item.query, item.category) for item in found] == [
        ("d", "own"),
        ("e", "cake"),
        ("Name a tea.", "tea"),
        ("Name a pot.", "tea"),
    ]
    assert {item.suite for item in found} == {"mine"}
    before = suite_sha256(folder)
    (folder / "notes.json").write_text("[]", encoding="utf-8")
    assert suite_sha256(folder) == before
    (folder / "tea.txt").write_text("Name a tea.\ne\n", encoding="utf-8")
    assert suite_sha256(folder) != before
    with pytest.raises(SuiteError, match=r"tea\.txt:2: id: 'p-\w+' is already on line 2 of cake"):
        load(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SuiteError, match=r"holds no prompts; read are \.jsonl, \.csv"):
        load(tmp_path / "empty")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "prompt,city\n{{city}}?,Rome\n{{town}} in {{city}}?,Rome\n",
            "mine.csv:3: prompt: {{town}} has no value; the row's variables: city",
        ),
        (
            "prompt,city\n{{city}}?,Rome\nplain?,Rome\n",
            "mine.csv:3: variables: no text of the row holds {{city}}",
        ),
        (
            "prompt,targt\nx,y\n",
            "mine.csv:1: unknown key 'targt'; did you mean 'target'? accepted: id,",
        ),
        ("prompt,max_tokens\nx,many\n", "mine.csv:2: max_tokens: wanted an integer, found 'many'"),
        ("promt,target\nx,y\n", "mine.csv:1: unknown key 'promt'; did you mean 'prompt'?"),
        ("target\ny\n", "mine.csv:1: the header names a column prompt"),
        ("prompt,prompt\nx,y\n", "mine.csv:1: the header names a column prompt, and each column"),
        ("prompt,target\nx,y\na, b, c\n", "mine.csv:3: 3 cells under 2 columns"),
        ('prompt\n"x\n', "mine.csv:2: not CSV"),
        ("prompt,target\n,y\n", "mine.csv:2: row: "),
        ("prompt\n", "mine.csv: the suite has no rows"),
    ],
)
def test_a_bad_table_names_file_line_and_column(tmp_path: Path, text: str, complaint: str) -> None:
    table = tmp_path / "mine.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(SuiteError) as caught:
        load(table)
    assert complaint in str(caught.value)


def test_a_bad_row_is_found_behind_the_limit(tmp_path: Path) -> None:
    with pytest.raises(SuiteError):
        load(suite(tmp_path, GOOD, "{"), limit=1)
    assert len(load(suite(tmp_path, GOOD, GOOD | {"id": "b"}), limit=1)) == 1


def test_an_empty_suite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="no rows"):
        load(suite(tmp_path, ""))


def test_an_unknown_suite_names_those_there_are() -> None:
    with pytest.raises(SuiteError, match=r"shipped: .*; published: ifeval, ifbench"):
        load("no-such-suite")
    with pytest.raises(SuiteError, match="found"):
        load({"other": "x.jsonl"})
    with pytest.raises(SuiteError, match="there is no file"):
        load({"ifeval": "/nowhere/x.jsonl"})


def test_a_suite_is_named_and_digested_by_its_file(tmp_path: Path) -> None:
    path = suite(tmp_path, GOOD)
    assert suite_sha256(path) == file_sha256(path)
    assert suite_name(path) == "mine"
    assert suite_name({"ifbench": None}) == "ifbench"


def test_the_published_schema_is_a_schema() -> None:
    text = (resource_dir("datasets") / "schema.json").read_text(encoding="utf-8")
    jsonschema.Draft202012Validator.check_schema(json.loads(text))


@pytest.mark.parametrize("path", sorted(resource_dir("datasets").glob("*.jsonl")), ids=str)
def test_a_shipped_suite_is_good(path: Path) -> None:
    pytest.importorskip("punkt", reason="needs the ifeval extra")
    assert load(path.stem)


class _Hub(BaseHTTPRequestHandler):
    """Just enough of the hub: one dataset file at its resolve address."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        known = "/datasets/google/IFEval/resolve/main/ifeval_input_data.jsonl"
        body = (json.dumps(IFEVAL) + "\n").encode() if self.path == known else b""
        self.send_response(200 if body else 404)
        if not body:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"0123456789abcdef0123456789abcdef01234567"')
        self.send_header("X-Repo-Commit", "1" * 40)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def score_ifeval(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    answers = folder / "answers.jsonl"
    answers.write_text('{"key": 7, "response": "three plain words"}\n', encoding="utf-8")
    command = ["score", "--responses", str(answers), "--suite", "ifeval"]
    return subprocess.run(
        [sys.executable, "-m", "harness", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1"} | environment,
    )


@pytest.mark.slow
def test_ifeval_is_fetched_from_the_hub_once_and_found_offline_after(tmp_path: Path) -> None:
    pytest.importorskip("punkt", reason="needs the ifeval extra")
    with hub() as address:
        first = score_ifeval(tmp_path, HF_ENDPOINT=address)
    assert "prompt_level_strict_acc  1.0000  (1/1)" in first.stdout, first.stderr
    again = score_ifeval(tmp_path, HF_HUB_OFFLINE="1")
    assert again.stdout == first.stdout, again.stderr


def test_a_hub_out_of_reach_is_one_line_that_offers_a_local_file(tmp_path: Path) -> None:
    found = score_ifeval(tmp_path, HF_HUB_OFFLINE="1")
    assert found.returncode == FetchError.exit_code
    assert found.stderr.count("\n") == 1
    assert "{ifeval: path}" in found.stderr


def test_a_path_wins_over_a_published_name(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    suite(tmp_path, GOOD, name="ifeval")
    assert locate("ifeval")[1] == Path("ifeval")
