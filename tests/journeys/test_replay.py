"""Vera judges by the replay: she plays, seeks by key and click, shares a second, reads the runbook beside it, writes a finding,
on a desk and on a phone; what a hostile machine sent does nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from breakglass.demo.place import ROOT
from tests.journeys.conftest import DESK, PHONE
from tests.support import playhouse
from tests.support.browser import picture
from tests.support.playhouse import Playhouse

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
Sit = Callable[..., Page]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playhouse]:
    folder = tmp_path_factory.mktemp("playhouse")
    with playhouse.opened(folder, "tour", "hostile", "open", "deleted", "damaged") as running:
        yield running


@pytest.fixture
def sit(house: Playhouse, browser: Browser) -> Iterator[Sit]:
    """`sit("tour")`: Vera before that replay, ready; whatever her browser objects to fails the test."""
    opened: list[BrowserContext] = []
    mishaps: list[str] = []

    def before(
        name: str,
        rest: str = "",
        *,
        who: str = "vera",
        size: dict[str, int] = DESK,
        ready: bool = True,
        **options: object,
    ) -> Page:
        context = house.visitor(browser, who, viewport=size, **options)
        opened.append(context)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.on("pageerror", lambda error: mishaps.append(str(error)))
        page.on("dialog", lambda dialog: mishaps.append(dialog.message))
        page.on("console", lambda said: mishaps.append(said.text) if "Refused to" in said.text else None)
        page.goto(house.address(name, rest))
        if ready:
            expect(page.locator("#replay")).to_have_attribute("data-state", "ready")
            expect(page.locator("#replay")).to_have_attribute("data-marks", re.compile(r"\d"))
        return page

    yield before
    for context in opened:
        context.close()
    assert mishaps == []


def at(page: Page) -> float:
    return float(page.locator("#replay").get_attribute("data-at") or -1)


def goes_to(page: Page, second: float) -> None:
    """What the page shows is of that second; a list's and a slider's steps are coarser than a hundredth."""
    expect(page.locator("#replay")).to_have_attribute("data-at", re.compile(rf"^{second:.1f}"))


def until(page: Page, reached: Callable[[float], bool], patience: float = 60) -> None:
    """Until the replay has come so far."""
    deadline = time.monotonic() + patience
    while not reached(at(page)):
        assert time.monotonic() < deadline, at(page)
        page.wait_for_timeout(100)


def test_keys_and_clicks_lead_to_seconds(sit: Sit) -> None:
    page = sit("tour")
    screen, current = page.locator("#player"), page.locator("#moments [aria-current]")
    page.locator("#player").focus()
    page.keyboard.press("6")
    goes_to(page, 72.0)
    expect(screen).to_contain_text("restart after the spool is empty")
    expect(screen).not_to_contain_text("df -h")
    expect(current).to_contain_text("vi notes.txt")
    page.keyboard.press("l")
    goes_to(page, 82.0)
    expect(screen).to_contain_text("df -h")
    page.keyboard.press("ArrowLeft")
    goes_to(page, 77.0)
    expect(page.locator("#told")).to_have_text("1:17 of 2:00")
    page.keyboard.press("n")
    goes_to(page, 85.0)
    expect(page.locator("#told")).to_contain_text("file: begins write /srv/historian/patch.tar")
    page.keyboard.press("p")
    goes_to(page, 70.0)
    page.keyboard.press(".")
    goes_to(page, 80.0)
    page.keyboard.press(",")
    goes_to(page, 80.0 - 0.1)
    page.get_by_role("button", name=re.compile("ls spool")).click()
    goes_to(page, 9.0)
    expect(screen).to_contain_text("18342")
    expect(screen).not_to_contain_text("vi notes")
    page.locator("#lane").click(
        position={"x": page.locator("#lane").bounding_box()["width"] * 100 / 120, "y": 12}
    )  # type: ignore[index]
    goes_to(page, 100.0)
    page.get_by_role("slider", name="Position").fill("4.5")
    goes_to(page, 4.5)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.get_by_label("Single keys control the player").uncheck()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.keyboard.press("9")
    goes_to(page, 4.5)
    picture(page, "replay desk")


def test_it_plays_faster_and_skips_what_is_idle(sit: Sit) -> None:
    page = sit("tour", "?t=15")
    page.get_by_label("Skip idle").uncheck()
    page.get_by_role("button", name="Play", exact=True).click()
    until(page, lambda second: second > 18)
    page.get_by_role("button", name="Pause").click()
    # In the middle of the pause of 56 s: nothing was skipped.
    assert at(page) < 70.0
    page.get_by_label("Skip idle").check()
    page.get_by_role("slider", name="Position").fill("15")
    page.get_by_role("button", name="Play", exact=True).click()
    until(page, lambda second: second >= 70, patience=45)
    expect(page.locator("#player")).to_contain_text("restart after the spool is empty")
    page.get_by_label("Speed").select_option("16")
    expect(page.locator("#replay")).to_have_attribute("data-playing", "false", timeout=60_000)
    goes_to(page, 120.0)
    expect(page.locator("#player")).to_contain_text("logout")


def test_a_shared_link_opens_paused_at_its_second_for_whoever_may(
    sit: Sit, house: Playhouse, browser: Browser
) -> None:
    page = sit("tour", "?t=12", permissions=["clipboard-read", "clipboard-write"])
    goes_to(page, 12.0)
    expect(page.locator("#replay")).not_to_have_attribute("data-playing", "true")
    expect(page.locator("#subtitles")).to_contain_text("Ada Novak: Is that the right disk?")
    expect(page.locator("#wall")).to_have_attribute(
        "title", re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$")
    )
    page.get_by_role("button", name=re.compile("ls spool")).click()
    expect(page.locator("#subtitles")).to_be_empty()
    page.get_by_role("button", name="Copy link to this second").click()
    expect(page.locator("#share")).to_have_text("Copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == house.address("tour", "?t=9")
    for who, status in (("rita", 200), ("otto", 200), ("rob", 404), ("ada", 403)):
        context = house.visitor(browser, who)
        answer = context.request.get(link)
        assert answer.status == status, who
        context.close()


def test_a_reviewer_sees_what_was_watched_and_writes_what_was_found(sit: Sit) -> None:
    page = sit("tour", "?t=100")
    with page.expect_response(lambda answer: answer.url.endswith("/coverage/")) as told:
        page.get_by_label("Speed").select_option("4")
        page.get_by_role("button", name="Play", exact=True).click()
    assert told.value.status == 200
    begin, end = told.value.json()["ranges"][-1]  # other tests of this module have watched more of it
    assert 99.0 <= begin < end
    expect(page.locator("#seen")).to_contain_text("You have watched")
    page.get_by_role("slider", name="Position").fill("71")
    page.get_by_role("button", name="Note this").click()
    page.get_by_label("What did you find?").fill("Notes edited by hand </script>")
    page.get_by_role("button", name="Write it down").click()
    found = page.locator("#moments button").filter(has_text="Vera Moreau: Notes edited by hand </script>")
    expect(found).to_be_visible()
    page.reload()
    expect(found).to_be_visible()


def test_the_runbook_stands_beside_it_and_one_channel_can_be_followed(sit: Sit) -> None:
    page = sit("tour", "?t=95")
    page.get_by_role("button", name="Runbook").click()
    expect(page.get_by_role("complementary", name="Runbook")).to_be_visible()
    picture(page, "replay runbook")
    page.get_by_role("complementary", name="Runbook").get_by_role("button", name="Close").click()
    expect(page.locator("#runbook")).to_be_hidden()
    expect(page.get_by_label("Channel", exact=True)).to_be_visible()
    expect(page.locator("#player")).to_contain_text("df -h")
    page.get_by_label("Channel", exact=True).select_option("follow")
    expect(page.locator("#player")).not_to_contain_text("df -h")
    expect(page.locator("#player")).to_contain_text("up 91 days")
    page.get_by_label("Channel", exact=True).select_option("1")
    expect(page.locator("#player")).to_contain_text("df -h")
    expect(page.locator("#player")).not_to_contain_text("up 91 days")


def test_a_hostile_recording_does_nothing(sit: Sit) -> None:
    page = sit("hostile", permissions=["clipboard-read", "clipboard-write"])
    page.evaluate("navigator.clipboard.writeText('mine')")
    title = page.title()
    page.locator("#player").focus()
    for key in "123456789":
        page.keyboard.press(key)
    page.keyboard.press("End")
    expect(page.locator("#player")).to_contain_text("still standing")
    assert page.title() == title
    assert page.evaluate("navigator.clipboard.readText()") == "mine"
    assert page.evaluate("window.hurt") is None
    assert page.locator("#player a, #moments a, #moments script, #moments b").count() == 0
    expect(page.locator("#moments")).to_contain_text("</script><b>")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_all_of_it_is_in_reach(sit: Sit, dark: bool) -> None:
    scheme = "dark" if dark else "light"
    page = sit("tour", "?t=12", size=PHONE, color_scheme=scheme, bypass_csp=True)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("button", name="Runbook").click()
    drawer = page.get_by_role("complementary", name="Runbook")
    expect(drawer).to_be_in_viewport()
    drawer.get_by_role("button", name="Close").click()
    picture(page, f"replay phone {scheme}")
    page.add_script_tag(path=AXE)
    found = page.evaluate(
        "axe.run().then(r => r.violations.map(v => [v.id, v.nodes.map(n => n.target.join(' '))]))"
    )
    assert found == []


@pytest.mark.parametrize(
    ("name", "words", "status"),
    [
        ("open", "The recording isn't sealed yet.", 409),
        ("deleted", "There is no replay.", 410),
    ],
)
def test_where_there_is_nothing_to_play_the_page_says_why(
    sit: Sit, house: Playhouse, name: str, words: str, status: int
) -> None:
    page = sit(name, ready=False)
    expect(page.locator("main")).to_contain_text(words)
    assert page.context.request.get(house.address(name)).status == status
    page.get_by_role("link", name=re.compile("S-")).last.click()
    expect(page).to_have_url(re.compile(r"/sessions/[0-9a-f-]+/$"))


def test_a_damaged_one_says_where(sit: Sit) -> None:
    page = sit("damaged", ready=False)
    expect(page.get_by_role("alert").filter(has_text="chunk 0")).to_be_visible()
    expect(page.locator("#controls")).to_be_hidden()
