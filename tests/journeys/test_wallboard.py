"""The wallboard in the control room: legible from afar, and back when the server is.

What the server would say is made here from the page's own template, so that a dozen sessions need no dozen machines; the
page's own timers are driven, not waited for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.template.loader import render_to_string
from playwright.sync_api import Page, Route, expect

from tests.journeys.conftest import Visit
from tests.journeys.test_comfort import CONTRAST, axe
from tests.support.browser import picture
from tests.support.needs import requires

pytestmark = requires("chromium")
FULL_HD = {"width": 1920, "height": 1080}
FOUR_K = {"width": 3840, "height": 2160}
WHO = ("Rita Romero", "Rob Okafor", "Nora Lindqvist")
SCREEN = [
    "operator@hist-01:~$ systemctl status historian",
    "● historian.service - Process historian, line 1",
    "     Loaded: loaded (/lib/systemd/system/historian.service; enabled)",
    "     Active: failed (Result: exit-code) since Mon 03:12:41 UTC; 4min ago",
    "   Main PID: 8120 (code=exited, status=28)",
    "operator@hist-01:~$ df -h /var/lib/historian",
    "Filesystem      Size  Used Avail Use% Mounted on",
    "/dev/sdb1        20G   20G     0 100% /var/lib/historian",
    "operator@hist-01:~$ journalctl -u historian -n 3 --no-pager",
    "03:12:40 historian[8120]: write wal/00041: no space left on device",
    "03:12:41 systemd[1]: historian.service: Main process exited, status=28",
    "operator@hist-01:~$ ",
]


class Wall:
    """What the server says: `count` sessions, and their screens; `away` while it doesn't answer."""

    def __init__(self, page: Page, count: int) -> None:
        self.asked, self.looked, self.away, self.silent = 0, 0, False, False
        self.still = False  # nothing has changed, as the server says it
        self.now = datetime.now(UTC)
        self.count = count
        self.version = ""
        page.route("**/wallboard/", self.whole)
        page.route("**/wallboard/live/**", self.live)
        page.route("**/wallboard/screens/", self.screens)
        page.route("**/wallboard/events/", lambda route: route.abort())

    def whole(self, route: Route) -> None:
        """The page itself, as it is; its version is what the screens' answers name from now on."""
        answer = route.fetch()
        self.version = re.search(r'data-version="([^"]*)"', answer.text())[1]  # type: ignore[index]
        route.fulfill(response=answer)

    def live(self, route: Route) -> None:
        if self.away:
            return route.abort()
        if self.still:
            return route.fulfill(status=204)
        self.asked += 1
        html = self.html.replace("@@seen@@", str(self.asked)).replace("98765", str(2 + self.asked % 7))
        return route.fulfill(content_type="text/html", body=html)

    @property
    def count(self) -> int:
        """How many sessions there are."""
        return self._count

    @count.setter
    def count(self, count: int) -> None:
        self._count = count
        tiles = [self._tile(index) for index in range(count)]
        facts = {"tiles": tiles, "more": 0, "requests": 98765, "frozen": 1, "waiting_escort": 0}
        self.html = render_to_string(
            "gateway/parts/wallboard_live.html", {**facts, "now": self.now, "csrf_token": "none"}
        )

    def screens(self, route: Route) -> None:
        if self.away:
            return route.abort()
        self.looked += 1
        rows = (
            [*SCREEN[: 1 + self.looked % len(SCREEN)], f"look {self.looked}"] if self.looked > 3 else SCREEN
        )
        rows = [""] * (24 - len(rows)) + rows
        facts = {str(self._id(index)): {"columns": 80, "rows": rows} for index in range(self.count)}
        return route.fulfill(json={"version": self.version, "screens": facts, "silent": self.silent})

    def _id(self, index: int) -> UUID:
        return UUID(int=index + 1)

    def _tile(self, index: int) -> Any:
        ends = self.now + timedelta(
            minutes=(42, 7, 1, 55)[index % 4] * 60 if index % 4 == 3 else (42, 7, 0.5)[index % 3]
        )
        person = SimpleNamespace(get_full_name=WHO[index % 3])
        approvals = [SimpleNamespace(person=SimpleNamespace(get_full_name="Ada Novak"))]
        grant = SimpleNamespace(
            ends_at=ends,
            playbook=SimpleNamespace(title="Historian down"),
            incident=SimpleNamespace(
                label="INC-4", title="Trends of line 1 have stopped since the night shift"
            ),
            request=SimpleNamespace(is_override=False, approvals=SimpleNamespace(all=approvals)),
        )
        frozen = self.now if index == 1 else None
        session = SimpleNamespace(
            id=self._id(index), label=f"S-{index + 1}", state="live", asset=SimpleNamespace(name=f"hist-{index + 1:02}"),
            login="operator", person=person, grant=grant, frozen_at=frozen, escort_missing_at=None, kill_requested_at=None,
        )  # fmt: skip
        return SimpleNamespace(session=session, watched=True, may_freeze=index != 1, may_unfreeze=index == 1)


@pytest.fixture
def wall(visit: Visit) -> Callable[..., tuple[Page, Wall]]:
    """`wall(FULL_HD)`: a wallboard that hangs there, with its sessions, and what feeds it."""

    def hang(size: dict[str, int], count: int = 12) -> tuple[Page, Wall]:
        page = visit("vera", "/", size=size)
        page.clock.install()
        said = Wall(page, count)
        page.goto("/wallboard/")
        page.evaluate("document.body.dispatchEvent(new CustomEvent('wake'))")
        expect(page.locator(".tile")).to_have_count(said.count)
        _until(page, lambda: "journalctl" in page.locator(".tile-screen").first.inner_text())
        return page, said

    return hang


def _until(page: Page, true: Callable[[], bool]) -> None:
    """The page's own clock goes on, two seconds at a time, until it is so."""
    for _ in range(300):
        if true():
            return
        page.clock.run_for(2000)
        page.wait_for_timeout(20)
    raise AssertionError("it never came to that")


# How high a letter of a screen is, and of what stands beside it, in px of the wall.
TYPE = """() => Object.fromEntries(['.tile-screen', '.tile-who', '.tile h2', '.wall-sums', '.tile-why'].map(
  (what) => [what, parseFloat(getComputedStyle(document.querySelector(what)).fontSize)]))"""


@pytest.mark.parametrize(
    ("size", "screen", "words"), [(FULL_HD, 8, 14), (FOUR_K, 16, 24)], ids=["1080p", "4k"]
)
def test_it_is_read_from_across_the_room(
    wall: Any, size: dict[str, int], screen: float, words: float
) -> None:
    page, said = wall(size)
    said.still = True  # nothing is replaced while it is judged
    height = size["height"]
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        assert axe(page, "" if theme == "light" else "color-contrast") == []
        assert page.evaluate(CONTRAST) == []
        picture(page, f"wallboard {height} {theme}", whole=False)
    type_ = page.evaluate(TYPE)
    assert type_.pop(".tile-screen") >= screen, type_
    assert min(type_.values()) >= words, type_
    # Twelve sessions stand on one wall, and no line of a screen of 80 columns is cut off.
    assert page.evaluate("document.documentElement.scrollHeight") <= height
    cut = "[...document.querySelectorAll('.tile-screen')].filter((e) => e.scrollWidth > e.clientWidth + 1).length"
    assert page.evaluate(cut) == 0


def test_it_finds_back_after_the_server_was_away(wall: Any) -> None:
    page, said = wall(FULL_HD)
    said.silent = True
    _until(page, lambda: page.locator("#silent").is_visible())
    picture(page, "wallboard whose screens are old", whole=False)
    said.away, said.silent = True, False
    _until(page, lambda: page.locator("#lost").is_visible())
    picture(page, "wallboard without its server", whole=False)
    # What was last known stays on the wall.
    expect(page.locator(".tile")).to_have_count(12)
    for _ in range(50):
        page.clock.run_for(10_000)
    said.away, said.count, seen = False, 5, said.looked
    _until(page, lambda: said.looked > seen and page.locator("#lost").is_hidden())
    expect(page.locator("#silent")).to_be_hidden()
    _until(page, lambda: page.locator(".tile").count() == 5)
    # Another version of the page came with the server: it loads itself anew.
    loaded: list[bool] = []
    page.on("load", lambda _: loaded.append(True))
    said.version += "x"
    _until(page, lambda: bool(loaded))
