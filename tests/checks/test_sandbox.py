"""Answers that try to leave bubblewrap: each tries in earnest, and what it reached is looked at."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from harness.checks import CodeSettings, judge
from harness.checks.own.code import sandbox_works
from harness.records import CheckResult, CheckSpec, Message, Sample

pytestmark = pytest.mark.skipif(not sandbox_works(), reason="needs bubblewrap")
ROOT = Path(__file__).resolve().parents[2]
SECRET = "hf_a_secret_of_the_environment"


def tried(code: str, tests: str = "assert done", **limits: float) -> CheckResult:
    """The verdict on an answer's code; the tests see what it reached."""
    kwargs = {"tests": tests, "timeout": 20, **limits}
    sample = Sample("x", (Message("user", "?"),), (CheckSpec("code_passes", kwargs),))
    (result,) = judge(sample, f"```python\n{code}\n```", code=CodeSettings("sandboxed"))
    assert "in bubblewrap" in result.reason, result.reason
    return result


def holds(code: str, **limits: float) -> None:
    """The answer's code ends with ``done`` true: it found every door shut."""
    result = tried(code, **limits)
    assert result.strict, result.reason


def test_no_network_not_even_this_machines_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        holds(f"""
import socket
done = True
for address in (("127.0.0.1", {port}), ("1.1.1.1", 53)):
    try:
        socket.create_connection(address, timeout=1)
        done = False
    except OSError:
        pass
""")
        with pytest.raises(TimeoutError):
            server.accept()


def test_no_file_of_the_users_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "answers.sqlite").write_text("private", encoding="utf-8")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    private = [str(tmp_path / "answers.sqlite"), str(ROOT / "SECURITY.md"), "/etc/passwd"]
    private += [str(Path.home() / name) for name in (".ssh", ".bashrc", ".cache", ".profile")]
    private += ["/root/.bashrc", "/var/log", "/run", "/proc/1/root/etc/passwd"]
    holds(f"""
import os
seen = [path for path in {private!r} if os.path.exists(path)]
done = not seen
if seen: raise SystemExit(str(seen))
""")


def test_nothing_outside_can_be_written(tmp_path: Path) -> None:
    import sys

    targets = [tmp_path / "x", ROOT / "x", Path(sys.base_prefix) / "x", Path("/usr/x"), Path("/x")]
    outside = [str(path) for path in targets]
    holds(f"""
import os
written = []
for path in {outside!r}:
    try:
        with open(path, "w") as stream:
            stream.write("here")
        written.append(path)
    except OSError:
        pass
# The root of the sandbox is its own memory: what is written there is gone with it.
done = [path for path in written if path != "/x"] == []
open("/tmp/mine", "w").write("here")
""")
    assert not any(path.exists() for path in targets) and not Path("/tmp/mine").exists()


def test_no_other_process_can_be_seen_or_killed() -> None:
    holds(f"""
import os, signal
done = not os.path.exists("/proc")
for pid in (os.getppid() or 1, {os.getpid()}):
    try:
        os.kill(pid, signal.SIGKILL)
        done = pid == os.getppid()
    except (ProcessLookupError, PermissionError):
        pass
""")


def test_no_secret_of_the_environment_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    holds(f"""
import glob, os
found = "HF_TOKEN" in os.environ
for path in glob.glob("/proc/*/environ") + glob.glob("/proc/*/cmdline"):
    try:
        found = found or {SECRET[::-1]!r}[::-1].encode() in open(path, "rb").read()
    except OSError:
        pass
done = not found
""")  # written backwards there, or the runner would find it in its own


def test_the_kernels_settings_are_out_of_reach_in_a_namespace_of_its_own_too() -> None:
    # Root's sandbox once kept every capability and a /proc/sys that was the machine's own.
    holds("""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
reached = [path for path in ("/proc/sys", "/sys/power", "/dev/mem") if os.path.exists(path)]
def mounts(kind, place):
    if libc.mount(b"none", place, kind, 0, None) == 0:
        reached.append(place)
mounts(b"tmpfs", b"/usr")
if libc.sethostname(b"evil", 4) == 0:
    reached.append("hostname")
new_user, new_pid, new_mount = 0x10000000, 0x20000000, 0x00020000
if libc.unshare(new_user | new_pid | new_mount) == 0:
    pid = os.fork()
    if pid == 0:
        os.makedirs("/tmp/proc")
        os._exit(libc.mount(b"none", b"/tmp/proc", b"proc", 0, None) == 0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        reached.append("a new /proc")
if reached: raise SystemExit(str(reached))
done = True
""")


def test_memory_is_limited() -> None:
    holds("""
done = False
try:
    block = bytearray(1 << 30)
except MemoryError:
    done = True
""", memory_mb=256)  # fmt: skip


@pytest.mark.parametrize(
    "code",
    [
        # as many children as it can get, each of which would outlive it by a minute
        "import os, time\nfor n in range(200):\n    if os.fork() == 0:\n        time.sleep(60.25)",
        # out of its session and its group
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60.25)\nos._exit(0)",
        "import time\ntime.sleep(60.25)",
    ],
)
@pytest.mark.slow
def test_nothing_it_started_outlives_it(code: str) -> None:
    before = sandboxes()
    assert not tried(code, "assert False", timeout=2).strict
    deadline = time.monotonic() + 10
    while (left := sandboxes() - before) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def sandboxes() -> set[int]:
    """The processes whose command line is that of the sandbox or of what runs inside."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if b"RLIMIT_" in (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
            except OSError:
                continue
    return found


def test_endless_output_is_cut_off(tmp_path: Path) -> None:
    result = tried("while True: print('x' * 10000)", "assert False", timeout=10)
    assert not result.strict and len(result.reason) < 400
