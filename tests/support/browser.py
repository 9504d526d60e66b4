"""A real headless Chromium for the HTML report: what it runs, logs and asks the network for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def require_browser() -> None:
    """Skip where there is no Chromium; continuous integration installs it, and fails without."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"{' and '.join(missing)} should be installed here")
    if missing:
        pytest.skip(f"{' and '.join(missing)} is not installed")


@contextmanager
def chromium(folder: Path, *, width: int = 1280, dark: bool = False) -> Iterator[Any]:
    """A driver with a new profile under ``folder``; its console is kept."""
    require_browser()
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*_FLAGS, f"--window-size={width},1000", f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    if dark:
        options.add_argument("--blink-settings=preferredColorScheme=0")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(str(shutil.which("chromedriver")))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


def opened(driver: Any, page: Path, item: str = "") -> None:
    """Open a page and wait until its answers are unpacked."""
    from selenium.webdriver.support.ui import WebDriverWait

    driver.get("about:blank")
    driver.get(page.as_uri() + (f"#item={item}" if item else ""))
    WebDriverWait(driver, 30).until(
        lambda one: one.execute_script("return document.body.dataset.ready") == "yes"
    )
