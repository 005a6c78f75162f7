"""People join, lose their phone and leave, and a screen becomes a wallboard: on the administrators' pages, in a real browser.

One story in order; each test goes on where the one before stopped. Who joins here has left again at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import DESK, PHONE, Visit
from tests.journeys.test_comfort import axe
from tests.support import codes
from tests.support.browser import picture
from tests.support.needs import requires
from tests.support.stack import Stack

pytestmark = requires("chromium")
PHRASE = "a long enough phrase"


@pytest.fixture(scope="module")
def windows(stack: Stack, browser: Browser) -> Iterator[dict[str, Page]]:
    """The browsers of those who joined, by name: a telephone each."""
    opened: dict[str, Page] = {}
    yield opened
    for page in opened.values():
        page.context.close()


def judge(page: Page, name: str) -> None:
    """axe finds nothing, in the dark the contrast holds too, and nothing is wider than the screen: on a phone and at a desk."""
    size = page.viewport_size
    for shape, theme, rule in (
        (DESK, "light", None),
        (PHONE, "light", ""),
        (PHONE, "dark", "color-contrast"),
    ):
        page.set_viewport_size(shape)  # type: ignore[arg-type]
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
        if (shape, theme) != (PHONE, "light"):
            picture(page, f"people {name} {'phone' if shape is PHONE else 'desk'} {theme}")
        assert rule is None or axe(page, rule) == [], (name, theme)
        assert (
            page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        )
    if size:
        page.set_viewport_size(size)


def join(stack: Stack, browser: Browser, windows: dict[str, Page], who: str, code: str) -> Page:
    """Their first login, on their telephone: a password of their own, then an authenticator app."""
    context = browser.new_context(viewport=PHONE, base_url=stack.web)  # type: ignore[arg-type]
    context.set_default_timeout(60_000)
    page = windows[who] = context.new_page()
    page.goto("/login/")
    page.get_by_role("link", name="Begin with the code").click()
    page.get_by_label("User name").fill(who)
    page.get_by_label("Enrolment code").fill(code)
    page.get_by_label("Choose a password").fill(PHRASE)
    page.get_by_label("The password again").fill(PHRASE)
    return page


def enrol(stack: Stack, page: Page, who: str) -> None:
    """The page's own secret goes into the app, and its code back."""
    expect(page.get_by_role("heading", name="Set up your second factor")).to_be_visible()
    shown = page.locator("#secret").text_content() or ""
    codes.SECRETS[who] = re.sub(r"\s", "", shown)
    page.get_by_label("Code", exact=True).fill(stack.code(who))
    page.get_by_role("button", name="Confirm", exact=True).click()
    expect(page.get_by_role("heading", name="Keep these recovery codes")).to_be_visible()
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_role("heading", name="Keep these recovery codes")).to_have_count(0)


def added(stack: Stack, page: Page, by: str, who: str, name: str, group: str) -> str:
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("User name").fill(who)
    page.get_by_label(re.compile(rf"^{group}")).check()
    page.get_by_label("Code of your authenticator app").fill(stack.code(by))
    page.get_by_role("button", name="Add them").click()
    expect(page.get_by_role("heading", name=f"{name} was added")).to_be_visible()
    return page.locator("#issued-code").inner_text()


def test_people_join_lose_their_factors_and_leave_and_a_screen_is_paired(
    stack: Stack, browser: Browser, visit: Visit, windows: dict[str, Page]
) -> None:
    """One story, and so one test: whoever runs it again has all of it."""
    _an_administrator_adds_a_person_who_chooses_their_own_password(stack, browser, visit, windows)
    _who_lost_every_factor_starts_anew_by_two_administrators(stack, browser, visit, windows)
    _a_screen_becomes_a_wallboard_by_a_code_typed_on_it(stack, browser, windows)
    _who_leaves_is_out_at_once(stack, visit, windows)


def _an_administrator_adds_a_person_who_chooses_their_own_password(
    stack: Stack, browser: Browser, visit: Visit, windows: dict[str, Page]
) -> None:
    page = visit("admin", "/people/")
    judge(page, "people")
    page.get_by_role("link", name="Add a person").click()
    page.get_by_label("Name", exact=True).fill("Anna Abel")
    page.get_by_label("User name").fill("Anna!")
    page.get_by_label("Code of your authenticator app").fill("123456")
    page.get_by_role("button", name="Add them").click()
    # A slip is said beside its field, and what was typed stays.
    expect(page.get_by_text("A user name is 1 to 31").first).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Anna Abel")
    judge(page, "add")
    code = added(stack, page, "admin", "anna", "Anna Abel", "administrators")
    anna = join(stack, browser, windows, "anna", code)
    anna.get_by_label("The password again").fill("something else here")
    anna.get_by_role("button", name="Go on").click()
    expect(anna.get_by_text("The two passwords differ.")).to_be_visible()
    expect(anna.get_by_label("User name")).to_have_value("anna")
    judge(anna, "first login")
    for label in ("Choose a password", "The password again"):
        anna.get_by_label(label).fill(PHRASE)
    anna.get_by_label("Enrolment code").fill(code)
    anna.get_by_role("button", name="Go on").click()
    enrol(stack, anna, "anna")


def _who_lost_every_factor_starts_anew_by_two_administrators(
    stack: Stack, browser: Browser, visit: Visit, windows: dict[str, Page]
) -> None:
    anna = windows["anna"]
    anna.goto("/people/add/")
    code = added(stack, anna, "anna", "nell", "Nell Nowak", "responders")
    nell = join(stack, browser, windows, "nell", code)
    nell.get_by_role("button", name="Go on").click()
    enrol(stack, nell, "nell")
    anna.goto("/people/")
    anna.get_by_role("link", name="Factors lost by Nell Nowak").click()
    anna.get_by_label("How do you know that it is them?").fill("She stands beside me.")
    judge(anna, "recovery asked")
    anna.get_by_label("Code of your authenticator app").fill(stack.code("anna"))
    anna.get_by_role("button", name="Ask for the recovery").click()
    expect(anna.get_by_text("Another administrator confirms it")).to_be_visible()
    # Her own word isn't the second one, and nothing has changed so far.
    anna.get_by_role("link", name="Look at the recovery of Nell Nowak").click()
    expect(anna.get_by_text("You can't confirm this one")).to_be_visible()
    nell.goto("/profile/")
    expect(nell.get_by_role("heading", level=1)).to_be_visible()
    admin = visit("admin", "/people/", size=PHONE)
    admin.get_by_role("link", name="Look at the recovery of Nell Nowak").click()
    judge(admin, "recovery")
    admin.get_by_label("Code of your authenticator app").fill(stack.code("admin"))
    admin.get_by_role("button", name="Confirm: remove their factors").click()
    code = admin.locator("#issued-code").inner_text()
    nell.goto("/profile/")
    nell.get_by_label("User name").fill("nell")
    nell.get_by_label("Password").fill(PHRASE)
    nell.get_by_role("button", name="Go on").click()
    nell.get_by_label("Enrolment code").fill(code)
    nell.get_by_role("button", name="Go on").click()
    enrol(stack, nell, "nell")


def _a_screen_becomes_a_wallboard_by_a_code_typed_on_it(
    stack: Stack, browser: Browser, windows: dict[str, Page]
) -> None:
    anna = windows["anna"]
    anna.goto("/kiosks/")
    anna.get_by_label("Where does it hang?").fill("Journey room")
    judge(anna, "kiosks")
    anna.get_by_label("Code of your authenticator app").fill(stack.code("anna"))
    anna.get_by_role("button", name="Make a pairing code").click()
    code = anna.locator("#pairing-code").inner_text()
    context = browser.new_context(viewport={"width": 1920, "height": 1080}, base_url=stack.web)
    context.set_default_timeout(60_000)
    screen = windows["screen"] = context.new_page()
    screen.goto("/wallboard/")
    screen.get_by_label("Pairing code").fill("00000-00000")
    screen.get_by_role("button", name="Pair this screen").click()
    expect(screen.get_by_role("alert")).to_be_visible()
    judge(screen, "pairing")
    screen.get_by_label("Pairing code").fill(code)
    screen.get_by_role("button", name="Pair this screen").click()
    expect(screen.get_by_text("Journey room · looks only")).to_be_visible()
    judge(screen, "paired")
    anna.reload()
    expect(anna.get_by_text("paired", exact=True)).to_be_visible()


def _who_leaves_is_out_at_once(stack: Stack, visit: Visit, windows: dict[str, Page]) -> None:
    anna, nell = windows["anna"], windows["nell"]
    anna.goto("/people/")
    anna.get_by_role("link", name="Disable Nell Nowak").click()
    anna.get_by_label("Why?").fill("Her contract is over.")
    judge(anna, "disable")
    anna.get_by_label("Code of your authenticator app").fill(stack.code("anna"))
    anna.get_by_role("button", name="Disable them").click()
    expect(anna.get_by_text("Nell Nowak is disabled")).to_be_visible()
    nell.goto("/profile/")
    expect(nell.get_by_label("Password")).to_be_visible()
    # Nobody who was made up here stays.
    admin = visit("admin", "/people/")
    admin.get_by_role("link", name="Disable Anna Abel").click()
    admin.get_by_label("Why?").fill("The story is over.")
    admin.get_by_label("Code of your authenticator app").fill(stack.code("admin"))
    admin.get_by_role("button", name="Disable them").click()
    expect(admin.get_by_text("Anna Abel is disabled")).to_be_visible()
