"""The gate as ordinary tests: a marker and a fixture for pytest, installed with the harness.

::

    @pytest.mark.harness(experiment="gate.yaml", baseline="gate.baseline.jsonl", strategy="qa")
    def test_qa_follows_instructions_as_it_did(harness_gate):
        harness_gate.require_pass()

Nothing of the harness is imported before a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.gate import ArmVerdict, Gated

MARKER = (
    "harness(experiment, baseline, strategy=None, margin=None, must_pass=(), inconclusive='fail'): "
    "what the fixture harness_gate compares, and by which rule (margin in points)"
)
ACCEPTED = ("experiment", "baseline", "strategy", "margin", "must_pass", "inconclusive")


@dataclass(frozen=True)
class GateOfTest:
    """What a marked test may ask: its arms' verdicts, and whether they pass.

    ``arms`` are the experiment's, those of ``strategy`` alone where the marker names one.
    """

    gated: Gated
    arms: tuple[ArmVerdict, ...]
    accepted: frozenset[str]

    def require_pass(self) -> None:
        """Fail the test for the first arm that does not pass: its items, answers, reasons, diff."""
        __tracebackhide__ = True
        for arm in self.arms:
            if arm.verdict not in self.accepted:
                pytest.fail("\n".join(self._told(arm)), pytrace=False)

    def _told(self, arm: ArmVerdict) -> Iterator[str]:
        from harness.gate.outputs import FLIPS_SHOWN
        from harness.sanitize import for_terminal

        yield for_terminal(f"{arm.verdict}: {arm.name}: {arm.sentence}")
        for flip in arm.flips[:FLIPS_SHOWN]:
            yield for_terminal(f"  item {flip.item}: {_score(flip.before)} -> {_score(flip.after)}")
            yield for_terminal(f"    was: {flip.answer_before!r}")
            yield for_terminal(f"    is:  {flip.answer_after!r}")
            if flip.reason:
                yield for_terminal(f"    because: {flip.reason}")
        if len(arm.flips) > FLIPS_SHOWN:
            yield f"  and {len(arm.flips) - FLIPS_SHOWN} more items"
        if diff := self.gated.diffs.get(arm.template):
            yield from map(for_terminal, diff.text.splitlines())


def _score(value: float | None) -> str:
    names = {None: "no answer", 0.0: "fails", 1.0: "passes"}
    return names.get(value, f"passes {value} of the time")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture(scope="session")
def _gates() -> dict[Any, Gated]:
    """Outcomes of this session by experiment, baseline and rule: each is run once."""
    return {}


@pytest.fixture
def harness_gate(request: pytest.FixtureRequest, _gates: dict[Any, Gated]) -> GateOfTest:
    """The gate that the test's ``harness`` marker describes; run once for all tests that share it.

    Paths are taken from the test's folder, then from pytest's root, then from what ships.
    """
    from harness.errors import HarnessError

    wanted = _wanted(request.node)
    places = (request.path.parent, request.config.rootpath)
    experiment = _found(str(wanted["experiment"]), places)
    baseline = Path(_found(str(wanted["baseline"]), places))
    rule = (wanted.get("margin"), tuple(wanted.get("must_pass", ())))
    key = (experiment, baseline, rule)
    try:
        if key not in _gates:
            _gates[key] = _judged(experiment, baseline, *rule)
    except HarnessError as error:
        pytest.fail(f"harness: {error}", pytrace=False)
    gated = _gates[key]
    return GateOfTest(gated, _arms(gated, wanted.get("strategy")), _accepted(wanted))


def _wanted(node: Any) -> Mapping[str, Any]:
    """The marker's arguments; the test fails where there is none, or one is not known."""
    marker = node.get_closest_marker("harness")
    given = dict(marker.kwargs) if marker else {}
    odd = sorted(set(given) - set(ACCEPTED))
    if marker is None or marker.args or odd or not {"experiment", "baseline"} <= set(given):
        found = f"unknown {odd[0]!r}; " if odd else ""
        pytest.fail(
            f"{found}mark the test: @pytest.mark.harness(experiment=..., baseline=...); "
            f"accepted by name: {', '.join(ACCEPTED)}",
            pytrace=False,
        )
    return given


def _found(name: str, places: Sequence[Path]) -> str:
    return next((str(place / name) for place in places if (place / name).is_file()), name)


def _accepted(wanted: Mapping[str, Any]) -> frozenset[str]:
    return frozenset({"pass", *({"inconclusive"} if wanted.get("inconclusive") == "pass" else ())})


def _arms(gated: Gated, strategy: str | None) -> tuple[ArmVerdict, ...]:
    arms = gated.verdicts.arms
    found = tuple(arm for arm in arms if strategy in (None, arm.strategy))
    if not found:
        known = ", ".join(sorted({arm.strategy for arm in arms if arm.strategy}))
        pytest.fail(f"strategy {strategy!r} has no arm there; accepted: {known}", pytrace=False)
    templates = {arm.template for arm in found}
    rest = (arm for arm in arms if arm.of_template and arm not in found)
    return tuple(arm for arm in rest if arm.template in templates) + found


def _judged(
    experiment: str, baseline: Path, margin: float | None, must_pass: Sequence[str]
) -> Gated:
    from harness.config import load_experiment
    from harness.experiment import RunOptions, with_pair
    from harness.gate import GateOptions, gate

    rule = GateOptions(margin=None if margin is None else margin / 100, must_pass=tuple(must_pass))
    options = RunOptions()
    with _alone(options.store):
        return gate(with_pair(load_experiment(experiment), None), baseline, rule, options)


@contextmanager
def _alone(store: Path) -> Iterator[None]:
    """One process at a time has a model loaded (pytest-xdist runs tests in several)."""
    from filelock import FileLock

    store.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(store.parent / "pytest.lock"):
        yield
