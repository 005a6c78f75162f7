"""Times and clocks: in the reader's own zone with UTC on hover; near the end in words, read aloud once and together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.journeys.conftest import PHONE, Visit
from tests.support.browser import picture
from tests.support.needs import requires
from tests.support.stack import Stack

pytestmark = requires("chromium")
Elsewhere = Callable[..., Page]


@pytest.fixture
def elsewhere(stack: Stack, browser: Browser, visit: Visit, logins: dict[str, Any]) -> Iterator[Elsewhere]:
    """`elsewhere("rob", "Asia/Kathmandu")`: his browser in that zone."""
    opened = []

    def to(who: str, zone: str, clock: bool = False) -> Page:
        if who not in logins:
            visit(who)
        context = browser.new_context(
            base_url=stack.web,
            storage_state=logins[who],
            timezone_id=zone,
            viewport=PHONE,
            reduced_motion="reduce",
        )
        context.set_default_timeout(60_000)
        opened.append(context)
        page = context.new_page()
        if clock:
            page.clock.install()
        return page

    yield to
    for context in opened:
        context.close()


@pytest.fixture(scope="module")
def ask(stack: Stack) -> Iterator[str]:
    """A request of Rob's whose grant runs."""
    incident = stack.call("rob", "POST", "incidents", {"title": "Clocks are looked at"}).body["id"]
    plea = {
        "playbook": "hmi-failover",
        "incident": incident,
        "assets": ["hmi-02"],
        "reason": "Look at a clock",
    }
    made = stack.call("rob", "POST", "requests", plea)
    assert made.status == 201, made.body
    yes = stack.call("ben", "POST", f"requests/{made.body['id']}/approve", {"otp": stack.code("ben")})
    assert yes.status == 200, yes.body
    yield str(made.body["id"])
    stack.call("rob", "POST", f"grants/{yes.body['grant']}/release")


# Nepal is a quarter of an hour off; Lord Howe moves its clocks by half an hour in summer.
@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "Australia/Lord_Howe"])
def test_every_time_is_the_readers_own_and_utc_on_hover(elsewhere: Elsewhere, ask: str, zone: str) -> None:
    page = elsewhere("rob", zone)
    seen = 0
    for path in (f"/requests/{ask}/", "/profile/", "/incidents/"):
        page.goto(path)
        # None is left as the server wrote it, for who has no scripts.
        expect(page.locator("main time[data-at]")).to_have_count(0)
        whole = "all => all.map((e) => [e.textContent, e.getAttribute('datetime'), e.title])"
        for text, when, title in page.locator("main time[datetime][title]").evaluate_all(whole):
            if not re.search(r"\d\d:\d\d [A-Z]", text):
                continue  # a clock that counts, or "3 min ago"
            moment = datetime.fromisoformat(when)
            there = moment.astimezone(ZoneInfo(zone))
            assert f"{there:%H:%M}" in text, (path, text)
            assert f"{moment.astimezone(UTC):%d %b %Y %H:%M:%S} UTC" == title
            assert "UTC" not in text
            seen += 1
    assert seen >= 2
    picture(page, f"times {zone}")
    page.goto("/wallboard/")
    expect(page.locator("#wall-zone")).not_to_have_text("UTC")
    # In one look: the minute may turn.
    utc, face = page.locator("#wall-clock").evaluate("e => [e.title, e.textContent]")
    hour, minute = map(int, re.match(r"(\d\d):(\d\d) UTC", utc).groups())  # type: ignore[union-attr]
    offset = datetime.now(ZoneInfo(zone)).utcoffset()
    assert offset is not None
    there = (hour * 60 + minute + int(offset.total_seconds() // 60)) % 1440
    assert face == f"{there // 60:02}:{there % 60:02}"


def _kept_away(route: Route) -> None:
    asks = route.request.resource_type in {"xhr", "fetch", "eventsource"}
    route.abort() if asks else route.continue_()


def test_a_clock_near_its_end_says_so_once_in_words_and_aloud(elsewhere: Elsewhere, ask: str) -> None:
    page = elsewhere("rob", "UTC", clock=True)
    # The clocks of the page are moved, the server's aren't: what it would say now is kept away.
    page.route(re.compile("."), _kept_away)
    page.goto(f"/requests/{ask}/")
    face = page.locator("main .clock [data-until]").first
    expect(face).to_be_visible()
    holder = page.locator("main [data-clock]", has=page.locator("[data-until]")).first
    page.evaluate("""() => { window.heard = [];
      for (const id of ['said', 'said-clock']) {
        new MutationObserver(() => window.heard.push(id + ' ' + document.getElementById(id).textContent))
          .observe(document.getElementById(id), {childList: true}); } }""")
    until = face.evaluate("e => Number(e.dataset.until)")

    def until_left(seconds: float) -> None:
        ahead = until - page.evaluate("breakglassNow()") - seconds * 1000
        page.clock.fast_forward(max(0, int(ahead)))
        page.clock.run_for(1500)

    said = holder.get_attribute("data-clock")
    until_left(400)
    until_left(290)
    until_left(200)
    until_left(50)
    expect(holder.locator(".nearly.last")).to_have_text(re.compile("under a minute"))
    picture(page, "a clock within its last minute", whole=False)
    until_left(20)
    until_left(-5)
    expect(face).to_have_text("ended")
    expect(holder.locator("[data-unit]")).to_be_hidden()
    heard = page.evaluate("window.heard")
    mine = [line for line in heard if said and said in line]
    # Once at five minutes, politely; once in the last one and once at the end, at once. Nothing every second.
    assert [line.split()[0] for line in mine][-2:] == ["said-clock", "said-clock"], heard
    assert 2 <= len(mine) <= 4, heard
    assert "less than a minute left" in mine[-2]
