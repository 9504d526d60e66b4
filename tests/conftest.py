"""Settings of every test."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# As the command sets it: OpenBLAS' threads wait for each other longer than they compute here.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is loaded

# No test asserts time: on a busy machine hypothesis' deadline of 200 ms is one.
settings.register_profile("thorough", deadline=None)
settings.register_profile("fast", deadline=None, max_examples=20)
# `make test-slow` asks for `--hypothesis-profile thorough`, and runs every property with it.
settings.load_profile("fast")


def pytest_collection_finish() -> None:
    """No garbage collection looks again at the millions of objects that live to the end."""
    gc.freeze()


@pytest.fixture(name="unrendered")
def _unrendered() -> Iterator[None]:
    """For tests of reports that look at no picture."""
    from tests.support.pictures import unrendered  # brings pandas along

    with unrendered():
        yield
