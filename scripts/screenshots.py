"""Pictures of a run for the README: ``python scripts/screenshots.py reports/example``.

Its page as a browser shows it, and the picture of which of the two models to use for what.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.browser import chromium, opened  # noqa: E402

SHOTS = (
    ("desktop", 1200, False, ""),
    ("answers", 1200, False, "#explorer"),
    ("phone", 500, True, ""),
)


def main() -> None:
    page = (Path(sys.argv[1]) / "report.html").absolute()
    folder = ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for name, width, dark, place in SHOTS:
        with (
            tempfile.TemporaryDirectory() as scratch,
            chromium(Path(scratch), width=width, dark=dark) as driver,
        ):
            opened(driver, page)
            if place:
                driver.execute_script("step(3)")
                driver.execute_script(f"document.querySelector('{place}').scrollIntoView()")
            driver.save_screenshot(str(folder / f"{name}.png"))
        print(folder / f"{name}.png")
    shutil.copyfile(page.parent / "plots" / "uses.png", folder / "uses.png")
    print(folder / "uses.png")


if __name__ == "__main__":
    main()
