from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from harness.engine import Engine
from harness.errors import ContextOverflow, EngineCrashed, EngineError
from harness.records import Rerank
from tests.engine.conftest import EXACT, Ask, make_requests, mixed_texts
from tests.support.command import ROOT
from tests.support.processes import exists, heed_interrupts

CRASHING = str(ROOT / "tests/support/crashing_worker.py")


def test_the_request_that_kills_the_child_is_found_and_the_rest_is_answered(
    tiny: Path, engine: Engine, ask: Ask
) -> None:
    requests = ask(mixed_texts(12), max_tokens=6)
    expected = {g.request_key: g.text for g in engine.generate(requests)}
    guilty = [requests[3].key, requests[9].key]
    with Engine(tiny, "tiny", EXACT, worker=[sys.executable, CRASHING, "abort", *guilty]) as hurt:
        found = {g.request_key: g for g in hurt.generate(requests)}
    assert sorted(found) == sorted(expected)
    for key, generation in found.items():
        if key in guilty:
            assert generation.finish_reason == "failed"
            assert "SIGABRT" in (generation.error or "")
            assert "GGML_ASSERT(guilty)" in (generation.error or "")
        else:
            assert generation.text == expected[key]


def test_a_child_that_dies_whatever_it_is_asked_ends_the_run(tiny: Path, ask: Ask) -> None:
    with (
        Engine(tiny, "tiny", EXACT, worker=[sys.executable, CRASHING, "always"]) as hopeless,
        pytest.raises(EngineCrashed, match="every request"),
    ):
        list(hopeless.generate(ask(mixed_texts(4), max_tokens=4)))


@pytest.mark.parametrize(
    ("how", "words"), [("raise", "llama_decode gave -3"), ("memory", "out of memory")]
)
def test_a_request_on_which_the_child_reports_an_error_fails_alone(
    how: str, words: str, tiny: Path, engine: Engine, ask: Ask
) -> None:
    requests = ask(mixed_texts(12), max_tokens=6)
    expected = {g.request_key: g.text for g in engine.generate(requests)}
    guilty = requests[5].key
    with Engine(tiny, "tiny", EXACT, worker=[sys.executable, CRASHING, how, guilty]) as hurt:
        found = {g.request_key: g for g in hurt.generate(requests)}
    assert words in (found[guilty].error or "")
    assert {key: g.text for key, g in found.items() if key != guilty} == {
        key: text for key, text in expected.items() if key != guilty
    }


@pytest.mark.slow
def test_three_guilty_requests_in_front_do_not_condemn_those_behind(tiny: Path, ask: Ask) -> None:
    requests = sorted(ask(mixed_texts(6), max_tokens=4), key=lambda r: -len(r.prompt.token_ids))
    guilty = [request.key for request in requests[:3]]
    alone = dataclasses.replace(EXACT, parallel=1)
    with Engine(tiny, "tiny", alone, worker=[sys.executable, CRASHING, "abort", *guilty]) as hurt:
        found = {g.request_key: g.finish_reason for g in hurt.generate(requests)}
    assert sorted(key for key, reason in found.items() if reason == "failed") == sorted(guilty)
    assert len(found) == 6


RERANK = Rerank(n=4, judge="Answer: {answer}\nGood?", temperature=1.0)


@pytest.mark.slow
def test_a_reranked_request_that_kills_the_child_is_one_failure(tiny: Path, ask: Ask) -> None:
    requests = ask(["once", "twice"], rerank=RERANK, max_tokens=4)
    guilty = [f"{requests[0].key}#{draw}" for draw in range(RERANK.n)]
    alone = dataclasses.replace(EXACT, parallel=1)
    with Engine(tiny, "tiny", alone, worker=[sys.executable, CRASHING, "abort", *guilty]) as hurt:
        found = {g.request_key: g.finish_reason for g in hurt.generate(requests)}
    assert found[requests[0].key] == "failed"
    assert found[requests[1].key] != "failed"


@pytest.mark.slow
def test_a_child_that_dies_judging_is_asked_once_more_and_then_the_request_fails(
    tiny: Path, engine: Engine, ask: Ask, tmp_path: Path
) -> None:
    requests = ask(["once", "twice"], rerank=RERANK, max_tokens=4)
    expected = [g.text for g in engine.generate(requests)]
    once = [sys.executable, CRASHING, "judge", str(tmp_path / "died")]
    with Engine(tiny, "tiny", EXACT, worker=once) as hurt:
        assert [g.text for g in hurt.generate(requests)] == expected
    with Engine(tiny, "tiny", EXACT, worker=[sys.executable, CRASHING, "judge"]) as hurt:
        found = list(hurt.generate(requests))
    assert [g.finish_reason for g in found] == ["failed", "failed"]
    assert "judging its 4 answers" in (found[0].error or "")


def test_a_judge_that_does_not_fit_is_refused_before_anything_is_drawn(
    tiny: Path, ask: Ask
) -> None:
    long = dataclasses.replace(RERANK, judge="word " * 200 + "{answer}")
    requests = ask(["once"], rerank=long, max_tokens=4)
    with (
        Engine(tiny, "tiny", dataclasses.replace(EXACT, n_ctx=64)) as small,
        pytest.raises(ContextOverflow, match=r"sample-0 .* tokens of the judge's prompt"),
    ):
        list(small.generate(requests))


def test_text_is_streamed_once_though_the_child_dies_halfway(tiny: Path, ask: Ask) -> None:
    requests = ask(["abc"], max_tokens=200)
    heard: list[str] = []
    with Engine(tiny, "tiny", EXACT) as victim:

        def told(key: str, text: str) -> None:
            heard.append(text)
            if len(heard) == 8:
                os.kill(victim.pid, signal.SIGKILL)

        (answer,) = victim.generate(requests, on_token=told)
    assert "".join(heard) == answer.text


def test_an_engine_serves_one_call_at_a_time(engine: Engine, ask: Ask) -> None:
    requests = ask(mixed_texts(3), max_tokens=6)
    running = engine.generate(requests)
    next(running)
    with pytest.raises(EngineError, match="still answering"):
        engine.tokenizer.tokenize(["a"], add_special=True, parse_special=False)
    with pytest.raises(EngineError, match="still answering"):
        next(engine.generate(requests))
    assert len(list(running)) == 2


@pytest.mark.slow
def test_a_child_that_was_killed_once_costs_nothing_but_time(tiny: Path, engine: Engine) -> None:
    requests = make_requests(engine.tokenizer, mixed_texts(20), max_tokens=12)
    expected = {g.request_key: g.text for g in engine.generate(requests)}
    with Engine(tiny, "tiny", EXACT) as victim:
        found = {}
        for generation in victim.generate(requests):
            if not found:
                os.kill(victim.pid, signal.SIGKILL)
            found[generation.request_key] = generation.text
    assert found == expected


def test_an_engine_goes_on_after_a_consumer_stopped_listening(engine: Engine, ask: Ask) -> None:
    requests = ask(mixed_texts(8), max_tokens=6)
    for _ in engine.generate(requests):
        break
    assert len(list(engine.generate(requests))) == 8


SCRIPT = """
import sys
from pathlib import Path
from harness.engine import Engine
from harness.records import EngineSettings
from tests.engine.conftest import make_requests, mixed_texts

engine = Engine(Path(sys.argv[1]), "tiny", EngineSettings(chunk=32, threads=1))
requests = make_requests(engine.tokenizer, mixed_texts(200), max_tokens=3000)
print(engine.pid, flush=True)
for _ in engine.generate(requests):
    pass
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise on Windows")
@pytest.mark.parametrize("fate", [signal.SIGINT, signal.SIGKILL])
def test_a_parent_that_ends_leaves_no_child(tiny: Path, fate: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(tiny)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        preexec_fn=heed_interrupts,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(1.0)
    parent.send_signal(fate)
    begin = time.monotonic()
    parent.wait(20)
    while exists(child) and time.monotonic() - begin < 20:
        time.sleep(0.05)
    assert not exists(child)
    parent.stdout.close()
