"""docs/checks.md, typed: a module of one's own, its examples, its test, its change."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import ROOT, environment, harness, samples

PAGE = (ROOT / "docs/checks.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def typed(tmp_path: Path) -> Path:
    """A folder with what the page shows, as somebody would type it."""
    module, _ = blocks("python")
    (tmp_path / "my_checks.py").write_text(module, encoding="utf-8")
    (tmp_path / "tickets.jsonl").write_text(blocks("json")[0], encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_every_command_of_the_page_says_that_the_check_is_good(typed: Path) -> None:
    said = ""
    for line in blocks("sh")[0].splitlines():
        words = line.partition("#")[0].split()
        assert words[0] == "harness"
        done = harness(*words[1:], cache=typed / "cache", cwd=typed)
        assert done.returncode == 0, done.stderr
        said += done.stdout
    assert 'Passes: "Dear Ms Okoro, ..."' in said and "names Okoro" in said
    assert "1 judged (ticket:names_customer 1)" in said and "0 errors, 0 warnings" in said


def test_the_pages_own_test_passes(typed: Path) -> None:
    _, test = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", test],
        cwd=typed,
        env=environment(typed / "cache", PYTHONPATH=str(typed)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_verdicts_know_the_file_of_their_check_and_a_change_is_seen(typed: Path) -> None:
    models = ["--base", ROOT / "models/tiny-base-F16.gguf"]
    models += ["--instruct", ROOT / "models/tiny-dpo-F16.gguf"]

    def command(*words: object) -> str:
        done = harness(*words, cache=typed / "cache", cwd=typed)
        assert done.returncode == 0, done.stderr
        return done.stdout

    own = ["--checks", "my_checks.py"]
    options = ["--suite", "tickets.jsonl", "--strategies", "raw", "--max-tokens", 4, "-q"]
    command("run", *models, *options, *own, "-o", "run")
    manifest = json.loads((typed / "run/manifest.json").read_text(encoding="utf-8"))
    digest = manifest["plugins"]["my_checks.py"]
    assert manifest["checks"] == {"ticket:names_customer": 1}
    verdicts = [verdict for row in samples(typed / "run") for verdict in row["checks"]]
    assert {verdict["source"] for verdict in verdicts} == {digest[:16]}
    assert "all match" in command("verify", "run", *own)
    module = (typed / "my_checks.py").read_text(encoding="utf-8")
    (typed / "my_checks.py").write_text(
        module.replace('return Outcome(False, f"names none', 'return Outcome(True, f"names none'),
        encoding="utf-8",
    )
    # The same version with another source: nothing is claimed of the old verdicts.
    assert "was judged by another source" in command("verify", "run", *own)
    again = command("score", "run", *own)
    assert "the module of checks my_checks.py has changed since this run" in again
    assert "ticket:names_customer: fail (v1) -> pass (v1): names none of Okoro" in again
    judged = {row["checks"][0]["source"] for row in samples(typed / "run") if row["answer"].strip()}
    assert judged and digest[:16] not in judged


def test_an_installed_package_registers_its_checks(typed: Path) -> None:
    site = typed / "site"
    (site / "mine-1.0.dist-info").mkdir(parents=True)
    (site / "mine-1.0.dist-info/METADATA").write_text("Name: mine\nVersion: 1.0\n", "utf-8")
    entry = blocks("toml")[0].splitlines()[1].replace('"', "").replace("my_package.checks", "mine")
    (site / "mine-1.0.dist-info/entry_points.txt").write_text(
        f"[harness.checks]\n{entry}\n", encoding="utf-8"
    )
    (site / "mine.py").write_text((typed / "my_checks.py").read_text("utf-8"), encoding="utf-8")
    (typed / "my_checks.py").unlink()
    done = harness(
        "list", "checks", "ticket:names_customer",
        cache=typed / "cache", cwd=typed, PYTHONPATH=str(site),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "The answer names the customer near its beginning." in done.stdout
