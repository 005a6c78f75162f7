"""An emergency from plea to signed review: four roles in real browsers, stock ssh through the real gateway."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pexpect
from playwright.sync_api import Page, expect

from tests.journeys.conftest import DESK, PHONE, Visit
from tests.support.browser import picture
from tests.support.needs import requires
from tests.support.stack import Stack

REASON = "Trends stopped at 02:10. Look at the disk, restart the service once."


@requires("chromium", "ssh")
def test_from_plea_to_review(stack: Stack, visit: Visit, tmp_path: Path) -> None:
    ada = visit("ada", "/inbox/", size=DESK)
    rita = visit("rita", size=PHONE)
    picture(rita, "01 start of a responder, phone")
    _ask(rita)
    picture(rita, "02 waiting, phone")
    _same_page(ada)
    expect(ada.get_by_role("link", name="Rita Romero: Historian down")).to_be_visible()
    picture(ada, "03 inbox")
    _still_the_same_page(ada)
    _same_page(rita)
    _approve(stack, ada, rita.locator(".match b").inner_text())
    expect(rita.get_by_role("heading", name="You are in")).to_be_visible()
    _still_the_same_page(rita)
    picture(rita, "05 the way in, phone")
    _work(stack, rita)
    _release(rita)
    session = _review(stack, visit, tmp_path)
    _audit(visit, session)


def _ask(rita: Page) -> None:
    expect(rita.get_by_role("heading", name="What is broken?")).to_be_visible()
    rita.get_by_role("link", name="Historian down", exact=True).click()
    expect(rita.get_by_role("heading", name="Runbook")).to_be_visible()
    rita.get_by_role("link", name="Ask for access").click()
    rita.get_by_role("button", name="Send the request").click()
    expect(rita.get_by_text("10 characters or more")).to_be_visible()
    expect(rita.get_by_label("What is broken, and what will you do?")).to_be_focused()
    rita.get_by_label("Which incident?").select_option(label="A new incident")
    rita.get_by_label("What happened, in a line").fill("Historian of line 1 answers nobody")
    rita.get_by_label("What is broken, and what will you do?").fill(REASON)
    rita.get_by_role("radio", name="30 min", exact=True).check()
    rita.get_by_role("button", name="Send the request").click()
    expect(rita.get_by_role("heading", name="Waiting for an answer")).to_be_visible()
    expect(rita.get_by_text("Asked: Ada Novak")).to_be_visible()


def _approve(stack: Stack, ada: Page, number: str) -> None:
    ada.get_by_role("link", name="Rita Romero: Historian down").click()
    expect(ada.get_by_text(REASON)).to_be_visible()
    ada.get_by_role("radio", name=number, exact=True).check()
    ada.get_by_label("Comment").fill("Yes. Disk first, please.")
    ada.get_by_label("Code of your authenticator app").fill("000000")
    ada.get_by_role("button", name="Approve").click()
    expect(ada.get_by_text("That code is wrong or too old.")).to_be_visible()
    expect(ada.get_by_label("Comment")).to_have_value("Yes. Disk first, please.")
    picture(ada, "04 decision with a wrong code")
    ada.get_by_label("Code of your authenticator app").fill(stack.code("ada"))
    ada.get_by_role("button", name="Approve").click()
    expect(ada.get_by_text("Rita Romero was told.")).to_be_visible()


def _work(stack: Stack, rita: Page) -> None:
    """The command is taken from the page as it stands there; only where the key lies is added."""
    words = shlex.split(rita.locator("#way-1").inner_text())
    assert words[0] == "ssh"
    known = [
        "-F",
        "none",
        "-i",
        stack.person("rita")["ssh_key"],
        "-o",
        f"UserKnownHostsFile={stack.known_hosts}",
    ]
    shell = pexpect.spawn(
        "ssh", [*known, "-o", "IdentitiesOnly=yes", *words[1:]], timeout=60, encoding="utf-8"
    )
    shell.expect("(?i)code")
    shell.sendline(stack.code("rita"))
    shell.expect(r"\$ ")
    expect(
        rita.get_by_role("listitem").filter(has_text="as operator").get_by_text("live", exact=True)
    ).to_be_visible()
    expect(rita.get_by_text("being recorded")).to_be_visible()
    shell.sendline("echo the disk is $((90 + 9)) % full")
    shell.expect("the disk is 99 % full")
    shell.sendline("exit")
    shell.expect(pexpect.EOF)
    shell.close()
    once = subprocess.run(
        stack.ssh("rita", "hist-01", "echo one command"),
        env=stack.askpass("rita"),
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert once.returncode == 0 and b"one command" in once.stdout, once.stderr
    expect(rita.get_by_text("recorded", exact=True)).to_have_count(2)
    picture(rita, "06 after the work, phone")


def _release(rita: Page) -> None:
    rita.get_by_role("button", name="I'm done: release").click()
    expect(rita.get_by_role("heading", name="Released")).to_be_visible()
    expect(rita.locator("#way-1")).to_have_count(0)
    expect(rita.get_by_role("complementary", name="Your live grants")).to_have_count(0)


def _review(stack: Stack, visit: Visit, tmp_path: Path) -> str:
    vera = visit("vera", "/sessions/?person=rita")
    row = vera.get_by_role("row").filter(has_text="Rita Romero").last
    label = row.get_by_role("link").inner_text()
    row.get_by_role("link").click()
    vera.get_by_role("link", name="Open the replay").click()
    expect(vera.locator("#replay")).to_have_attribute("data-state", "ready")
    vera.get_by_label("Speed").select_option("16")
    vera.get_by_role("button", name="Play", exact=True).click()
    expect(vera.locator("#player")).to_contain_text("the disk is 99 % full")
    picture(vera, "07 replay")
    vera.locator(".trail").get_by_role("link", name=label, exact=True).click()
    with vera.expect_download() as download:
        vera.get_by_role("link", name="Download .cast").click()
    kept = tmp_path / download.value.suggested_filename
    download.value.save_as(kept)
    shown = subprocess.run(
        [sys.executable, "-m", "asciinema", "cat", str(kept)], check=False, capture_output=True, timeout=60
    )
    assert b"the disk is 99 % full" in shown.stdout, shown.stderr
    vera.get_by_role("link", name="Review", exact=True).click()
    vera.get_by_role("radio", name="In order").check()
    vera.get_by_label("Note").fill("The disk was full; one restart, as the runbook says.")
    vera.get_by_label("Code of your authenticator app").fill(stack.code("vera"))
    picture(vera, "08 review")
    vera.get_by_role("button", name="Sign the review").click()
    expect(vera.get_by_text("Signed. Thank you.")).to_be_visible()
    return label


def _audit(visit: Visit, session: str) -> None:
    otto = visit("otto", "/audit/?actor=vera")
    expect(otto.get_by_text(session).locator("visible=true").first).to_be_visible()
    expect(otto.get_by_text("recording viewed").first).to_be_visible()
    expect(otto.get_by_text("review signed").first).to_be_visible()
    otto.get_by_role("button", name="Walk the whole chain").click()
    expect(otto.get_by_text("The chain holds.")).to_be_visible()
    picture(otto, "09 audit trail")


def _same_page(page: Page) -> None:
    page.evaluate("window.neverReloaded = true")


def _still_the_same_page(page: Page) -> None:
    assert page.evaluate("window.neverReloaded === true"), "the page was loaded anew"
