"""The pictures of a run: what their captions owe, and that no colour is needed to read them."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis import Analysis
from harness.reporting import Run
from harness.reporting.plots import PICTURES, levels, write_plots
from harness.reporting.plots.drawing import BASE, BEST, INSTRUCT, OTHERS, WRAPPED
from tests.scored import manifest, run


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return Run(Path("nowhere"), manifest(), tuple(run(40))).analysis


@pytest.fixture(scope="module")
def drawn(analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("plots")
    return folder, write_plots(analysis, folder)


def test_every_picture_is_a_png_and_an_svg(drawn: tuple[Path, dict]) -> None:
    folder, captions = drawn
    assert {name.removesuffix(".png") for name in captions} == set(PICTURES)
    for name in PICTURES:
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
