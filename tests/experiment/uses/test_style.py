from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.experiment.uses.style import distance, jensen_shannon

TEXT = "The sea was calm. No wind moved the sails; the men slept. At dawn they saw the coast."


def test_a_text_is_no_way_from_itself_and_nothing_is_as_far_as_can_be() -> None:
    assert distance(TEXT, TEXT).mean == pytest.approx(0)
    assert distance("  ", TEXT).mean == 1.0


@given(st.text(max_size=200))
def test_every_part_lies_between_0_and_1(text: str) -> None:
    found = distance(text, TEXT)
    for part in (found.grams, found.sentence, found.punctuation, found.mean):
        assert 0 <= part <= 1 + 1e-9


def test_jensen_shannon_by_its_definition() -> None:
    a, b = {"x": 3, "y": 1}, {"x": 1, "z": 1}
    p, q = {"x": 0.75, "y": 0.25}, {"x": 0.5, "z": 0.5}
    divergence = 0.0
    for one in (p, q):
        for name, share in one.items():
            middle = (p.get(name, 0) + q.get(name, 0)) / 2
            divergence += share * math.log2(share / middle) / 2
    assert jensen_shannon(a, b) == pytest.approx(math.sqrt(divergence))
    assert jensen_shannon({"x": 1}, {"y": 1}) == pytest.approx(1)
    assert jensen_shannon({}, {}) == 0
    assert jensen_shannon({"x": 1}, {}) == 1


def test_another_register_is_farther_than_the_same_one() -> None:
    same = "The ship lay still. No bird crossed the sky; the crew waited. At noon they saw a sail."
    other = "- step 1) run `make`\n- step 2) run `make test`\n- step 3) run `make eval`, look!!"
    assert distance(same, TEXT).mean < distance(other, TEXT).mean
