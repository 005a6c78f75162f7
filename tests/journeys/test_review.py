"""Vera reviews: from the queue to the replay, a finding at a second, what she saw counted, signed with a code; on a desk and on
a phone, in both themes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from breakglass.demo import totp
from breakglass.demo.place import ROOT
from tests.journeys.conftest import DESK, PHONE
from tests.support import playhouse
from tests.support.browser import picture
from tests.support.cast import PLAYERS
from tests.support.needs import requires
from tests.support.playhouse import Playhouse

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
Sit = Callable[..., Page]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playhouse]:
    with playhouse.opened(tmp_path_factory.mktemp("review"), "tour") as running:
        yield running


@pytest.fixture
def sit(house: Playhouse, browser: Browser) -> Iterator[Sit]:
    """`sit("/reviews/")`: Vera there; whatever her browser objects to fails the test."""
    opened: list[BrowserContext] = []
    mishaps: list[str] = []

    def at(path: str, *, size: dict[str, int] = DESK, dark: bool = False) -> Page:
        scheme = "dark" if dark else "light"
        context = house.visitor(browser, "vera", viewport=size, color_scheme=scheme, bypass_csp=False)
        opened.append(context)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.on("pageerror", lambda error: mishaps.append(str(error)))
        page.on("console", lambda said: mishaps.append(said.text) if "Refused to" in said.text else None)
        page.goto(path)
        return page

    yield at
    for context in opened:
        context.close()
    assert mishaps == []


@requires("chromium")
def test_from_the_queue_to_the_signature(sit: Sit, house: Playhouse) -> None:
    page = sit("/reviews/", size=PHONE)
    expect(page.get_by_text("Nobody has begun")).to_be_visible()
    picture(page, "review queue phone")
    page.locator("a.title").first.click()
    expect(page.get_by_role("heading", name="Watch first")).to_be_visible()
    expect(page.get_by_text("You saw 0 %; the unseen parts are marked")).to_be_visible()
    page.get_by_role("link", name=re.compile("^Replay S-")).click()
    replay = page.locator("#replay")
    expect(replay).to_have_attribute("data-state", "ready")

    # She plays the last part of it; the player tells what it showed.
    page.locator("#player").focus()
    page.keyboard.press("6")
    expect(replay).to_have_attribute("data-at", re.compile(r"^72"))
    page.keyboard.press("m")
    page.locator("#note-text").fill("Edited notes on the asset")
    page.locator("#note-category").select_option("outside_scope")
    page.locator("#note-severity").select_option("high")
    page.locator("#note-send").click()
    expect(page.locator("#note-dialog")).to_be_hidden()
    with page.expect_response(lambda answer: "/coverage/" in answer.url, timeout=60_000) as told:
        page.get_by_label("Speed").select_option("4")
        page.get_by_role("button", name="Play", exact=True).click()
    assert told.value.ok

    page.goto("/reviews/")
    expect(page.get_by_text("You have begun")).to_be_visible()
    page.locator("a.title").first.click()
    expect(page.get_by_text("Edited notes on the asset")).to_be_visible()
    expect(page.get_by_role("link", name=re.compile(r"S-\d+ at 1:1\d"))).to_be_visible()
    share = int(re.search(r"You saw (\d+) %", page.locator("#main").inner_text())[1])  # type: ignore[index]
    assert 0 < share < 100
    expect(page.get_by_role("img", name=re.compile("seen, not seen: "))).to_be_visible()
    picture(page, "review phone")

    # By keyboard alone: the verdict, the code, the button.
    page.get_by_label("In order").focus()
    page.keyboard.press("Space")
    page.get_by_label("Code").fill(totp.code(PLAYERS["vera"].totp_secret, datetime.now(UTC)))
    page.get_by_label("Code").press("Enter")
    expect(page.get_by_text("Signed. Thank you.")).to_be_visible()
    page.goto("/findings/")
    page.get_by_role("link", name="Edited notes on the asset").click()
    page.get_by_label("Who sees to it?").fill("OT data services")
    page.get_by_role("button", name="Note it").click()
    expect(page.get_by_text("OT data services").first).to_be_visible()
    picture(page, "finding phone")


@requires("chromium")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_pages_are_sound_in_both_themes(sit: Sit, dark: bool) -> None:
    """After the test before: signed, with a finding. axe has nothing against them, and nothing scrolls sideways at 360 px."""
    page = sit("/reviews/?show=signed", size={"width": 360, "height": 740}, dark=dark)
    review = page.locator("a.title").first.get_attribute("href") or ""
    for path in ("/reviews/?show=signed", review, "/findings/", "/findings/1/"):
        page.goto(path)
        page.evaluate(AXE.read_text())
        found = page.evaluate(
            "async () => (await axe.run(document)).violations.map((v) => v.id + ': ' + v.nodes[0].html)"
        )
        assert found == [], path
        assert (
            page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        ), path
