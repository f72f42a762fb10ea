"""Debian's Chromium, driven by Playwright; its sandbox and its own downloads are not needed."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = os.environ.get("HUMO_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser that may play sound without a click; skips aloud where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium: install Debian's package of this name, or set HUMO_CHROMIUM")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--autoplay-policy=no-user-gesture-required", "--mute-audio"]
        )
        yield found
        found.close()


def file_address(path: Path) -> str:
    """As a browser opens it from disk."""
    return path.resolve().as_uri()
