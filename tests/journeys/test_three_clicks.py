"""Three clicks from the start page to a shell, a machine found by the keyboard, and an approver whose tab says that somebody waits."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.journeys.conftest import DESK, PHONE, Visit
from tests.support.browser import picture
from tests.support.needs import requires
from tests.support.stack import Stack

REASON = "The trend of line 1 stands still. Restart the collector once."
CLICKS = "addEventListener('click', event => { if (event.isTrusted && event.detail) sessionStorage.clicks = +(sessionStorage.clicks || 0) + 1 }, true)"

# The browser's own notifications, written down where the test can read them; the page isn't being looked at.
TOLD = """
window.Notification = class {
  constructor(title, more) { document.documentElement.dataset.told = title + ': ' + more.body; }
  static get permission() { return sessionStorage.permission || 'default'; }
  static requestPermission() { sessionStorage.permission = 'granted'; return Promise.resolve('granted'); }
};
Object.defineProperty(document, 'hidden', { get: () => Boolean(sessionStorage.permission) });
"""


@requires("chromium")
def test_found_by_the_keyboard_asked_for_again_and_in_with_three_clicks(stack: Stack, visit: Visit) -> None:
    _nobody_waits(stack)
    ada = visit("ada", "/playbooks/", size=DESK)
    _wants_to_be_told(ada)
    rita = visit("rita", size=DESK)
    _by_keyboard(rita)
    _waits(rita, ada)
    rita.get_by_role("button", name="Withdraw").click()
    expect(rita.get_by_role("heading", name="Withdrawn")).to_be_visible()
    _again(rita)
    _approve(stack, ada, rita.locator(".match b").inner_text())
    _third_click(rita)


def _nobody_waits(stack: Stack) -> None:
    """What other tests of the same house left unanswered would be counted on the tab."""
    for who in ("rita", "rob", "nora"):
        for row in stack.call(who, "GET", "requests?state=pending").body["items"]:
            if row["requester"] == who:
                stack.call(who, "POST", f"requests/{row['id']}/withdraw")


def _wants_to_be_told(ada: Page) -> None:
    """Asked for by a click, never by itself."""
    ada.add_init_script(TOLD)
    ada.goto("/inbox/")
    ada.get_by_role("button", name="Tell me in this browser").click()
    expect(ada.get_by_text("This browser tells you of new requests")).to_be_visible()
    expect(ada.get_by_role("button", name="Tell me in this browser")).to_be_hidden()
    ada.goto("/playbooks/")
    expect(ada).to_have_title("Playbooks · Breakglass")


def _by_keyboard(rita: Page) -> None:
    """No mouse: typed, chosen with the arrows, sent with Enter on the button."""
    field = rita.get_by_role("combobox", name="Which machine is it?")
    field.focus()
    rita.keyboard.type("histor")
    chosen = rita.get_by_role("option", name=re.compile("Historian down"))
    expect(chosen).to_be_visible()
    expect(field).to_have_attribute("aria-expanded", "true")
    for _ in range(rita.get_by_role("option").count()):
        rita.keyboard.press("ArrowDown")
        if chosen.get_attribute("aria-selected") == "true":
            break
    expect(field).to_have_attribute("aria-activedescendant", str(chosen.get_attribute("id")))
    expect(field).to_be_focused()
    picture(rita, "a machine is found by typing")
    rita.keyboard.press("Escape")
    expect(chosen).to_be_hidden()
    rita.keyboard.press("ArrowDown")
    while chosen.get_attribute("aria-selected") != "true":
        rita.keyboard.press("ArrowDown")
    rita.keyboard.press("Enter")
    expect(rita.get_by_role("heading", name="Ask for access: Historian down")).to_be_visible()
    rita.get_by_label("Which incident?").select_option(label="A new incident")
    rita.get_by_label("What happened, in a line").fill("Line 1 stands still")
    rita.get_by_label("What is broken, and what will you do?").fill(REASON)
    rita.get_by_role("button", name="Send the request").press("Enter")
    expect(rita.get_by_role("heading", name="Waiting for an answer")).to_be_visible()


def _waits(rita: Page, ada: Page) -> None:
    """The approver looks at another page: its tab and its menu count."""
    expect(ada).to_have_title("(1) Playbooks · Breakglass")
    expect(
        ada.get_by_role("navigation", name="Everything").get_by_role("link", name="Inbox 1 waiting")
    ).to_be_visible()
    expect(ada.locator("link[rel=icon]")).to_have_attribute("href", re.compile("favicon-waiting"))
    told = "Somebody waits for you: Rita Romero: Historian down"
    expect(ada.locator("html")).to_have_attribute("data-told", told)


def _again(rita: Page) -> None:
    rita.add_init_script(CLICKS)
    rita.set_viewport_size(PHONE)
    rita.goto("/")
    rita.get_by_role("link", name="Ask again: Historian down").click()
    reason = rita.get_by_label("What is broken, and what will you do?")
    expect(reason).to_be_focused()
    expect(reason).to_have_value("")  # remembered is nothing that somebody wrote
    rita.keyboard.type(REASON)
    picture(rita, "asked again, phone")
    rita.get_by_role("button", name="Send the request").click()
    expect(rita.get_by_role("heading", name="Waiting for an answer")).to_be_visible()


def _approve(stack: Stack, ada: Page, number: str) -> None:
    ada.goto("/inbox/")
    ada.get_by_role("link", name="Rita Romero: Historian down").click()
    ada.get_by_role("radio", name=number, exact=True).check()
    ada.get_by_label("Code of your authenticator app").fill(stack.code("ada"))
    ada.get_by_role("button", name="Approve").click()
    expect(ada.get_by_text("Rita Romero was told.")).to_be_visible()
    expect(ada).to_have_title(re.compile(r"^(?!\()"))
    expect(ada.locator("link[rel=icon]")).to_have_attribute("href", re.compile(r"favicon\b(?!-waiting)"))


def _third_click(rita: Page) -> None:
    rita.get_by_role("button", name="Open a terminal here").first.click()
    expect(rita.locator(".xterm").first).to_be_visible()
    assert rita.evaluate("sessionStorage.clicks") == "3"
    rita.go_back()
    rita.get_by_role("button", name="I'm done: release").click()
    expect(rita.get_by_role("heading", name="Released")).to_be_visible()
