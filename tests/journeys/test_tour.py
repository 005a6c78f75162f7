"""The tour of docs/tour.md, walked: each of its pictures is a page of this very product, each sentence beside one that was seen.

`WRITE_TOUR=yes .venv/bin/python -m pytest tests/journeys/test_tour.py` writes the page and its pictures anew.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from breakglass.demo.place import ROOT
from tests.journeys.conftest import Visit
from tests.journeys.test_terminal import opened, screen, type_in
from tests.support.browser import picture
from tests.support.needs import requires
from tests.support.stack import Stack

PAGE = ROOT / "docs" / "tour.md"
PICTURES = ROOT / "docs" / "images" / "tour"
DESK = {"width": 1180, "height": 780}
PHONE = {"width": 390, "height": 800}
REASON = "Trends stopped at 02:10. Look at the disk, restart the service once."
NARROW = 220
"""A phone's picture on the page, in pixels."""


@dataclass(frozen=True)
class Stop:
    """One picture of the tour and what is said beside it."""

    name: str
    title: str
    says: str
    phone: bool = False


TOUR = (
    Stop("start", "02:12. Rita's phone", "The start page asks one thing: what is broken? The machine is found by typing; what was used last comes first.", phone=True),
    Stop("ask", "She asks", "The form says what the playbook allows, who must approve and when it lapses. It fills in what it may, and keeps what was typed.", phone=True),
    Stop("waiting", "She waits", "Who was asked, until when somebody may answer, and two digits that the approver has to pick.", phone=True),
    Stop("decide", "Ada decides", "Who, what, why, what is unusual about it. The right digits, and a second factor for this very request: a code or a passkey."),
    Stop("way-in", "The way in", "The page turns by itself: the time that is left, a terminal in the browser, or the ssh command to copy.", phone=True),
    Stop("terminal", "A terminal, here", "Recorded before it is shown. The clock, who watches, files both ways, one button that ends it."),
    Stop("watch", "Ada watches", "The session as it happens, with who else is watching, a chat that is part of the record, and freeze, go on and end a key each."),
    Stop("wallboard", "The control room", "Who is in what, with whose consent, until when, and what is on their screens. A screen on the wall looks and does nothing else."),
    Stop("frozen", "Frozen", "Input is held, output goes on, and both sides read by whom and why."),
    Stop("replay", "Vera replays", "Time on a line: commands, files, freezes, chat. A click leads there; a second can be shared; the runbook stands beside it."),
    Stop("transcript", "What was typed and shown", "Read through a real terminal emulator: each command says whether it is known or inferred, each line leads to its second."),
    Stop("search", "Found again", "Commands, output, files, reasons and chat of every session that she may see, as she types."),
    Stop("review", "She signs", "What she saw of it is measured, the runbook stands beside what was run, and the signature takes a second factor."),
    Stop("trends", "Over weeks", "How long people wait, what is asked for, how access ends, and whether it is reviewed."),
    Stop("audit", "The trail", "Every step of tonight, chained; anybody can check it without this program."),
)  # fmt: skip


@requires("chromium", "ssh")
def test_the_tour_is_as_the_page_says(stack: Stack, visit: Visit) -> None:
    rita, ada = visit("rita", size=PHONE), visit("ada", "/inbox/", size=DESK)
    _asks(rita)
    _decides(stack, ada, rita.locator(".match b").inner_text())
    expect(rita.get_by_role("heading", name="You are in")).to_be_visible()
    keep(rita, "way-in")
    session = _works(stack, visit, ada, rita.url.removeprefix(stack.web))
    _afterwards(visit, session)
    _over_weeks(visit)
    assert sorted(kept) == sorted(stop.name for stop in TOUR)


def test_the_page_and_its_pictures_are_those_of_the_tour() -> None:
    assert PAGE.read_text() == page_of_the_tour()
    assert {path.stem for path in PICTURES.glob("*.png")} == {stop.name for stop in TOUR}


kept: list[str] = []


def keep(page: Page, name: str) -> None:
    path = picture(page, f"tour {name}", whole=False)
    kept.append(name)
    if os.environ.get("WRITE_TOUR"):
        PICTURES.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, PICTURES / f"{name}.png")
        PAGE.write_text(page_of_the_tour())


def page_of_the_tour() -> str:
    """docs/tour.md, word for word."""
    parts = [
        "# A tour\n\nOne night, from a plea to a signature. The pictures are made by `tests/journeys/test_tour.py`, which walks this way each time the"
        "\ntests run: to see it yourself run `make demo`.\n"
    ]
    for stop in TOUR:
        size = f' width="{NARROW}"' if stop.phone else ' width="720"'
        image = f'<img src="images/tour/{stop.name}.png"{size} alt="{stop.title}: {stop.says}">'
        parts.append(f"## {stop.title}\n\n{stop.says}\n\n{image}\n")
    return "\n".join(parts)


def _asks(rita: Page) -> None:
    keep(rita, "start")
    rita.goto("/playbooks/historian-down/request/")
    rita.get_by_label("Which incident?").select_option(label="A new incident")
    rita.get_by_label("What happened, in a line").fill("Historian of line 1 answers nobody")
    rita.get_by_label("What is broken, and what will you do?").fill(REASON)
    keep(rita, "ask")
    rita.get_by_role("button", name="Send the request").click()
    expect(rita.get_by_role("heading", name="Waiting for an answer")).to_be_visible()
    keep(rita, "waiting")


def _decides(stack: Stack, ada: Page, number: str) -> None:
    ada.get_by_role("link", name="Rita Romero: Historian down").first.click()
    ada.get_by_role("radio", name=number, exact=True).check()
    ada.get_by_label("Comment").fill("Yes. Disk first, please.")
    keep(ada, "decide")
    ada.get_by_label("Code of your authenticator app").fill(stack.code("ada"))
    ada.get_by_role("button", name="Approve").click()
    expect(ada.get_by_text("Rita Romero was told.")).to_be_visible()


def _works(stack: Stack, visit: Visit, ada: Page, request: str) -> str:
    """The session's page, once it is over and its recording sealed."""
    desk = visit("rita", request, size=DESK)
    session = opened(desk, stack)
    for line in ("df -h /", "plantctl status", "echo the disk is $((90 + 9)) % full"):
        type_in(desk, line)
    expect(screen(desk)).to_contain_text("the disk is 99 % full")
    ada.goto(f"/sessions/{session}/watch/")
    expect(ada.locator(".watch-terminal:not([hidden]) .xterm-rows")).to_contain_text("the disk is 99 % full")
    expect(desk.get_by_text("Ada Novak").first).to_be_visible()
    keep(desk, "terminal")
    keep(ada, "watch")
    wall = visit("admin", size=DESK)
    wall.goto("/wallboard/")
    expect(wall.locator("[data-screen]").first).to_contain_text("the disk is 99 % full")
    keep(wall, "wallboard")
    ada.bring_to_front()
    ada.locator("body").click(position={"x": 4, "y": 4})
    ada.keyboard.press("f")
    expect(ada.locator("#watch-live").get_by_text("Frozen by Ada Novak")).to_be_visible()
    keep(ada, "frozen")
    ada.keyboard.press("u")
    expect(ada.locator("#watch-live").get_by_text("Frozen by Ada Novak")).to_have_count(0)
    type_in(desk, "exit")
    expect(desk.get_by_role("heading", name="The shell is over")).to_be_visible()
    rita = visit("rita", request, size=DESK)
    rita.get_by_role("button", name="I'm done: release").click()
    expect(rita.get_by_role("heading", name="Released")).to_be_visible()
    return f"/sessions/{session}/"


def _afterwards(visit: Visit, session: str) -> None:
    vera = visit("vera", session, size=DESK)
    expect(vera.get_by_role("link", name="Open the replay")).to_be_visible()
    vera.goto(f"{session}replay/")
    expect(vera.locator("#replay")).to_have_attribute("data-state", "ready")
    vera.get_by_label("Speed").select_option("16")
    vera.get_by_role("button", name="Play", exact=True).click()
    expect(vera.locator("#player")).to_contain_text("the disk is 99 % full")
    vera.goto(f"{session}replay/?t=1.5")
    expect(vera.locator("#replay")).to_have_attribute("data-state", "ready")
    expect(vera.locator("#player")).to_contain_text("plantctl status")
    vera.set_viewport_size({"width": 1180, "height": 960})
    vera.evaluate("scrollTo(0, 0)")
    keep(vera, "replay")
    vera.set_viewport_size(DESK)  # type: ignore[arg-type]
    vera.goto(f"{session}transcript/")
    expect(vera.get_by_text("plantctl status").first).to_be_visible()
    keep(vera, "transcript")
    vera.goto("/search/")
    vera.get_by_role("searchbox").press_sequentially("plantctl sta")
    expect(vera.locator("#results").get_by_text(re.compile("plantctl")).first).to_be_visible()
    keep(vera, "search")
    vera.goto("/reviews/")
    vera.locator("a.title").filter(has_text="Rita Romero").first.click()
    expect(vera.get_by_text(re.compile(r"You saw \d+ %"))).to_be_visible()
    keep(vera, "review")


def _over_weeks(visit: Visit) -> None:
    otto = visit("otto", "/trends/?days=30", size=DESK)
    expect(otto.get_by_role("heading", name="From request to approval")).to_be_visible()
    keep(otto, "trends")
    otto.goto("/audit/")
    expect(otto.get_by_text("recording viewed").first).to_be_visible()
    keep(otto, "audit")


@pytest.fixture(autouse=True)
def _anew() -> None:
    kept.clear()
