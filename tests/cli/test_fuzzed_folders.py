"""Whatever a run's folder holds, the commands that read it end in an exit code and one line."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness.cli import main
from harness.reporting import Run, write_run
from tests.support import scored

ODD = st.sampled_from(
    [
        *(None, True, -1, 0, 10**30, 1.5, 1e308, [], {}, [[]], {"a": {}}, [None], ["user"]),
        *("", "x" * 5000, "\ud800", "\x1b[2J", "../..", "/dev/zero", "control", "raw", "1"),
        *("as-is", "base/F16/raw"),
    ]
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("whole") / "run"
    rows = scored.run(n=3, levels=("F16",), continuations=1)
    write_run(Run(place, scored.manifest(sources={"qa": "---\nid: qa\n---\nx"}), tuple(rows)))
    shutil.rmtree(place / "plots")
    return place


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value of a JSON tree stands."""
    found = [at] if at else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*at, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            found += places(item, (*at, number))
    return found


def put(value: Any, at: tuple[Any, ...], odd: Any) -> None:
    for step in at[:-1]:
        value = value[step]
    if odd == "remove":
        del value[at[-1]]
    else:
        value[at[-1]] = odd


@pytest.mark.slow
@given(data=st.data())
@settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_mutated_folder_ends_in_an_exit_code_and_one_line(
    whole: Path, tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "run"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    name = data.draw(st.sampled_from(["samples.jsonl", "manifest.json"]))
    path = folder / name
    texts = path.read_text("utf-8").splitlines() if name[0] == "s" else [path.read_text("utf-8")]
    for _ in range(data.draw(st.integers(1, 3))):
        number = data.draw(st.integers(0, len(texts) - 1))
        value = json.loads(texts[number])
        at = data.draw(st.sampled_from(places(value)))
        put(value, at, data.draw(ODD | st.just("remove")))
        texts[number] = json.dumps(value)
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    commands = [
        ["show", str(folder), "--failed"],
        ["compare", str(whole), str(folder)],
        ["export", str(folder), "--as", "sft", "-o", str(tmp_path / "out.jsonl")],
        data.draw(st.sampled_from([["verify", str(folder)], ["score", str(folder)]])),
        ["report", str(folder)],
    ]
    for command in commands:
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = main(command)
        assert code in (0, 1, 2), command
        assert errors.getvalue().count("\n") == (code == 2), (command, errors.getvalue())
        assert "\x1b" not in out.getvalue() + errors.getvalue()
