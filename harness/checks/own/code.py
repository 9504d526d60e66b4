"""Checks on Python in an answer: does it parse, and does it pass tests.

``code_passes`` runs what a model wrote. It is off unless a run asks for it, and then the code
runs under bubblewrap with nothing shared (no network, no processes, an empty file system but for
the interpreter) and with resource limits. Without bubblewrap it is refused, unless the user says
that limits alone will do.
"""

from __future__ import annotations

import ast
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path
from typing import IO, Annotated

from pydantic import Field

from harness import process
from harness.checks.registry import CodeSettings, Context, Example, Outcome, Unsupported, check

_BLOCK = re.compile(
    r"```[ \t]*(?:(?:python3?|py)[ \t]*)?\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE
)
_OUTPUT_BYTES = 1 << 20

# Runs inside the sandbox, behind the source of `cap`. The limits are set before the answer's code
# is compiled and cannot be raised again; the token tells a finished test from a program that just
# exits with 0.
_RUNNER = r"""
import json, sys
job = json.load(sys.stdin)
cap(for_good=True, **job.pop("limits"))
def run(token, code, tests):
    scope = {"__name__": "answer"}
    exec(compile(code, "answer.py", "exec"), scope)
    exec(compile(tests, "tests.py", "exec"), scope)
    sys.stdout.flush()
    sys.__stdout__.write("\n" + token)
    sys.__stdout__.flush()
run(job.pop("token"), job.pop("code"), job.pop("tests"))
"""


def python_of(text: str) -> str:
    """The answer's Python: its fenced code blocks in order, or all of it when there is none."""
    blocks = _BLOCK.findall(text) if "```" in text else []
    return "\n".join(blocks) if blocks else text.strip()


@check(
    "valid_python",
    passes=[
        Example("def add(a, b):\n    return a + b"),
        Example("Here you go:\n```python\nprint('tea')\n```\nEnjoy!"),
    ],
    fails=[Example("def add(a, b)\n    return a + b"), Example("```python\n# nothing\n```")],
)
def valid_python(context: Context) -> Outcome:
    """The answer's Python (its code blocks, or all of it) parses and holds a statement."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the answer's "\d" is the model's business
            tree = ast.parse(python_of(context.text))
    except (SyntaxError, ValueError) as error:
        return Outcome(False, f"not Python: {error}")
    except (RecursionError, MemoryError):
        return Outcome(False, "not Python that can be read: nested too deep")
    return Outcome(bool(tree.body), f"{len(tree.body)} statements")


@check(
    "code_passes",
    passes=[
        Example(
            "```python\ndef add(a, b):\n    return a + b\n```",
            {"tests": "assert add(2, 3) == 5"},
            needs_code=True,
        )
    ],
    fails=[
        Example("def add(a, b): return a", {"tests": "assert add(2, 3) == 5"}, needs_code=True),
        Example("import sys; sys.exit(0)", {"tests": "assert False"}, needs_code=True),
        Example("while True: pass", {"tests": "", "timeout": 0.5}, needs_code=True),
    ],
)
def code_passes(
    context: Context,
    *,
    tests: str,
    timeout: Annotated[float, Field(gt=0, le=60)] = 5.0,
    memory_mb: Annotated[int, Field(ge=32, le=4096)] = 512,
) -> Outcome:
    """The answer's Python runs, and the tests (Python with assert) pass behind it."""
    command = _command(context.code)
    token = secrets.token_hex(16)
    job = {
        "code": python_of(context.text),
        "tests": tests,
        "token": token,
        "limits": {
            "AS": memory_mb << 20,
            "CPU": int(timeout) + 2,  # the clock stops it first
            "FSIZE": _OUTPUT_BYTES,
            "CORE": 0,
            "NPROC": 32,
            "NOFILE": 64,
        },
    }
    where = "in bubblewrap" if command[0] != sys.executable else "with limits only"
    ended, output, complaint = _run(command, json.dumps(job), timeout)
    if not ended:
        return Outcome(False, f"still running after {timeout:g} s ({where})")
    if output.endswith(token):
        return Outcome(True, f"the tests pass ({where})")
    last = complaint.strip().rsplit("\n", 1)[-1][-200:]
    return Outcome(False, f"{last or 'ended before the tests did'} ({where})")


def _command(settings: CodeSettings) -> list[str]:
    """The command that runs the runner; raises Unsupported when the settings do not allow one."""
    if settings.mode == "off":
        raise Unsupported("running the answer's code is off; turn it on with --code")
    python = [sys.executable, "-I", "-S", "-c", process.capping() + _RUNNER]
    if sandbox_works():
        return [*_bubblewrap(), *python[1:]]
    if settings.mode == "unsafe":
        return python
    raise Unsupported(
        "running code needs bubblewrap (apt install bubblewrap); --unsafe-code goes without"
    )


@lru_cache(maxsize=1)
def sandbox_works() -> bool:
    """Whether bubblewrap is installed and allowed to make a sandbox here."""
    if shutil.which("bwrap") is None:
        return False
    try:
        child = process.start([*_bubblewrap(), "-I", "-S", "-c", ""], alone=True)
    except OSError:
        return False
    try:
        child.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        return False
    finally:
        process.end(child, family=True)
    return child.returncode == 0


def _bubblewrap() -> list[str]:
    """bubblewrap and the interpreter: nothing shared, read-only system folders, an empty /tmp.

    For root it would keep every capability, and a /proc whose settings are the machine's own
    (core_pattern names a program that the kernel starts as root): none of either is given.
    """
    python = Path(os.path.realpath(sys.executable))
    folders = [Path(name) for name in ("/usr", "/lib", "/lib64", "/bin")]
    folders += [Path(sys.base_prefix), python.parent]
    binds = [part for path in dict.fromkeys(folders) for part in ("--ro-bind-try", path, path)]
    return [
        "bwrap",
        *("--unshare-all", "--die-with-parent", "--new-session", "--clearenv"),
        *("--cap-drop", "ALL"),
        *(str(part) for part in binds),
        *("--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/tmp"),
        str(python),
    ]


def _run(command: list[str], job: str, timeout: float) -> tuple[bool, str, str]:
    """Whether the command ended in time, and what it wrote to stdout and stderr (1 MiB each).

    The output goes to files, because a file-size limit stops a program that never stops writing.
    """
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONIOENCODING": "utf-8"}
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as complaint,
        tempfile.TemporaryDirectory() as folder,
    ):
        child = process.start(
            command, stdout=output, stderr=complaint, cwd=folder, env=environment, alone=True
        )
        try:
            child.communicate(job.encode("utf-8", "surrogatepass"), timeout=timeout + 1)
            ended = True
        except subprocess.TimeoutExpired:
            ended = False
        finally:
            process.end(child, family=True)
        return ended, _tail(output), _tail(complaint)


def _tail(stream: IO[bytes]) -> str:
    stream.seek(0, os.SEEK_END)
    stream.seek(max(0, stream.tell() - 4096))
    return stream.read().decode("utf-8", "replace")
