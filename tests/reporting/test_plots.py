"""The pictures of a run: what their captions owe, and that no colour is needed to read them."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis import Analysis, FileFacts
from harness.analysis.levels import level_rows
from harness.measured import Speed
from harness.records import Cell
from harness.reporting import Run
from harness.reporting.plots import PICTURES, flips, levels, pareto, write_plots
from harness.reporting.plots.drawing import BASE, BEST, INSTRUCT, OTHERS, WRAPPED
from tests.analysis.test_levels import ARM, analysed, apart, noisy
from tests.support.scored import manifest, run


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return Run(Path("nowhere"), manifest(), tuple(run(40))).analysis


@pytest.fixture(scope="module")
def drawn(analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("plots")
    return folder, write_plots(analysis, folder)


def test_every_picture_is_a_png_and_an_svg(drawn: tuple[Path, dict]) -> None:
    folder, captions = drawn
    names = {name.removesuffix(".png") for name in captions}
    assert names == set(PICTURES) - {"pareto", "flips"}  # two levels, and nothing measured
    for name in names:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        root = ElementTree.fromstring((folder / f"{name}.svg").read_text("utf-8"))
        assert root.tag.endswith("svg")


def test_a_caption_says_n_and_the_kind_of_interval(drawn: tuple[Path, dict]) -> None:
    for caption in drawn[1].values():
        assert re.search(r"n = 34 items; 95 % intervals \(Wilson", caption), caption


def test_no_two_roles_share_a_marker_or_a_line() -> None:
    for looks in ((BASE, WRAPPED, BEST, INSTRUCT), OTHERS):
        for one, other in itertools.combinations(looks, 2):
            assert one.marker != other.marker
            assert one.line != other.line


def moved(analysis: Analysis, bits: dict[str, float], **changes: object) -> Analysis:
    """The same figures at other sizes: of base, and a little more of every other stage."""
    conditions = tuple(
        replace(
            item,
            bits_per_weight=bits[item.condition.level]
            * (1.0 if item.condition.stage == "base" else 1.03),
        )
        for item in analysis.conditions
    )
    return replace(analysis, conditions=conditions, **changes)


def test_levels_of_nearly_one_size_keep_their_own_names(analysis: Analysis, tmp_path: Path) -> None:
    names = list(analysis.levels)
    close = moved(analysis, {name: 4.5 + 0.05 * n for n, name in enumerate(names)})
    places = levels.level_places(levels.lines_of(close))
    assert sorted(name for _, name in places) == sorted(names)
    levels.draw(close, tmp_path / "levels")
    drawing = (tmp_path / "levels.svg").read_text("utf-8")
    written = [f"<!-- {name} {bits:.2f} -->" for bits, name in places]
    heights = {re.search(rf"{text}\s*<g [^>]*translate\(\S+ (\S+)\)", drawing) for text in written}
    assert len({found and found[1] for found in heights}) == len(names), "one row each"


def test_a_run_of_one_model_has_its_levels_drawn_too(analysis: Analysis, tmp_path: Path) -> None:
    sizes = {name: 16.0 / 2**n for n, name in enumerate(analysis.levels)}
    alone = moved(analysis, sizes, raw=None, instruct=None)
    caption = levels.draw(alone, tmp_path / "levels")
    assert "n = 34 items" in caption
    assert [line.name for line in levels.lines_of(alone)]


@pytest.fixture(scope="module")
def measured() -> Analysis:
    """Four levels: Q4_K_M is the fastest, Q2_K slower than it and worse."""
    means = {"Q8_0": 0.001, "Q4_K_M": 0.02, "Q2_K": 0.3}
    told = [apart(level, noisy(mean, seed)) for seed, (level, mean) in enumerate(means.items())]
    found = analysed({"Q4_K_M": 5, "Q2_K": 30}, told)
    sizes = {"F16": (60, 10.0), "Q8_0": (30, 15.0), "Q4_K_M": (20, 30.0), "Q2_K": (10, 20.0)}
    return replace(
        found,
        measured=replace(
            found.measured,
            speeds={f"model/{name}": Speed(90.0, rate, 0.1) for name, (_, rate) in sizes.items()},
        ),
        files={
            Cell("model", name): FileFacts(size * 10**6, size / 4, {})
            for name, (size, _) in sizes.items()
        },
    )


def test_levels_measured_have_a_front_and_a_matrix(measured: Analysis, tmp_path: Path) -> None:
    captions = write_plots(measured, tmp_path)
    assert {"pareto.png", "flips.png"} <= set(captions)
    for name in ("pareto", "flips"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "mathdefault" not in (tmp_path / f"{name}.svg").read_text("utf-8")
    assert "n = 60 items; 95 % intervals (Wilson)" in captions["pareto.png"]


def test_the_front_holds_what_no_other_level_beats_in_both(measured: Analysis) -> None:
    rows = level_rows(measured)[ARM]

    def names(across: pareto.Axis, up: pareto.Axis) -> list[str]:
        found = pareto.front(pareto.points(rows, across, up), across, up)
        return [row.condition.level for _, _, row in found]

    # Smaller and nearer are both wanted: every level is the best of its size.
    assert names(pareto.SIZE, pareto.DIVERGENCE) == ["Q2_K", "Q4_K_M", "Q8_0"]
    # Q2_K is slower than Q4_K_M and further away.
    assert names(pareto.SPEED, pareto.DIVERGENCE) == ["Q8_0", "Q4_K_M"]
    # All but Q2_K score the same: of equals the smallest stands.
    assert names(pareto.SIZE, pareto.SCORE) == ["Q2_K", "Q4_K_M"]


def test_the_matrix_counts_items_that_differ_between_two_levels(measured: Analysis) -> None:
    rows = level_rows(measured)[ARM]
    outcomes = {"F16": range(55), "Q8_0": range(55), "Q4_K_M": range(5, 60), "Q2_K": range(30, 60)}
    expected = [
        [len(set(outcomes[a.condition.level]) ^ set(outcomes[b.condition.level])) for b in rows]
        for a in rows
    ]
    assert flips.flipped(rows) == expected
