"""``harness template`` as a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import main
from harness.resources import resource_dir

BODY = "---\nid: {id}\ndescription: d\nsource: tests\nknown_failure: f\n---\n{body}\n"


def write(folder: Path, id: str, body: str = "Ask: {{ query }}") -> Path:
    path = folder / f"{id}.j2"
    path.write_text(BODY.format(id=id, body=body), encoding="utf-8")
    return path


def test_list_names_every_strategy_and_how_it_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "mine")
    assert main(["template", "list", "--templates", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for path in resource_dir("templates").glob("*.j2"):
        assert path.stem in out
    assert "mine" in out
    assert "invents the next turn" in out


def test_show_prints_what_the_model_will_see(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["template", "show", "qa", "--query", "Why?", "--system", "Be kind."]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Be kind.\n\nQuestion: Why?\nAnswer:\n─")
    assert r"stops     '\nQuestion:' '\nQ:'" in out


def test_show_reads_the_system_text_from_a_file_and_earlier_turns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "system.txt").write_text("From a file.\n", encoding="utf-8")
    arguments = ["--query", "Go", "--turn", "Hi", "--turn", "Yes?", "--prefill", "Well"]
    system = str(tmp_path / "system.txt")
    assert main(["template", "show", "qa", *arguments, "--system", system]) == 0
    assert capsys.readouterr().out.startswith(
        "From a file.\n\nQuestion: Hi\nAnswer: Yes?\n\nQuestion: Go\nAnswer: Well\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "qaa", "-q", "x"], "did you mean 'qa'"),
        (["show", "native", "-q", "x"], "name the model with --model FILE"),
        (["show", "qa", "-q", "x", "--tokens"], "--tokens needs a tokenizer"),
        (["show", "qa", "-q", "x", "--var", "tone"], "--var takes name=value"),
        (["show", "qa", "-q", "x", "--var", "tone=dry"], "has no variable 'tone'"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["template", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_check_passes_the_shipped_templates(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["template", "check"]) == 0
    assert "18 templates, 0 errors" in capsys.readouterr().out


def test_check_fails_on_an_error_and_names_file_and_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "mine", "{{ tone }} {{ query }}")
    assert main(["template", "check", str(path)]) == 1
    out = capsys.readouterr().out
    assert f"{path}: error: the body reads {{{{ tone }}}}" in out
    assert main(["template", "check", str(tmp_path)]) == 1


def test_check_finds_an_id_that_a_run_would_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "qa", "Mine: {{ query }}{{ system }}{{ history }}")
    assert main(["template", "check", str(tmp_path)]) == 1
    assert f"{path}: error: the id 'qa' is taken by" in capsys.readouterr().out
    assert main(["template", "list", "--templates", str(tmp_path)]) == 2
    capsys.readouterr()
    path.write_text(path.read_text().replace("id: qa\n", "id: qa\noverrides: qa\n"))
    assert main(["template", "check", str(tmp_path)]) == 0
    assert main(["template", "list", "--templates", str(tmp_path)]) == 0


def test_check_finds_two_files_of_one_id_and_an_override_of_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write(tmp_path, "mine")
    second = tmp_path / "other.j2"
    second.write_text(first.read_text().replace("Ask:", "Say:"))
    lost = write(tmp_path, "lost", "Lost: {{ query }}")
    lost.write_text(lost.read_text().replace("id: lost\n", "id: lost\noverrides: lost\n"))
    assert main(["template", "check", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert f"{second}: error: the id 'mine' is taken by {first}: choose another id\n" in out
    assert f"{lost}: error: overrides 'lost', which is not its own id or does not exist" in out


TINY = resource_dir("models") / "tiny-sft-F16.gguf"


def test_show_lists_the_bundled_models_tokens_and_its_contract(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--query", "Hi", "--system", "Be kind.", "--model", str(TINY), "--tokens"]
    assert main(["template", "show", "native", *arguments]) == 0
    out = capsys.readouterr().out
    assert "<|im_start|>Question: Hi<|im_end|>\n<|im_start|>Answer:\n" in out
    assert "'<|im_end|>'  control" in out
    assert "'Question'\n" in out
    assert "of which BOS 1" in out


def test_show_prints_tabs_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["template", "show", "qa", "-q", "a\tb", "--model", str(TINY)]) == 0
    assert "Question: a\tb\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["qa", "--prefill", "Well, "], "ends with a space"),
        (["rerank_n", "--var", "n=99"], "reranking draws 2 to"),
    ],
)
def test_show_without_a_model_refuses_what_a_run_refuses(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["template", "show", *arguments, "-q", "Hi"]) == 2
    assert words in capsys.readouterr().err


def test_show_tells_the_logit_rules_by_the_tokens_they_act_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["template", "show", "rules", "-q", "Hi", "--model", str(TINY)]) == 0
    out = capsys.readouterr().out
    assert "rules     end of generation +0.06 a token, at most +15; tokens already used -1.5" in out
    assert "openers   for 1 token(s): " in out
    assert "' I' -4" in out


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ bos_token * 2 }}{{ messages }}", "begins with 2 BOS tokens"),
        ("One text for every question.", "leaves out the question"),
        ("{{ messages[-1].content }}", "leaves out earlier turns"),
        ("{% for i in range(99999) %}{{ 'a' * 99999 }}{% endfor %}", "more than 4194304"),
        ("{{ nobody.knows.this }}", "'nobody' is undefined"),
        ("", "has no chat template"),
        (b"\xff\xfe", "not UTF-8 text"),
    ],
)
def test_a_chat_template_that_cannot_be_used_is_one_line(
    source: str | bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "chat.jinja"
    file.write_bytes(source if isinstance(source, bytes) else source.encode())
    arguments = ["-q", "Go", "--turn", "Hi", "--turn", "Yes?", "--model", str(TINY)]
    assert main(["template", "show", "native", *arguments, "--chat-template", str(file)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


REAL = Path(__file__).parents[2] / "weights" / "SmolLM2-135M-Instruct-Q4_1.gguf"


@pytest.mark.real
def test_show_with_a_model_makes_control_tokens_visible_and_counts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--query", "Hi", "--model", str(REAL), "--tokens"]
    assert main(["template", "show", "native", *arguments]) == 0
    out = capsys.readouterr().out
    assert "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant" in out
    assert "'<|im_start|>'  control" in out
    assert "of which BOS 1" in out


@pytest.mark.real
def test_a_line_end_is_no_control_token_to_see(capsys: pytest.CaptureFixture[str]) -> None:
    model = str(REAL.with_name("gemma-3-270m-Q4_K_M.gguf"))  # its file types "\n" as control
    assert main(["template", "show", "qa", "-q", "Hi", "--model", model, "--tokens"]) == 0
    out = capsys.readouterr().out
    assert r"'\n'" + "\n" in out
    assert "'<bos>'  control" in out
