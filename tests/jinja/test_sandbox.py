"""Templates are untrusted programs: limits hold, and nothing gets out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from harness.jinja import (
    PINNED_NOW,
    RenderFailed,
    RenderStopped,
    child,
    parent,
    render_all,
    render_chat_template,
)
from harness.jinja.parent import MAX_SOURCE, free_names

USER = [{"role": "user", "content": "Hi"}]


def chat(source: str, **options: object) -> str:
    return render_chat_template(source, USER, bos_token="<s>", eos_token="</s>", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='ab') %}{% for i in range(90) %}"
        "{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
        "{{ '%0999999999d' % 1 }}",
    ],
    ids=["nested loops", "doubling string", "padded number"],
)
def test_a_template_that_eats_time_or_memory_is_stopped(source: str) -> None:
    with pytest.raises(RenderFailed):
        chat(source, time_limit=1.0)
    assert chat("still alive") == "still alive"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no alarm")
@pytest.mark.slow
def test_a_template_without_end_ends_when_nobody_waits_for_it() -> None:
    """The rendering process is alone: whoever would have killed it was killed."""
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    job = {"task": "render", "contexts": [{}], "source": loop, "mode": "chat"}
    job |= {"now": PINNED_NOW, "limit": 100, "seconds": 0.1}
    with subprocess.Popen(
        [sys.executable, child.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()
        assert process.wait(timeout=30) == -signal.SIGALRM


def test_the_texts_of_one_job_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "MAX_JOB", 10_000)
    assert len(render_all("{{ 'a' * n }}", [{"n": 900}] * 10)) == 10
    with pytest.raises(RenderStopped, match="in all"):
        render_all("{{ 'a' * n }}", [{"n": 900}] * 12)
    assert render_all("{{ n }}", [{"n": 1}]) == ["1"]


def test_line_breaks_at_the_end_of_a_text_template_stay() -> None:
    assert render_all("A:\n\n", [{}]) == ["A:\n\n"]
    assert chat("A:\n\n") == "A:\n", "a chat template renders as in transformers"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ range(10**9) | list }}", "Range too big"),
        ("{{ 'a' * 10**9 }}", "repetition longer than"),
        ("{{ 10**9 * 'a' }}", "repetition longer than"),
        ("{{ 2 ** (10**9) }}", "exponent above"),
        ("{{ [1, 2]|tojson(indent=10**9) }}", "indent above"),
        ("{% for i in range(99999) %}{{ 'a' * 99 }}{% endfor %}", "more than"),
    ],
)
def test_a_text_that_would_be_too_long_is_refused_before_it_is_built(
    source: str, words: str
) -> None:
    with pytest.raises(RenderFailed, match=words):
        chat(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'role': 'x'}) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ raise_exception.__globals__['os'] }}",
        "{{ strftime_now.__self__.year }}",
        "{% include 'x' %}",
        "{% import 'os' as os %}{{ os }}",
        "{{ lipsum(99999) }}",
        "{{ open('/etc/passwd') }}",
    ],
)
def test_a_template_cannot_reach_out_of_the_sandbox(source: str) -> None:
    with pytest.raises(RenderFailed):
        chat(source)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory")
def test_a_template_that_runs_out_of_memory_is_told_so_in_words() -> None:
    with pytest.raises(RenderFailed, match=r"^out of memory$"):
        chat("{{ 'a'.ljust(10**10) }}")


def test_a_source_that_is_too_long_is_refused() -> None:
    with pytest.raises(RenderFailed, match="characters"):
        chat("x" * (MAX_SOURCE + 1))


def test_the_date_is_pinned_and_can_be_chosen() -> None:
    source = "{{ strftime_now('%d %b %Y') }}"
    assert PINNED_NOW.startswith("2024-07-26")
    assert chat(source) == "26 Jul 2024"
    assert chat(source, now="2031-01-02T00:00:00") == "02 Jan 2031"


def test_raise_exception_speaks_in_the_templates_own_words() -> None:
    with pytest.raises(RenderFailed, match=r"^no system role here$"):
        chat("{{ raise_exception('no system role here') }}")


def test_tojson_writes_what_transformers_writes() -> None:
    assert chat("{{ {'b': 'é<', 'a': [1, none]} | tojson }}") == '{"b": "é<", "a": [1, null]}'
    assert chat("{{ {'b': 1, 'a': 2} | tojson(indent=1, sort_keys=true) }}") == (
        '{\n "a": 2,\n "b": 1\n}'
    )


def test_loop_controls_and_generation_blocks_render() -> None:
    assert chat(
        "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}"
    ) == ("01")
    assert chat("a{% generation %}b{% set x = 1 %}{% endgeneration %}{{ x }}c") == "abc"


def test_a_text_template_must_not_read_what_nobody_gives() -> None:
    with pytest.raises(RenderFailed, match="nobody"):
        render_all("{{ nobody }}", [{"query": "Hi"}])
    assert chat("[{{ nobody }}]") == "[]"  # chat templates rely on leniency


def test_the_first_text_that_fails_is_named_by_its_index() -> None:
    contexts = [{"x": 1}, {"x": 2}, {"x": 0}, {"x": 3}]
    with pytest.raises(RenderFailed) as caught:
        render_all("{{ 6 // x }}", contexts)
    assert caught.value.index == 2
    assert render_all("{{ 6 // x }}", contexts[:2]) == ["6", "3"]


def test_free_names_are_what_a_template_reads_without_setting() -> None:
    source = "{% set a = 1 %}{{ a }}{{ query }}{% for t in history %}{{ t }}{% endfor %}"
    assert free_names(source) == {"query", "history"}


def test_bad_syntax_names_its_line() -> None:
    with pytest.raises(RenderFailed, match="line 2"):
        chat("fine\n{% if %}")
