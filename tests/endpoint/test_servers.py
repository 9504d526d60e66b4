"""The bundled models behind real servers: the answers and verdicts of the in-process run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import ROOT, environment, harness, samples
from tests.support.processes import heed_interrupts
from tests.support.real_servers import llama_cpp_server, llama_server

pytestmark = pytest.mark.slow

BASE, SFT = "tiny-base-F16.gguf", "tiny-sft-F16.gguf"
STRATEGIES = "raw,qa,sys_qa"
Rows = dict[tuple[str, str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="module")
def servers(folder: Path) -> Iterator[tuple[str, str]]:
    """Addresses of the base and the instruct model."""
    with (
        llama_cpp_server(BASE, folder / "base.log") as base,
        llama_cpp_server(SFT, folder / "sft.log") as instruct,
    ):
        yield base, instruct


def rows(folder: Path) -> Rows:
    return {
        (row["sample_id"], row["stage"], row["strategy"]): row
        for row in samples(folder)
        if row["stage"] != "control"
    }


def ran(base: object, instruct: object, folder: Path, name: str, **extra: str) -> Path:
    """Six items of the tiny suite through the command."""
    out = folder / name
    wanted = ("--suite", "tiny", "--limit", 6, "--strategies", STRATEGIES, "--max-tokens", 48)
    done = harness(
        "run", "--base", base, "--instruct", instruct, *wanted, "-o", out,
        cache=folder / "cache", **extra,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def here(folder: Path) -> Rows:
    """The same prompts in-process."""
    return rows(ran(ROOT / "models" / BASE, ROOT / "models" / SFT, folder, "here"))


def verdict(row: dict[str, Any]) -> list[tuple[Any, Any]]:
    return [(check["strict"], check["loose"]) for check in row["checks"]]


def listed(there: Rows, here: Rows) -> list[str]:
    """Every answer that is another than in-process, with both texts."""
    return [
        f"{key}: {here[key]['answer']!r} in-process, {row['answer']!r} by the server"
        for key, row in there.items()
        if row["answer"] != here[key]["answer"]
    ]


def test_an_endpoint_gives_the_verdicts_of_the_file_it_serves(
    servers: tuple[str, str], here: Rows, folder: Path
) -> None:
    out = ran(*servers, folder, "there")
    there = rows(out)
    assert set(there) == set(here)
    differing = [key for key in there if verdict(there[key]) != verdict(here[key])]
    assert not differing, "\n".join(listed(there, here))
    # Rounding may move a text, and on this family hardly ever does.
    assert len(listed(there, here)) <= 2, "\n".join(listed(there, here))
    told = (out / "report.md").read_text()
    assert "**remote mode**" in told
    assert "prompts asked twice" in told
    assert "puts a BOS before a text" in told
    manifest = json.loads((out / "manifest.json").read_text())
    endpoint = manifest["models"]["base/as-is"]["endpoint"]
    assert endpoint["address"]["url"] == servers[0]
    assert endpoint["model"].endswith(BASE)
    assert manifest["engine"]["settings"]["base/as-is"]["mode"] == "remote"
    done = harness("verify", out, cache=folder / "cache")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_second_run_asks_a_server_nothing_again(servers: tuple[str, str], folder: Path) -> None:
    first = ran(*servers, folder, "first")
    asked = (folder / "base.log").read_text().count("POST /v1/completions")
    second = ran(*servers, folder, "second")
    # One request to learn what the route adds; the answers are the stored ones.
    assert (folder / "base.log").read_text().count("POST /v1/completions") == asked + 1
    assert rows(first) == rows(second)


def test_a_server_stands_beside_a_file_and_answers_ask(
    servers: tuple[str, str], folder: Path
) -> None:
    given = ("--base", ROOT / "models" / BASE, "--instruct", servers[1])
    done = harness("ask", "Where does Jinto live?", *given, cache=folder / "cache")
    assert done.returncode == 0, done.stderr
    assert "== instruct, native" in done.stdout
    planned = harness("plan", *given, "--suite", "tiny", "--limit", 3, cache=folder / "cache")
    assert planned.returncode == 0, planned.stderr
    assert "instruct/as-is" in planned.stdout


def test_what_a_server_cannot_be_asked_is_refused_with_the_reason(
    servers: tuple[str, str], folder: Path
) -> None:
    for sampling, line in (
        ("{overrun: 8}", "sampling.overrun: 8 cannot be asked of it"),
        ("{penalty_last_n: 8}", "OpenAI's API has no name for it"),
    ):
        path = folder / "wrong.yaml"
        path.write_text(
            f"name: wrong\nstages: {{base: {servers[0]}}}\nsuites: [tiny]\nsampling: {sampling}\n"
        )
        done = harness("run", path, "--limit", 2, cache=folder / "cache")
        assert done.returncode == 2
        assert line in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_an_opening_is_left_out_of_a_chat_route_visibly(
    servers: tuple[str, str], folder: Path
) -> None:
    path, out = folder / "prefill.yaml", folder / "prefill"
    path.write_text(
        f"name: prefill\nstages: {{instruct: {servers[1]}}}\nsuites: [tiny]\n"
        "strategies: [native, {id: native, as: opened, prefill: 'Sure'}]\n"
    )
    done = harness("run", path, "--limit", 2, "-q", "-o", out, cache=folder / "cache")
    assert done.returncode == 0, done.stderr
    left_out = [row for row in samples(out) if row["strategy"] == "opened"]
    assert len(left_out) == 2
    assert "no place for the opening" in json.dumps(left_out)


def test_ctrl_c_ends_at_once_and_the_next_run_goes_on(
    servers: tuple[str, str], folder: Path
) -> None:
    path = folder / "long.yaml"
    path.write_text(
        f"name: long\nstages: {{base: {servers[0]}}}\nsuites: [tiny]\nstrategies: [raw, raw_nl]\n"
        "sampling: {max_tokens: 200}\n"
    )
    cache = folder / "interrupted"
    command = [sys.executable, "-m", "harness", "run", path, "--limit", "20", "-o", folder / "long"]
    process = subprocess.Popen(
        [*map(str, command)], cwd=ROOT, env=environment(cache), stderr=subprocess.PIPE, text=True,
        preexec_fn=heed_interrupts,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not _held(cache):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    held = _held(cache)
    assert 0 < held < 40
    done = harness(*command[3:], cache=cache)
    assert done.returncode == 0, done.stderr
    assert f"{40 - held} to answer" in done.stderr


def _held(cache: Path) -> int:
    """How many answers a cache holds."""
    from harness.store import Store

    if not (cache / "answers.sqlite").is_file():
        return 0
    with Store(cache / "answers.sqlite") as store:
        return sum(usage.answers for usage in store.usage())


@pytest.fixture(scope="module")
def llama_servers(folder: Path) -> Iterator[tuple[str, str]]:
    if not os.environ.get("LLAMA_SERVER"):
        pytest.skip("LLAMA_SERVER=PATH names no llama-server to test with")
    with (
        llama_server(BASE, folder / "llama-base.log") as base,
        llama_server(SFT, folder / "llama-sft.log") as instruct,
    ):
        yield base, instruct


def test_a_llama_server_is_sent_the_very_tokens(
    llama_servers: tuple[str, str], here: Rows, folder: Path
) -> None:
    out = ran(*llama_servers, folder, "llama-server")
    there = rows(out)
    assert set(there) == set(here)
    for key, row in there.items():
        assert row["prompt"] == here[key]["prompt"]
        assert row["prompt_tokens"] == here[key]["prompt_tokens"]
    differing = [key for key in there if verdict(there[key]) != verdict(here[key])]
    assert not differing, "\n".join(listed(there, here))
    assert len(listed(there, here)) <= 2, "\n".join(listed(there, here))
    manifest = json.loads((out / "manifest.json").read_text())
    about = manifest["models"]["instruct/as-is"]["endpoint"]["about"]
    assert about["file"] == SFT
    assert len(about["template"]) == 64
    assert about["build"]


@pytest.mark.usefixtures("here")
def test_a_key_is_told_to_the_server_and_to_nobody_else(folder: Path) -> None:
    if not os.environ.get("LLAMA_SERVER"):
        pytest.skip("LLAMA_SERVER=PATH names no llama-server to test with")
    key = "sk-a/very.secret_key"
    with llama_server(SFT, folder / "keyed.log", "--api-key", key) as url:
        path, out = folder / "keyed.yaml", folder / "keyed"
        path.write_text(
            f"name: keyed\nstages: {{instruct: {{endpoint: {url}, key_env: MY_KEY}}}}\n"
            "suites: [tiny]\n"
        )
        wanted = ("run", path, "--limit", 2, "-o", out)
        refused = harness(*wanted, cache=folder / "keyed-cache", MY_KEY="sk-another")
        assert refused.returncode == 2
        assert "is the key in MY_KEY right" in refused.stderr
        done = harness(*wanted, cache=folder / "keyed-cache", MY_KEY=key)
        assert done.returncode == 0, done.stderr


def test_no_file_and_no_line_holds_the_key(folder: Path) -> None:
    """Neither where it opens the server, nor where the server says it back in everything."""
    from tests.support.faulty_server import Asked, FaultyServer, Reply, said

    key = "sk-a/very.secret_key-said-back"

    def echoes(ask: Asked) -> Reply:
        if "Jalen" in ask.text:
            return Reply(400, json.dumps({"error": {"message": f"bad key {key}"}}).encode())
        return Reply(body=json.dumps(said(ask, choice={"text": f"I know {key}"})).encode())

    out, cache = folder / "echoed", folder / "echo-cache"
    with FaultyServer() as server:
        server.fault = echoes
        path = folder / "echo.yaml"
        path.write_text(
            f"name: echo\nstages: {{base: {{endpoint: '{server.url}', key_env: MY_KEY}}}}\n"
            "suites: [tiny]\nstrategies: [raw]\n"
        )
        done = harness("run", path, "--limit", 12, "-o", out, cache=cache, MY_KEY=key)
        assert done.returncode == 0, done.stderr
        assert server.asked[0].authorization == f"Bearer {key}"
    read = [done.stdout.encode(), done.stderr.encode()]
    read += [file.read_bytes() for top in (out, cache) for file in top.rglob("*") if file.is_file()]
    assert any(b"I know [key]" in text for text in read)
    assert any(b"bad key [key]" in text for text in read)
    assert not any(key.encode() in text for text in read)
