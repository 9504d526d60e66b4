"""An experiment's suites, loaded: every item, and the digest of every file."""

from __future__ import annotations

from harness import checks
from harness.config import Experiment
from harness.datasets import limited, load_suite, suite_sha256
from harness.errors import SuiteError
from harness.records import Sample


def load_samples(
    experiment: Experiment, limit: int | None
) -> tuple[tuple[Sample, ...], dict[str, str]]:
    """Every suite's samples (``limit`` of each) and every suite's digest, by suite name."""
    samples: list[Sample] = []
    digests: dict[str, str] = {}
    for source in experiment.suites:
        loaded = load_suite(source, validate=checks.validate)
        samples += limited(loaded, limit)
        name = loaded[0].suite or str(source)
        digests[name] = suite_sha256(source)
    ids = [sample.id for sample in samples]
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise SuiteError(f"{experiment.name}: two suites share the sample id {twice!r}; rename one")
    return tuple(samples), digests
