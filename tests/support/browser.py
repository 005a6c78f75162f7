"""A real Chromium, driven by Playwright. The distribution's browser: nothing is downloaded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from breakglass.demo.place import ROOT
from tests.support import needs

ARTIFACTS = ROOT / "var" / "test-artifacts"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser. Pages that it opens should be given their own context, one a person."""
    program = needs.chromium()
    assert program, needs.missing(("chromium",))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS), headless=True)
        try:
            yield browser
        finally:
            browser.close()


def picture(page: Page, name: str, *, whole: bool = True) -> Path:
    """Keeps a screenshot under var/test-artifacts."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    path = ARTIFACTS / f"{re.sub(r'[^a-z0-9-]+', '-', name.lower())}.png"
    page.screenshot(path=path, full_page=whole)
    return path
