from __future__ import annotations

import csv
import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import numbers
from harness.records import Comparison, Condition, Estimate


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(value, low, high, 0.95, "Wilson", 100, 0, "not estimable: too small a gap")


def test_rates_and_differences_read_as_a_person_writes_them() -> None:
    assert numbers.rate(estimate(0.3125, 0.25, 0.381)) == "31.2 % [25.0, 38.1]"
    assert numbers.rate(estimate(-0.07, -0.2, 0.01)) == "−7.0 % [−20.0, 1.0]"
    assert numbers.points(estimate(0.123, 0.079, 0.168)) == "+12.3 points [7.9, 16.8]"
    assert numbers.points(estimate(-0.123, -0.168, -0.079)) == "−12.3 points [−16.8, −7.9]"
    assert numbers.rate(estimate(None)) == "not estimable"
    assert numbers.points(estimate(None)) == "not estimable: too small a gap"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "< 0.001"), (0.00099, "< 0.001"), (0.0314, "0.031"), (1.0, "1.000"), (math.nan, "—")],
)
def test_p_values_are_never_zero(value: float, text: str) -> None:
    assert numbers.p_value(value) == text


def test_flips_show_both_directions() -> None:
    side = Condition("base", "F16", "raw")
    item = Comparison("c", side, side, estimate(0.1), 0.1, 0.1, wins=3, losses=11, ties=286)
    assert numbers.flips(item) == "4.7 % (3 gained, 11 lost)"
    assert numbers.outcomes(item) == "3 / 11 / 286"


def test_small_words() -> None:
    assert numbers.size(1, "item") == "1 item"
    assert numbers.size(1200, "item") == "1,200 items"
    assert numbers.listed(["a", "b", "c"]) == "a, b and c"
    assert numbers.listed(["a"]) == "a" and numbers.listed([]) == ""
    assert numbers.decimal(1234.5) == "1,234.5"
    assert numbers.decimal(None) == numbers.percent(None) == numbers.percent(math.nan) == "—"


@given(st.floats(-1e-4, 1e-4))
def test_nothing_is_shown_as_minus_nothing(value: float) -> None:
    assert numbers.percent(value) == "0.0 %"
    assert numbers.cell(value / 1000) == "0"


@given(st.floats(-1e6, 1e6))
def test_a_csv_number_reads_back_within_its_precision(value: float) -> None:
    assert float(numbers.cell(value)) == pytest.approx(value, abs=5e-7)


def test_csv_cells_of_other_kinds() -> None:
    cells = [numbers.cell(value) for value in (None, True, False, 3, 0.5, 1.0, math.nan, "x")]
    assert cells == ["", "True", "False", "3", "0.5", "1", "", "x"]
    assert next(csv.reader(io.StringIO(",".join(cells)))) == cells
