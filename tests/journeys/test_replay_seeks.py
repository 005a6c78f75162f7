"""Wherever one seeks to, and from wherever: what is seen is what a play from the beginning would have come to."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from breakglass.demo.place import ROOT
from tests.journeys.conftest import DESK
from tests.support import playhouse
from tests.support.needs import requires
from tests.support.playhouse import Playhouse

SCRIPT = ROOT / "breakglass/web/static/breakglass/js/replay_frames.js"
# Nothing is spared: each seek goes on from the one before, and shows all that lies between.
STRAIGHT = """
Replay.Frames.prototype.leap = function (n) { return n; };
Replay.Frames.prototype.nearest = function () { return null; };
Replay.Frames.prototype.scout = function () { return Promise.resolve(false); };
"""
NO_SCOUT = "Replay.Frames.prototype.scout = function () { return Promise.resolve(false); };"
SEEN = """async (time) => {
  const slider = document.getElementById('seek'), terminal = Replay.Terminal.prototype, draw = terminal.draw;
  let drawn, fed = 0;
  const feed = terminal.feed;
  terminal.feed = function (from, to) { fed += to[0] - from[0] + 1; return feed.apply(this, arguments); };
  terminal.draw = function () { drawn = draw.apply(this, arguments); return drawn; };
  slider.value = String(time);
  slider.dispatchEvent(new Event('input'));
  await drawn;
  terminal.draw = draw;
  terminal.feed = feed;
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 0))));
  const box = document.getElementById('player');
  return {fed: fed, exact: document.getElementById('partly').hidden, text: box.querySelector('.ap-term-text').innerHTML,
    colours: box.querySelector('canvas').toDataURL(), symbols: box.querySelector('.ap-term-symbols g').innerHTML};
}"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playhouse]:
    with playhouse.opened(tmp_path_factory.mktemp("playhouse"), "mixed") as running:
        yield running


def seat(house: Playhouse, browser: Browser, more: str = "") -> Page:
    context = house.visitor(browser, "vera", viewport=DESK)
    context.set_default_timeout(60_000)
    page = context.new_page()

    def served(route: Route) -> None:
        route.fulfill(content_type="text/javascript", body=SCRIPT.read_text() + more)

    page.route("**/replay_frames*.js", served)
    page.goto(house.address("mixed"))
    expect(page.locator("#replay")).to_have_attribute("data-state", "ready")
    return page


def look(page: Page, time: float) -> dict[str, Any]:
    seen: dict[str, Any] = page.evaluate(SEEN, time)
    assert seen.pop("exact")
    return seen


@requires("chromium")
def test_a_seek_shows_what_a_play_would_have_come_to(house: Playhouse, browser: Browser) -> None:
    page = seat(house, browser, STRAIGHT)
    length = float(page.locator("#seek").get_attribute("max") or 0)
    times = [round(length * step / 42, 2) for step in range(43)]
    played = {}
    for time in times:
        played[time] = look(page, time)
    assert sum(seen.pop("fed") for seen in played.values()) >= 15
    assert len({seen["text"] for seen in played.values()}) > 30
    page.context.close()

    chance = random.Random(11)
    for more in (NO_SCOUT, ""):
        page = seat(house, browser, more)
        if not more:
            expect(page.locator("#replay")).to_have_attribute("data-scouted", "yes")
        for time in [*chance.sample(times, 18), times[-1], times[0]]:
            seen = look(page, time)
            fed = seen.pop("fed")
            assert seen == played[time], (time, more)
            # A leap shows at most the chunk before and what is plain around it; a key frame is at most so far away.
            assert fed <= 5 if not more else fed < 15, time
        page.context.close()
