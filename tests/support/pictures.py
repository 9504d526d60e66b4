"""Pictures composed but not rendered: nine tenths of what a report costs that nobody looks at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from harness.atomic import write_text
from harness.reporting.plots.drawing import Figure


@contextmanager
def unrendered() -> Iterator[None]:
    """Every figure is drawn up and captioned as ever; its files hold its name instead of itself."""

    def write(figure: Figure) -> None:
        for form in ("png", "svg"):
            path = figure.path.with_suffix(f".{form}")
            write_text(path, path.name)

    with mock.patch.object(Figure, "_write", write):
        yield
