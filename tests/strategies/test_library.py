"""Template files: what is read, what is refused, and that nothing is replaced unasked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.errors import TemplateError
from harness.resources import resource_dir
from harness.strategies import check_files, find_template, load_template, load_templates

TABLE = {
    "raw", "raw_nl", "qa", "sys_qa", "zs_heading", "urial_1", "urial_3", "urial_8", "icl_3",
    "hhh_chat", "persona_chat", "alpaca", "vicuna", "native", "doc_frame", "prefill", "rules",
    "rerank_n",
}  # fmt: skip

FRONT = """\
id: mine
description: A test
source: these tests
known_failure: none known
"""


def write(
    folder: Path, body: str = "Ask: {{ query }}", extra: str = "", name: str = "mine"
) -> Path:
    path = folder / f"{name}.j2"
    front = FRONT.replace("id: mine", f"id: {name}")
    path.write_text(f"---\n{front}{extra}---\n{body}\n", encoding="utf-8", newline="\n")
    return path


def problems(*paths: Path) -> list[str]:
    return [f"{item.severity}: {item.message}" for item in check_files(paths)]


def errors(*paths: Path) -> str:
    return "\n".join(text for text in problems(*paths) if text.startswith("error"))


def test_every_strategy_of_the_table_ships() -> None:
    assert set(load_templates()) == TABLE


def test_every_shipped_template_is_clean() -> None:
    assert errors(*sorted(resource_dir("templates").glob("*.j2"))) == ""


def test_the_founding_preamble_is_verbatim() -> None:
    assert load_templates()["sys_qa"].system == (
        "You are a helpful assistant. Answer questions directly.\n"
        "If you need to reason through something, show your thinking step by step.\n"
        "Format answers clearly with bullet points or numbered lists as appropriate."
    )


@pytest.mark.parametrize("change", ["body", "front", "examples"])
def test_the_digest_covers_body_front_matter_and_examples(tmp_path: Path, change: str) -> None:
    example = '{"query": "a", "answer": "b"}\n'
    (tmp_path / "rows.jsonl").write_text(example * 3, encoding="utf-8")
    extra = "examples: {file: rows.jsonl, count: 2}\n"
    body = "{{ examples }}{{ query }}"
    before = load_template(write(tmp_path, body, extra)).sha256
    assert load_template(write(tmp_path, body, extra)).sha256 == before
    if change == "body":
        write(tmp_path, body + "!", extra)
    elif change == "front":
        write(tmp_path, body, extra + 'stops: ["\\nAsk:"]\n')
    else:
        (tmp_path / "rows.jsonl").write_text(example + '{"query":"a","answer":"c"}\n' + example)
    assert load_template(tmp_path / "mine.j2").sha256 != before


def test_an_example_row_that_is_not_used_does_not_change_the_digest(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"query": "a", "answer": "b"}\n', encoding="utf-8")
    path = write(tmp_path, "{{ examples }}{{ query }}", "examples: {file: rows.jsonl, count: 1}\n")
    before = load_template(path).sha256
    rows.write_text(rows.read_text() + '{"query": "c", "answer": "d"}\n', encoding="utf-8")
    assert load_template(path).sha256 == before


def test_line_ends_do_not_change_the_digest(tmp_path: Path) -> None:
    path = write(tmp_path, "Ask:\n{{ query }}")
    before = load_template(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_template(path).sha256 == before.sha256


def test_a_byte_order_mark_is_not_part_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path)
    before = load_template(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_template(path).sha256 == before.sha256


def test_an_unusual_line_separator_inside_an_example_does_not_end_its_row(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"query": "a\u2028b", "answer": "c"}\n', encoding="utf-8")
    extra = "examples: {file: rows.jsonl, count: 1}\n"
    assert load_template(write(tmp_path, "{{ examples }}{{ query }}", extra)).examples == (
        {"query": "a\u2028b", "answer": "c"},
    )


def test_a_folders_template_is_added(tmp_path: Path) -> None:
    write(tmp_path)
    templates = load_templates([tmp_path])
    assert set(templates) == TABLE | {"mine"}
    assert templates["mine"].body == "Ask: {{ query }}"


def test_a_folder_overrides_nothing_silently(tmp_path: Path) -> None:
    write(tmp_path, name="qa")
    with pytest.raises(TemplateError, match=r"qa\.j2: the id 'qa' is taken by .*overrides: qa"):
        load_templates([tmp_path])


def test_a_folder_may_override_in_words(tmp_path: Path) -> None:
    write(tmp_path, name="qa", extra="overrides: qa\n")
    assert load_templates([tmp_path])["qa"].body == "Ask: {{ query }}"


def test_overriding_what_does_not_exist_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, extra="overrides: mine\n")
    with pytest.raises(TemplateError, match="does not exist"):
        load_templates([tmp_path])


def test_two_folders_with_one_id_collide(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    with pytest.raises(TemplateError, match="taken"):
        load_templates([tmp_path / "one", tmp_path / "two"])


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="nowhere does not exist"):
        load_templates([tmp_path / "nowhere"])


def test_an_unknown_strategy_gets_the_nearest_and_all_others() -> None:
    with pytest.raises(TemplateError, match=r"did you mean 'sys_qa'\? there are: alpaca"):
        find_template(load_templates(), "sysqa")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no front matter", "starts with a line ---"),
        ("---\nid: [\n---\n{{ query }}\n", "not valid YAML"),
        (
            f"---\n{FRONT}stop: x\n---\n{{{{ query }}}}\n",
            "unknown key 'stop'; did you mean 'stops'? accepted: id",
        ),
        (f"---\n{FRONT}---\nnothing\n", "never uses {{ query }}"),
        (f"---\n{FRONT}---\n{{% if %}}{{{{ query }}}}\n", "line 1"),
        ("---\nid: x\n---\n{{ query }}\n", "description: this key is required and missing"),
        ("---\njust words\n---\n{{ query }}\n", "no list of `key: value` lines; required: id"),
        (
            f"---\n{FRONT}rerank: {{n: 2, judge: '{{{{ query }}}} {{answer}}'}}\n---\nnothing\n",
            "the body never uses {{ query }}",
        ),
        (f"---\n{FRONT}stops: 3\n---\n{{{{ query }}}}\n", "stops: "),
        (
            f"---\n{FRONT}rerank: {{n: 2, judge: good}}\n---\n{{{{ query }}}}\n",
            "answer} exactly once",
        ),
        (
            f"---\n{FRONT}examples: {{file: ../../x.jsonl, count: 1}}\n---\n{{{{ query }}}}\n",
            "leads out of",
        ),
    ],
)
def test_a_wrong_file_gets_one_line_that_names_it(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "wrong.j2"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TemplateError) as caught:
        load_template(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lint_finds_a_variable_nobody_defines(tmp_path: Path) -> None:
    assert "{{ tone }}" in errors(write(tmp_path, "{{ tone }} {{ query }}"))
    assert "tone" not in errors(write(tmp_path, "{{ tone }} {{ query }}", "needs: [tone]\n"))
    assert "never reads it" in errors(write(tmp_path, extra="variables: {tone: kind}\n"))


def test_lint_finds_trailing_whitespace(tmp_path: Path) -> None:
    assert "line 1 of the body ends with a space" in errors(write(tmp_path, "{{ query }} \nA:"))
    assert "the prompt ends with a space" in errors(write(tmp_path, "{{ query }}{{ ' ' }}"))
    only = "{{ query }}{% if kind == 'continuation' %}{{ ' ' }}{% endif %}"
    assert "the prompt ends with a space" in errors(write(tmp_path, only))
    (tmp_path / "rows.jsonl").write_text('{"query": "a ", "answer": "b"}', encoding="utf-8")
    extra = 'examples: {file: rows.jsonl, count: 1}\nsystem: "Be good. \\n Be kind."\n'
    found = errors(write(tmp_path, "{{ examples }}{{ system }}{{ query }}", extra))
    assert "a line of `system` ends with a space" in found
    assert "a line of the query of example 1 ends with a space" in found


def test_lint_finds_stop_strings_that_never_fire(tmp_path: Path) -> None:
    found = errors(write(tmp_path, extra='stops: ["\\nAsk:", "\\nAsk: me"]\n'))
    assert "'\\nAsk: me' never fires: '\\nAsk:' fires before it" in found
    assert "blank" in errors(write(tmp_path, extra='stops: ["\\n"]\n'))


def test_lint_finds_stop_strings_that_fire_in_the_examples(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"query": "a", "answer": "Ask: b"}', encoding="utf-8")
    extra = 'examples: {file: rows.jsonl, count: 1}\nstops: ["\\nAsk:"]\n'
    found = errors(write(tmp_path, "{{ examples }}{{ query }}", extra))
    assert "fires in the answer of example 1" in found


def test_lint_notes_an_unanchored_stop_string(tmp_path: Path) -> None:
    assert "not anchored at a line start" in "\n".join(
        problems(write(tmp_path, extra='stops: ["Ask:"]\n'))
    )


def test_lint_finds_templates_that_differ_only_in_name(tmp_path: Path) -> None:
    twins = write(tmp_path, name="one"), write(tmp_path, name="two")
    assert "differs from 'one'" in errors(*twins)
    copy = tmp_path / "raw2.j2"
    shutil.copy(resource_dir("templates") / "raw.j2", copy)
    copy.write_text(copy.read_text(encoding="utf-8").replace("id: raw", "id: raw2"))
    found = check_files([copy], load_templates().values())
    assert any("differs from 'raw'" in item.message for item in found)


@pytest.mark.parametrize("source", ["TODO", "unknown", "?"])
def test_lint_finds_a_missing_source(tmp_path: Path, source: str) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace("these tests", f'"{source}"'))
    assert "names no source" in errors(path)


def test_lint_finds_a_query_that_is_lost_when_there_is_a_system_text(tmp_path: Path) -> None:
    body = "{% if system %}{{ system }}{% else %}{{ query }}{% endif %}{{ history }}"
    found = errors(write(tmp_path, body, "system: Be good.\n"))
    assert "does not reach the prompt" in found
    assert "does not reach the prompt" in errors(write(tmp_path, body))
