"""A day's recording, of more than a page holds: read in parts, drawn from near by, and from the beginning where one asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import DESK
from tests.support import playhouse
from tests.support.needs import requires
from tests.support.playhouse import Playhouse

MOST_HELD = 72
MINE = """() => {
  const draw = Replay.Terminal.prototype.draw;
  Replay.Terminal.prototype.draw = function () { window.chunks = this.chunks; return draw.apply(this, arguments); };
}"""
SEEK = """(time) => {
  const slider = document.getElementById('seek');
  slider.value = String(time);
  slider.dispatchEvent(new Event('input'));
}"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playhouse]:
    with playhouse.opened(tmp_path_factory.mktemp("playhouse"), "shift") as running:
        yield running


def seek(page: Page, time: float) -> None:
    page.evaluate(SEEK, time)
    expect(page.locator("#player .ap-term-text")).to_contain_text(f"painting {int(time // 10):04d}")


@requires("chromium")
def test_a_day_opens_is_sought_through_and_is_never_held_whole(house: Playhouse, browser: Browser) -> None:
    context = house.visitor(browser, "vera", viewport=DESK)
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.goto(house.address("shift"))
    expect(page.locator("#replay")).to_have_attribute("data-state", "ready")
    assert float(page.locator("#seek").get_attribute("max") or 0) == 86_400
    page.evaluate(MINE)
    seek(page, 86_395.0)
    assert page.evaluate("window.chunks.count") > MOST_HELD
    # What a page must not fetch to show the end: the day before it.
    assert page.evaluate("window.chunks.held.size") < 20
    expect(page.locator("#partly")).to_be_visible()
    screen = page.locator("#player .ap-term-text")
    expect(screen).not_to_contain_text("set up long before")
    page.locator("#partly").get_by_role("button").click()
    expect(page.locator("#partly")).to_be_hidden()
    expect(screen).to_contain_text("set up long before")
    expect(screen).to_contain_text("painting 8639")
    assert page.evaluate("window.chunks.held.size") <= MOST_HELD
    for time in (60.0, 43_205.0, 21_605.0):
        seek(page, time)
        assert page.evaluate("window.chunks.held.size") <= MOST_HELD
    context.close()
