"""The terminal in a real browser: from a grant's page to a shell that answers, files both ways, and its ends."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from breakglass.demo.place import ROOT
from tests.journeys.conftest import DESK, PHONE, Visit
from tests.support.browser import picture
from tests.support.needs import requires
from tests.support.stack import Stack

pytestmark = requires("chromium")
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
SEVERE = """async () => (await axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}))
    .violations.map(found => found.id + ": " + found.nodes.map(node => node.target).join(" "))"""


@pytest.fixture(scope="module")
def grant(stack: Stack) -> Iterator[Any]:
    """Rita's, for hist-01."""
    incident = stack.call("rita", "POST", "incidents", {"title": "Terminals are tried"}).body
    form = {"playbook": "historian-down", "incident": incident["label"], "assets": ["hist-01"],
            "reason": "Trends stopped; look at the disk and restart the service"}  # fmt: skip
    asked = stack.call("rita", "POST", "requests", form).body
    yes = stack.call("ada", "POST", f"requests/{asked['id']}/approve", {"otp": stack.code("ada")})
    assert yes.status == 200, yes.body
    grant = stack.call("rita", "GET", f"grants/{yes.body['grant']}").body
    yield grant
    stack.call("rita", "POST", f"grants/{grant['id']}/release")


def opened(page: Page, stack: Stack) -> str:
    """From the grant's page into the terminal; where the login's factor is too old, with a code. The session's id."""
    page.get_by_role("button", name="Open a terminal here").first.click()
    asked = page.get_by_role("button", name="Open the terminal")
    state = page.locator("#state-word")
    expect(asked.or_(state)).to_be_visible()
    if asked.is_visible():
        page.get_by_label("Code of your authenticator app").fill(stack.code("rita"))
        page.keyboard.press("Enter")
    expect(state).to_have_text("recorded")
    expect(screen(page)).to_contain_text("$")
    return str(page.locator("#terminal").get_attribute("data-session"))


def screen(page: Page) -> Any:
    return page.locator(".xterm-rows")


def type_in(page: Page, text: str) -> None:
    page.locator(".xterm-helper-textarea").focus()
    page.keyboard.type(text + "\n")


def violations(page: Page) -> list[str]:
    """What axe has against the page. The terminal's own rows are drawn by xterm from what an asset says."""
    page.evaluate(AXE.read_text())
    return [found for found in page.evaluate(SEVERE) if ".xterm" not in found]


def test_a_shell_in_the_browser(stack: Stack, visit: Visit, grant: Any) -> None:
    page = visit("rita", f"/requests/{grant['request_id']}/")
    picture(page, "terminal way in desk", whole=False)
    session = opened(page, stack)
    type_in(
        page,
        "echo up-$((40+2)); printf 'h\\303\\251 \\360\\237\\224\\245 \\033[38;2;255;100;0mtrue\\033[0m\\n'",
    )
    expect(screen(page)).to_contain_text("up-42")
    expect(screen(page)).to_contain_text("hé 🔥")
    coloured = page.locator(".xterm-rows span", has_text=re.compile("^true"))
    expect(coloured.first).to_have_css("color", "rgb(255, 100, 0)")  # under our content security policy
    hostile = "\\033]52;c;ZXZpbA==\\007\\033]0;evil\\007\\033]8;;https://evil.example\\007link\\033]8;;\\007"
    type_in(page, f"printf '{hostile}\\n'; echo still-$((1+1))")
    expect(screen(page)).to_contain_text("still-2")
    assert "evil" not in page.title()
    place = page.locator(".xterm-rows span", has_text=re.compile("^link$")).last.bounding_box()
    assert place is not None
    page.mouse.click(place["x"] + 5, place["y"] + 5)
    assert len(page.context.pages) == 1
    type_in(page, "stty size")
    expect(screen(page)).to_contain_text(re.compile(r"\d+ 1\d\d"))
    picture(page, "terminal desk", whole=False)
    page.set_viewport_size({"width": 900, "height": 600})
    # The new size has a way to go: through the page, the gateway and the asset's own terminal.
    type_in(page, "clear; until stty size | grep -E ' [6-9][0-9]$'; do sleep 0.1; done")
    expect(screen(page)).to_contain_text(re.compile(r"\b\d\d [6-9]\d(?!\d)"))
    facts = stack.call("rita", "GET", f"sessions/{session}").body
    assert facts["state"] == "live" and facts["factor"].startswith("browser, totp")
    type_in(page, "exit")
    expect(page.get_by_role("heading", name="The shell is over")).to_be_visible()
    picture(page, "terminal over desk", whole=False)
    page.get_by_role("button", name="Open another").click()
    expect(page.locator("#state-word")).to_have_text("recorded")
    page.get_by_role("button", name="End", exact=True).first.click()
    expect(page.get_by_role("heading", name="You ended the session")).to_be_visible()


def test_on_a_phone_with_its_key_bar_in_the_dark(stack: Stack, visit: Visit, grant: Any) -> None:
    page = visit("rita", f"/requests/{grant['request_id']}/", size=PHONE, dark=True)
    opened(page, stack)
    type_in(page, "cat")
    keys = page.get_by_role("toolbar", name="Keys")
    expect(keys).to_be_visible()
    page.keyboard.type("held-")
    keys.get_by_role("button", name="Bar").click()
    keys.get_by_role("button", name="Tilde").click()
    expect(screen(page)).to_contain_text("held-|~")
    keys.get_by_role("button", name="Ctrl").click()
    expect(keys.get_by_role("button", name="Ctrl")).to_have_attribute("aria-pressed", "true")
    page.keyboard.type("c")  # with Ctrl held: cat is over
    expect(screen(page)).to_contain_text("^C")
    type_in(page, "echo after-$((40+3))")
    expect(screen(page)).to_contain_text("after-43")
    keys.get_by_role("button", name="Up", exact=True).click()
    page.keyboard.press("Enter")
    expect(screen(page)).to_contain_text(re.compile("after-43.*after-43", re.DOTALL))
    over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert over <= 0, f"scrolls sideways by {over}"
    picture(page, "terminal phone dark", whole=False)
    page.get_by_role("button", name="Files", exact=True).click()
    expect(page.get_by_role("button", name="Download README")).to_be_visible()
    picture(page, "terminal phone files dark", whole=False)
    page.get_by_role("button", name="End", exact=True).first.click()
    expect(page.get_by_role("heading", name="You ended the session")).to_be_visible()
    picture(page, "terminal phone over dark", whole=False)


def test_files_go_up_and_come_down(stack: Stack, visit: Visit, grant: Any, tmp_path: Path) -> None:
    page = visit("rita", f"/requests/{grant['request_id']}/")
    opened(page, stack)
    page.get_by_role("button", name="Files", exact=True).click()
    expect(page.get_by_role("button", name="Download README")).to_be_visible()
    sent = tmp_path / f"pätch-{secrets.token_hex(3)}.bin"
    sent.write_bytes(bytes(range(256)) * 4000)
    page.locator("#files-pick").set_input_files(sent)
    expect(page.get_by_text("Uploaded, 1.0 MB.", exact=True)).to_be_visible()
    page.locator("#files-pick").set_input_files(sent)
    expect(page.locator(".moves .said-so", has_text="There is a file of that name.")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Download {sent.name}").click()
    kept = tmp_path / "kept"
    download.value.save_as(kept)
    assert kept.read_bytes() == sent.read_bytes()
    page.get_by_label("Folder", exact=True).fill("/no/such/folder")
    page.keyboard.press("Enter")
    expect(page.locator("#files-no")).to_be_visible()
    picture(page, "terminal files desk", whole=False)
    assert violations(page) == []
    page.get_by_role("button", name="End", exact=True).first.click()
    expect(page.get_by_role("heading", name="You ended the session")).to_be_visible()


def test_a_kill_elsewhere_says_so_here(stack: Stack, visit: Visit, grant: Any) -> None:
    page = visit("rita", f"/requests/{grant['request_id']}/")
    session = opened(page, stack)
    killed = stack.call("ada", "POST", f"sessions/{session}/kill", {"reason": "wrong machine", "otp": ""})
    assert killed.status == 200, killed.body
    expect(page.get_by_role("heading", name="The session was ended")).to_be_visible()
    expect(page.locator("#parting-says")).to_contain_text("[session_ended]")
    assert violations(page) == []
    picture(page, "terminal killed desk", whole=False)


def test_a_lost_line_says_what_happened_and_joins_nothing(stack: Stack, visit: Visit, grant: Any) -> None:
    page = visit("rita", f"/requests/{grant['request_id']}/", size=DESK)
    session = opened(page, stack)
    stack.kill("web")
    expect(page.get_by_role("heading", name="The line was lost")).to_be_visible()
    expect(page.locator("#parting-next")).to_contain_text("The session is over")
    stack.await_health()
    expect(page.get_by_role("heading", name="The line was lost")).to_be_visible()
    assert stack.call("rita", "GET", f"sessions/{session}").body["state"] in ("ending", "ended")
