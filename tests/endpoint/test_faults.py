"""What a server can do wrong: each one clear line, nothing stored twice, nothing lost."""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.config import Experiment, parse_experiment
from harness.errors import EngineError, HarnessError
from harness.experiment import RunOptions, prepare
from harness.experiment.generate import Answered, generate
from harness.experiment.watch import Watcher
from harness.records import Generation
from harness.store import Store
from tests.support.faulty_server import Asked, FaultyServer, Reply, said, value

PROMPTS = [f"prompt {number} of a dozen" for number in range(12)]
KEY = "sk-a/secret_key.that-nobody-may-see"


def third(reply: Reply) -> Callable[[Asked], Reply | None]:
    """The prompt with a 3 in it always gets this reply."""
    return lambda ask: reply if ask.text.startswith("prompt 3 ") else None


def once(reply: Reply) -> Callable[[Asked], Reply | None]:
    """Every prompt gets this reply the first time."""
    return lambda ask: reply if ask.tries == 1 else None


def always(reply: Reply) -> Callable[[Asked], Reply | None]:
    return lambda _: reply


def changed(**what: Any) -> Callable[[Asked], Reply | None]:
    """The prompt with a 3 in it gets a reply with this in it."""
    return lambda ask: value(ask, **what) if ask.text.startswith("prompt 3 ") else None


def soon(_: Asked) -> Reply:
    when = email.utils.formatdate(time.time() + 1, usegmt=True)
    return Reply(429, headers={"Retry-After": when})


def error(status: int, said: str = "the server's own words") -> Reply:
    return Reply(status, json.dumps({"error": {"message": said}}).encode())


def cut_off(ask: Asked) -> Reply:
    """A right reply of which half arrives."""
    body = json.dumps(said(ask)).encode()
    return Reply(body=body, cut=len(body) // 2)


@dataclass(frozen=True)
class Case:
    """A fault; ``line`` what is said of it (empty: it passes unnoticed), ``ends``: the run does.

    ``timeout`` is the stage's: short where waiting is the fault, ample where a loaded machine could
    make one of its own.
    """

    fault: Callable[[Asked], Reply | None]
    line: str = ""
    ends: bool = False
    timeout: int = 20


CASES = {
    "an overloaded moment": Case(once(error(503))),
    "a refusal for a second": Case(once(Reply(429, headers={"Retry-After": "1"}))),
    "a refusal until a date": Case(lambda ask: soon(ask) if ask.tries == 1 else None),
    "a connection that breaks off": Case(lambda ask: cut_off(ask) if ask.tries == 1 else None),
    "half a reply of full length": Case(once(Reply(body=b'{"choices": [{"te'))),
    "a proxy's page, once": Case(once(Reply(body=b"<html>busy</html>"))),
    "an error with status 200": Case(once(Reply(body=b'{"error": "loading"}'))),
    "overloaded for one prompt": Case(third(error(503)), r"503: .*own words.* \(tried 3 times in"),
    "overloaded for all": Case(always(error(503)), r"503: .*own words.*goes on from there", True),
    "a wait of a day": Case(
        third(Reply(429, headers={"Retry-After": "86400"})), "it asks to wait 86400 s"
    ),
    "a refused prompt": Case(third(error(400)), r"answered 400: \"?'?the server's own words"),
    "a prompt too long": Case(third(error(413)), "answered 413"),
    "a key that expires": Case(
        always(error(401)), "answered 401: .*is the key in A_KEY right", True
    ),
    "a route that goes": Case(always(Reply(404)), "answered 404", True),
    "a redirection": Case(
        always(Reply(302, headers={"Location": "http://127.0.0.2/"})),
        "a redirection to 'http://127.0.0.2/'; name that address",
        True,
    ),
    "nothing but an error": Case(
        always(Reply(body=b'{"error": {"message": "on fire"}}')), "an error: 'on fire'", ends=True
    ),
    "a page in place of an answer": Case(
        third(Reply(body=b"<html>", headers={"Content-Type": "text/html"})),
        "not JSON.*is this the server's API.*text/html",
    ),
    "an empty reply": Case(third(Reply(body=b"")), "not JSON"),
    "a list": Case(third(Reply(body=b"[1]")), r"wanted a completion, the reply is \[1\]"),
    "no choices": Case(changed(choices=[]), "no `choices`"),
    "two answers": Case(
        changed(choices=[{"text": "a"}, {"text": "b"}]), "one answer was asked for"
    ),
    "a number for a text": Case(changed(choice={"text": 7}), "holds no text"),
    "no UTF-8": Case(third(Reply(body=b'{"choices": "\xff"}')), "no UTF-8"),
    "17 MiB": Case(third(Reply(body=b" " * (17 << 20))), "more than 16 MiB"),
    "a compressed reply": Case(
        third(Reply(body=b"x", headers={"Content-Encoding": "gzip"})), "compressed"
    ),
    "silence": Case(third(Reply(sleep=3)), "gave no answer in 1 s", timeout=1),
    "a byte now and then": Case(
        third(Reply(body=b" " * 99, slow=0.1)), "gave no answer in 1 s", timeout=1
    ),
    "another model": Case(
        always(Reply(body=b'{"model": "owl", "choices": [{"text": "hoo"}]}')),
        "asked for 'parrot' and 'owl' answers",
        True,
    ),
    "a limit of its own": Case(
        changed(choice={"finish_reason": "length"}, usage={"completion_tokens": 16}),
        "ended the answer at 16 of 256 tokens",
    ),
    "no limit": Case(changed(usage={"completion_tokens": 900}), "256 tokens were asked for"),
    "a filter": Case(changed(choice={"finish_reason": "content_filter"}), "'content_filter'"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("A_KEY", KEY)
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    return tmp_path


def experiment(server: FaultyServer, folder: Path, **stage: Any) -> Experiment:
    given = {"endpoint": server.url, "key_env": "A_KEY", "retries": 2, "timeout": 20, **stage}
    return parse_experiment(
        {
            "name": "faults",
            "stages": {"base": given},
            "strategies": ["raw"],
            "suites": [str(folder / "prompts.txt")],
            "engine": {"parallel": 4},
        },
        "faults.yaml",
    )


def answered(server: FaultyServer, folder: Path, **stage: Any) -> Answered:
    options = RunOptions(store=folder / "answers.sqlite")
    prepared = prepare(experiment(server, folder, **stage), options)
    with Store(options.store) as store:
        return generate(prepared, store, True, watcher=Watcher())


def texts(answered: Answered) -> list[str]:
    return sorted(made.text for made in answered.generations.values())


RIGHT = sorted(f"re: {prompt}" for prompt in PROMPTS)


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_one_clear_line_and_the_same_call_makes_up_for_it(
    name: str, folder: Path
) -> None:
    case = CASES[name]
    with FaultyServer() as server:
        server.fault = case.fault
        failed: tuple[Generation, ...] = ()
        if case.ends:
            with pytest.raises(HarnessError) as raised:
                answered(server, folder, timeout=case.timeout)
            lines = [str(raised.value)]
        else:
            failed = answered(server, folder, timeout=case.timeout).failed
            lines = [made.error or "" for made in failed]
        assert bool(lines) == bool(case.line)
        for line in lines:
            assert re.search(case.line, line), line
            assert "\n" not in line
            assert len(line) < 700
        server.fault = lambda _: None
        with Store(folder / "answers.sqlite") as store:
            held = sum(usage.answers for usage in store.usage())
        server.settle()
        before = len(server.asked)
        again = answered(server, folder)
        assert texts(again) == RIGHT
        assert again.generated == 12 - held
        # Every answer is asked for once more at the most: what was stored is not, and some are
        # put a second time on purpose.
        assert len(server.asked) - before <= again.generated * 5 // 4
        with Store(folder / "answers.sqlite") as store:
            assert sum(usage.answers for usage in store.usage()) == 12


def test_a_server_that_dies_ends_the_run_with_what_was_answered_stored(folder: Path) -> None:
    with FaultyServer() as server:

        def dies(ask: Asked) -> Reply | None:
            if ask.number < 9:
                return None
            server._server.socket.close()
            return Reply(cut=0, headers={"Content-Length": "9"})

        server.fault = dies
        with pytest.raises(
            EngineError, match=r"(cannot be reached|broke off).*tried 3 times"
        ) as raised:
            answered(server, folder)
        assert "what was answered is stored" in str(raised.value)
        with Store(folder / "answers.sqlite") as store:
            assert sum(usage.answers for usage in store.usage()) >= 4


def test_another_model_in_the_same_place_is_noticed(folder: Path) -> None:
    with FaultyServer() as server:

        def swaps(ask: Asked) -> None:
            if ask.number == 6:
                server.models[0]["owned_by"] = "somebody else"

        server.fault = swaps
        with pytest.raises(
            EngineError, match=r"another server than at the start \(owned_by changed"
        ):
            answered(server, folder)


def test_a_prompt_that_is_cut_off_silently_fails_and_the_others_stand(folder: Path) -> None:
    long = "word " * 400
    (folder / "prompts.txt").write_text("\n".join([*PROMPTS, f"{long} end"]))
    with FaultyServer() as server:

        def cuts(ask: Asked) -> Reply:
            return value(ask, usage={"prompt_tokens": min(len(ask.text.split()), 50)})

        server.fault = server.probe = cuts
        found = answered(server, folder)
    assert len(found.generations) == 13
    assert [made.error for made in found.failed] == [
        "the server reads 50 tokens of a prompt and says nothing of the rest; start it with a "
        "longer context"
    ]
    assert any("cuts off the rest without a word" in note for note in found.notes)


def test_a_route_that_adds_a_template_is_not_asked_raw(folder: Path) -> None:
    with FaultyServer() as server:
        server.probe = lambda ask: value(ask, usage={"prompt_tokens": 23})
        prepared = prepare(experiment(server, folder), RunOptions(store=folder / "s.sqlite"))
    assert [gap.reason for gap in prepared.plan.skipped] == [
        "the completion route makes 23 tokens of one letter: it puts a template around what it is "
        "given, so nothing can be asked raw"
    ] * 12


def test_a_server_that_says_another_thing_each_time_is_not_exact(folder: Path) -> None:
    with FaultyServer() as server:
        server.fault = lambda ask: value(ask, choice={"text": f"answer {ask.number}"})
        found = answered(server, folder)
    assert "base/as-is: not exact: 3 of 3 prompts asked twice got another text" in found.notes


def test_a_server_that_repeats_itself_is_told(folder: Path) -> None:
    with FaultyServer() as server:
        found = answered(server, folder)
    assert "base/as-is: 3 prompts asked twice got the same text" in found.notes


def test_every_decoding_field_is_said(folder: Path) -> None:
    with FaultyServer() as server:
        answered(server, folder)
        body = server.asked[0].body
        authorization = server.asked[0].authorization
    assert body["max_tokens"] == 256
    assert (body["temperature"], body["top_p"], body["top_k"], body["min_p"]) == (0.0, 1.0, 0, 0.0)
    assert body["repeat_penalty"] == body["repetition_penalty"] == 1.0
    assert authorization == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("stage", "line"),
    [
        ({"model": "parot"}, "has no model 'parot'; did you mean 'parrot'"),
        ({"api": "llama-server"}, "is no llama-server: it has no /props"),
        ({"key_env": "NOT_SET"}, "key_env names NOT_SET, which is not set"),
        ({"endpoint": "http://user:secret@127.0.0.1:1"}, "holds no user, key, query"),
    ],
)
def test_a_wrong_stage_is_one_line(stage: dict[str, str], line: str, folder: Path) -> None:
    with FaultyServer() as server, pytest.raises(HarnessError, match=line) as raised:
        answered(server, folder, **stage)
    assert "secret" not in str(raised.value)
