"""People at their browsers: each with a window of their own, logged in as they would."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.stack import Stack

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
Visit = Callable[..., Page]


@pytest.fixture(autouse=True)
def _patience() -> None:
    expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def logins(stack: Stack) -> dict[str, object]:
    """Who has logged in already, so that a module spends one code a person on it."""
    return {}


@pytest.fixture
def visit(stack: Stack, browser: Browser, logins: dict[str, object]) -> Iterator[Visit]:
    """`visit("rita", "/profile/", size=PHONE)`: Rita's browser, logged in, at that page. Its mishaps fail the test."""
    opened: list[BrowserContext] = []
    mishaps: list[str] = []

    def to(username: str, path: str = "/", *, size: dict[str, int] = DESK, dark: bool = False) -> Page:
        context = browser.new_context(
            viewport=size,  # type: ignore[arg-type]
            color_scheme="dark" if dark else "light",
            base_url=stack.web,
            storage_state=logins.get(username),  # type: ignore[arg-type]
            accept_downloads=True,
        )
        opened.append(context)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.on("pageerror", lambda error: mishaps.append(f"{username}: {error}"))
        page.on(
            "console",
            lambda said: mishaps.append(f"{username}: {said.text}") if "Refused to" in said.text else None,
        )
        page.goto(path)
        if "/login/" in page.url:
            log_in(stack, page, username)
            logins[username] = context.storage_state()
        return page

    yield to
    for context in opened:
        context.close()
    assert mishaps == []


def log_in(stack: Stack, page: Page, username: str) -> None:
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password").fill(stack.person(username)["password"])
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Code").fill(stack.code(username))
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("main")).to_be_visible()
    expect(page.get_by_label("Password")).to_have_count(0)
