"""A child process may die in any way: its parent gets one error and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.errors import EngineCrashed, ModelInvalid
from harness.process import call, tell


def double(values: list[int]) -> list[int]:
    print("noise on stdout stays out of the answer")
    return [2 * value for value in values]


def refuse(what: str) -> None:
    raise ModelInvalid(f"{what} is no model")


def stumble() -> None:
    raise KeyError("a bug")


def abort() -> None:
    os.write(2, b"ggml.c:1: GGML_ASSERT(false) failed\n")
    os.abort()


def hang() -> None:
    time.sleep(600)


def leave() -> None:
    os._exit(7)


def eat() -> int:
    return len(bytearray(1 << 40))


def report() -> str:
    for step in range(3):
        tell({"step": step})
    return "done"


def die_slowly(note: str) -> None:
    Path(note).write_text(str(os.getpid()), encoding="utf-8")
    tell("ready")
    time.sleep(600)


def run(function: object, *args: object, **limits: object) -> object:
    return call(function, *args, error=EngineCrashed, doing="the test", **limits)  # type: ignore[arg-type]


def test_a_function_returns_its_value_from_a_child_process() -> None:
    assert run(double, [1, 2, 3]) == [2, 4, 6]


def test_a_harness_error_of_the_child_is_raised_in_the_parent() -> None:
    with pytest.raises(ModelInvalid, match="x is no model"):
        run(refuse, "x")


def test_any_other_exception_becomes_the_error_asked_for() -> None:
    with pytest.raises(EngineCrashed, match=r"the test: KeyError: 'a bug'"):
        run(stumble)


@pytest.mark.skipif(os.name == "nt", reason="no signals")
def test_a_native_abort_is_told_with_its_last_words() -> None:
    with pytest.raises(EngineCrashed, match=r"ended by SIGABRT; its last words: .*GGML_ASSERT"):
        run(abort)


def test_a_child_that_hangs_is_ended_in_time() -> None:
    with pytest.raises(EngineCrashed, match=r"took longer than 0.5 s"):
        run(hang, seconds=0.5)


def test_a_child_that_leaves_without_an_answer_is_told() -> None:
    with pytest.raises(EngineCrashed, match="ended with exit code 7"):
        run(leave)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the address space")
def test_a_child_that_eats_memory_is_refused() -> None:
    with pytest.raises(EngineCrashed, match="needs more memory than the 1024 MiB it may use"):
        run(eat, memory=1 << 30)


def test_events_arrive_in_order() -> None:
    seen: list[object] = []
    assert run(report, on_event=seen.append) == "done"
    assert seen == [{"step": 0}, {"step": 1}, {"step": 2}]


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        f"import sys; sys.path[:] = {json.dumps(sys.path)}\n"
        "from harness.process import call\nfrom tests.models.test_process import die_slowly\n"
        f"call(die_slowly, {str(note)!r}, error=RuntimeError, doing='x', on_event=print)\n"
    )
    with subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().strip() == b"ready"
        child = int(note.read_text(encoding="utf-8"))
        parent.send_signal(signal.SIGKILL)
    for _ in range(200):
        if not alive(child):
            return
        time.sleep(0.05)
    pytest.fail("the child outlived its parent")


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody waits for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text(encoding="utf-8").split(")")[1].split()[0] == "Z")


def test_last_words_do_not_show_where_the_library_was_compiled() -> None:
    from harness.process import gist

    said = (
        "/tmp/pip-install-x1/llama-cpp-python/vendor/llama.cpp/ggml/src/ggml.c:1850: GGML_ASSERT(a)"
    )
    assert gist(said) == "ggml.c:1850: GGML_ASSERT(a)"
    assert gist(said.replace("/", "\\").replace("\\tmp", "C:\\tmp")) == (
        "ggml.c:1850: GGML_ASSERT(a)"
    )
    assert gist("llama.cpp could not open /models/x.gguf: error 3") == (
        "llama.cpp could not open /models/x.gguf: error 3"
    )
