"""What a hostile machine sent does nothing, replayed or watched live, in a real browser: the clipboard, the title and the page
stay as they were, no script runs, nothing can be clicked, and the terminal goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import DESK
from tests.support import playhouse
from tests.support.needs import requires
from tests.support.playhouse import Playhouse

PATIENCE = 60_000
# Of both texts at once, before the first click: a click on a replay lets it play.
PLACES = """screen => ['click me', 'https://example.com/b'].map(text => Array.from(screen.querySelectorAll('span, div'))
  .filter(one => one.textContent.includes(text)).pop().getBoundingClientRect().toJSON())"""
MARKUP = "a, script, img, svg:not(.ap-term-symbols), iframe, b, form"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playhouse]:
    with playhouse.opened(tmp_path_factory.mktemp("playhouse"), "corpus", "watched") as running:
        yield running


class Guarded:
    """A visit at which nothing of what is shown may act."""

    def __init__(self, house: Playhouse, browser: Browser, who: str, path: str) -> None:
        self.context = house.visitor(
            browser, who, viewport=DESK, permissions=["clipboard-read", "clipboard-write"]
        )
        self.context.set_default_timeout(PATIENCE)
        self.page: Page = self.context.new_page()
        self.mishaps: list[Any] = []
        self.page.on("dialog", lambda dialog: self.mishaps.append(dialog.message))
        self.page.on("pageerror", lambda error: self.mishaps.append(str(error)))
        self.page.on("popup", lambda popup: self.mishaps.append(popup.url))
        self.page.on("download", lambda download: self.mishaps.append(download.url))
        self.context.on("request", self._note)
        self.web = house.web
        self.page.goto(house.web + path)
        self.page.evaluate("navigator.clipboard.writeText('mine')")
        self.title, self.url = self.page.title(), self.page.url
        self.page.on("framenavigated", lambda frame: self.mishaps.append(frame.url))

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.web, "data:", "blob:")):
            self.mishaps.append(request.url)

    def nothing_happened(self, screen: str) -> None:
        page = self.page
        assert page.locator(screen).locator(MARKUP).count() == 0
        for where in page.locator(screen).evaluate(PLACES):
            page.mouse.click(where["x"] + 20, where["y"] + where["height"] / 2)
        page.keyboard.press("Control+C")
        assert page.evaluate("navigator.clipboard.readText()") == "mine"
        assert (page.title(), page.url) == (self.title, self.url)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert self.mishaps == []
        self.context.close()


@requires("chromium")
def test_a_replay_of_all_of_it_does_nothing(house: Playhouse, browser: Browser) -> None:
    visit = Guarded(house, browser, "vera", f"/sessions/{house.sessions['corpus']}/replay/")
    page = visit.page
    expect(page.locator("#replay")).to_have_attribute("data-state", "ready", timeout=PATIENCE)
    page.locator("#player").focus()
    for key in "3579":
        page.keyboard.press(key)
    page.keyboard.press("End")
    expect(page.locator("#player")).to_contain_text("still standing", timeout=PATIENCE)
    expect(page.locator("#wait")).to_be_hidden()
    visit.nothing_happened("#player")


@requires("chromium")
def test_watching_all_of_it_live_does_nothing(house: Playhouse, browser: Browser) -> None:
    visit = Guarded(house, browser, "ada", f"/sessions/{house.sessions['watched']}/watch/")
    screen = ".watch-terminal:not([hidden]) .xterm-rows"
    expect(visit.page.locator(screen)).to_contain_text("still standing", timeout=PATIENCE)
    visit.nothing_happened(screen)
