"""The example files of docs/scale.md: their syntax, and that the command they give is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cli import app
from harness.cli.options import with_address
from tests.support.command import ROOT

EXAMPLES = ROOT / "docs" / "scale"

SBATCH = {
    "job-name", "nodes", "ntasks-per-node", "cpus-per-task", "gpus-per-node", "time", "signal",
}  # fmt: skip
"""Options of sbatch(1) that the example uses."""

CLUSTER = {"headGroupSpec", "workerGroupSpecs", "rayVersion", "enableInTreeAutoscaling"}
JOB = {
    "entrypoint", "rayClusterSpec", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished",
    "backoffLimit", "runtimeEnvYAML", "activeDeadlineSeconds", "submissionMode",
}  # fmt: skip
"""Fields of KubeRay's ray.io/v1 (its API reference)."""


def parsed(line: str) -> dict[str, Any]:
    """The options of a ``harness run`` line, by the command's own parser."""
    import click
    from typer.main import get_command

    words = with_address(line.split()[2:])
    group = get_command(app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    command = group.commands["run"]
    return dict(command.make_context("run", words).params)


def test_the_slurm_example_is_a_script_that_runs_the_command() -> None:
    path = EXAMPLES / "harness.sbatch"
    text = path.read_text(encoding="utf-8")
    bash = shutil.which("bash")
    assert bash
    checked = subprocess.run([bash, "-n", str(path)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", text, re.MULTILINE))
    assert len(options) == text.count("#SBATCH")
    assert set(options) == SBATCH
    assert re.fullmatch(r"\d\d:\d\d:\d\d", options["time"])
    (line,) = re.findall(r"^exec (harness run .*)$", text, re.MULTILINE)
    given = parsed(line.replace('"', "").replace("$address", "10.0.0.1:6379"))
    assert (given["experiment"], given["ray"]) == ("$experiment", "10.0.0.1:6379")


def test_the_slurm_example_starts_a_head_and_its_workers(tmp_path: Path) -> None:
    """With stand-ins for Slurm's and Ray's commands, that write down how they were called."""
    log = tmp_path / "log"
    bin_dir = tmp_path / "bin"
    venv = tmp_path / "venv" / "bin"
    for folder in (bin_dir, venv):
        folder.mkdir(parents=True)
    (venv / "activate").write_text("")
    scripts = {
        "scontrol": "printf 'n1\\nn2\\n'",
        "srun": 'echo "srun $*" >> "$LOG"; case "$*" in *hostname*) echo 10.0.0.1 ;; esac',
        "sleep": ":",
        "harness": 'echo "harness $*" >> "$LOG"',
    }
    for name, body in scripts.items():
        (bin_dir / name).write_text(f"#!/bin/sh\n{body}\n")
        (bin_dir / name).chmod(0o755)
    done = subprocess.run(
        ["bash", str(EXAMPLES / "harness.sbatch"), "my.yaml"],
        env={
            "PATH": f"{bin_dir}:/usr/bin:/bin", "LOG": str(log), "SLURM_JOB_NODELIST": "n[1-2]",
            "SLURM_SUBMIT_DIR": str(tmp_path), "HARNESS_VENV": str(tmp_path / "venv"),
            "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "8", "SLURM_JOB_ID": "7",
        },
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines()
    assert any("-w n1 ray start --head --port=6379 --num-cpus=0" in line for line in lines)
    assert any("--ntasks=2" in line and "--address=10.0.0.1:6379" in line for line in lines)
    assert f"harness run my.yaml --ray 10.0.0.1:6379 -o {tmp_path}/reports/7" in lines


def test_the_kubernetes_example_is_a_ray_job() -> None:
    job = yaml.safe_load((EXAMPLES / "rayjob.yaml").read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job) == {"apiVersion", "kind", "metadata", "spec"}
    spec = job["spec"]
    assert set(spec) <= JOB
    assert set(spec["rayClusterSpec"]) <= CLUSTER
    head, (workers,) = (spec["rayClusterSpec"][n] for n in ("headGroupSpec", "workerGroupSpecs"))
    assert head["rayStartParams"] == {"num-cpus": "0"}
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in (head, workers):
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {"name", "image", "resources"} <= set(container)
            assert container["resources"]["requests"] == container["resources"]["limits"]
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert all(set(variable) == {"name", "value"} for variable in container["env"])
    given = parsed(spec["entrypoint"])
    assert given["ray"] == "auto"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["run", "tiny", "--ray"], ["run", "tiny", "--ray", "auto"]),
        (["run", "--ray", "tiny"], ["run", "--ray", "auto", "tiny"]),
        (["run", "--ray", "-q"], ["run", "--ray", "auto", "-q"]),
        (["run", "--ray", "10.0.0.1:6379"], ["run", "--ray", "10.0.0.1:6379"]),
        (["run", "--ray", "ray://head:10001", "x"], ["run", "--ray", "ray://head:10001", "x"]),
        (["run", "--ray=h:1"], ["run", "--ray=h:1"]),
        (["list", "checks"], ["list", "checks"]),
    ],
)
def test_an_address_may_be_left_out(given: list[str], wanted: list[str]) -> None:
    assert with_address(given) == wanted
