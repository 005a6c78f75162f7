"""Nora works under an escort: nothing goes before Ada watches; Ada freezes her, lets her go on, writes to her, and ends it, a key
each; Vera watches with them on her phone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest
from playwright.sync_api import Page, expect

from breakglass.demo.place import ROOT
from tests.journeys.conftest import DESK, PHONE, Visit
from tests.support.browser import picture
from tests.support.needs import requires
from tests.support.stack import Stack, place_of

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
PLAYBOOK = """
schema_version: 1
slug: historian-escorted
title: Historian, escorted
purpose: Work on the historian while plant staff watch
owner: OT data services
asset_class: historian
risk: medium
assets: [hist-01]
logins: [operator]
channels: [shell, exec]
duration: {default_minutes: 30, max_minutes: 60}
clock: {starts: approval}
approvers: {groups: [ot-leads], count: 1}
escort: [it-leads]
kill_needs_factor: true
runbook: |
  Look first. Then act.
"""


def granted(stack: Stack, folder: Path) -> None:
    """Nora's grant under that playbook: asked for and approved through the REST face."""
    (folder / "historian-escorted.yaml").write_text(PLAYBOOK)
    command = [sys.executable, "manage.py", "load_playbooks", str(folder)]
    subprocess.run(command, cwd=ROOT, env=place_of(stack).environment(), check=True, capture_output=True)
    incident = stack.call("nora", "POST", "incidents", {"title": "Line 1 reports nothing"}).body["label"]
    ask = {
        "playbook": "historian-escorted",
        "incident": incident,
        "assets": ["hist-01"],
        "minutes": 30,
        "reason": "Restart the collector.",
    }
    request = stack.call("nora", "POST", "requests", ask).body
    number = stack.call("nora", "GET", f"requests/{request['id']}").body.get("match_number")
    consent: dict[str, Any] = {"otp": stack.code("ada"), "comment": "Go ahead; I watch."}
    if number is not None:
        consent["number"] = number
    answer = stack.call("ada", "POST", f"requests/{request['id']}/approve", consent)
    assert answer.status == 200, answer.body


@pytest.fixture
def shell(stack: Stack, tmp_path: Path) -> Any:
    granted(stack, tmp_path)
    words = stack.ssh("nora", "hist-01")
    child = pexpect.spawn(words[0], words[1:], timeout=60, encoding="utf-8", dimensions=(24, 80))
    for _ in range(3):  # the demo's own rehearsal may have used up a code of hers
        child.expect("(?i)code: ")
        child.sendline(stack.code("nora"))
        if child.expect(["waiting for your escort", "second_factor_used"]) == 0:
            break
    yield child
    child.close()


def screen(page: Page) -> Any:
    return page.locator(".watch-terminal:not([hidden]) .xterm-rows")


def faultless(page: Page) -> None:
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})")
    told = [(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in found["violations"]]
    assert not told, json.dumps(told, indent=1)


@requires("chromium", "ssh")
def test_under_an_escort(stack: Stack, visit: Visit, shell: Any, tmp_path: Path) -> None:
    ada = visit("ada", "/sessions/", size=DESK)
    expect(ada.get_by_role("heading", name="Waiting for an escort")).to_be_visible()
    picture(ada, "watch 01 waiting for an escort")
    ada.get_by_role("link", name="Watch as the escort").click()
    expect(ada.get_by_text("You are the escort.")).to_be_visible()
    shell.expect("your escort Ada Novak watches")
    shell.expect(r"\$ ")
    shell.sendline("echo seen-$((40+2))")
    expect(screen(ada)).to_contain_text("seen-42")
    vera = visit("vera", ada.url.removeprefix(stack.web), size=PHONE, dark=True)
    expect(screen(vera)).to_contain_text("seen-42")
    expect(vera.get_by_text("Ada Novak escort")).to_be_visible()
    shell.expect("Vera Moreau watches this session")
    _holds(shell, ada, vera)
    _talks(shell, ada, vera)
    for page, name in ((ada, "desk"), (vera, "phone dark")):
        picture(page, f"watch 02 {name}", whole=name != "desk")
        faultless(page)
    ada.set_viewport_size(PHONE)  # type: ignore[arg-type]
    picture(ada, "watch 02 phone of an approver", whole=False)
    ada.set_viewport_size(DESK)  # type: ignore[arg-type]
    _loses_the_line(shell, ada, tmp_path / "go")
    _ends(stack, shell, ada, vera)


def _holds(shell: Any, ada: Page, vera: Page) -> None:
    ada.keyboard.press("f")
    expect(ada.locator("#watch-live").get_by_text("Frozen by Ada Novak")).to_be_visible()
    expect(vera.locator("#watch-live").get_by_text("Frozen by Ada Novak")).to_be_visible()
    shell.expect("this session is frozen by Ada Novak")
    shell.sendline("echo held-$((40+2))")
    picture(ada, "watch 03 frozen", whole=False)
    ada.keyboard.press("u")
    shell.expect("this session goes on")
    shell.expect("held-42")
    expect(screen(vera)).to_contain_text("held-42")
    expect(ada.locator("#watch-live").get_by_text("Frozen by Ada Novak")).to_have_count(0)


def _talks(shell: Any, ada: Page, vera: Page) -> None:
    ada.keyboard.press("c")
    expect(ada.get_by_role("textbox", name="Message")).to_be_focused()
    ada.keyboard.type("Freeze? No: leave the <b>disk</b> alone.")
    ada.keyboard.press("Enter")
    expect(vera.locator("#chat").get_by_text("leave the <b>disk</b> alone")).to_be_visible()
    expect(ada.get_by_role("textbox", name="Message")).to_have_value("")
    expect(ada.locator("#watch-live").get_by_text("Frozen by")).to_have_count(0)
    shell.expect("Ada Novak writes: Freeze")


def _loses_the_line(shell: Any, ada: Page, go: Path) -> None:
    """Without an escort nothing passes; what was shown meanwhile is there when the line is."""
    shell.sendline(f"(while [ ! -e '{go}' ]; do sleep .2; done; echo late-$((40+2))) &")
    shell.expect(r"\$ ")
    ada.context.set_offline(True)
    shell.expect("frozen because no escort watches it")
    go.touch()
    shell.expect("late-42")
    ada.context.set_offline(False)
    shell.expect("this session goes on")
    expect(screen(ada)).to_contain_text("late-42")
    expect(ada.locator("#watch-word")).to_have_text("as it happens")


def _ends(stack: Stack, shell: Any, ada: Page, vera: Page) -> None:
    ada.locator("h1").click()
    ada.keyboard.press("k")
    dialog = ada.get_by_role("dialog")
    expect(dialog.get_by_label("Why?")).to_be_focused()
    dialog.get_by_label("Why?").fill("Enough for tonight.")
    dialog.get_by_label("Code").fill("000000")
    picture(ada, "watch 04 end", whole=False)
    dialog.get_by_role("button", name="End it now").click()
    expect(ada.get_by_text("That code is wrong or too old.")).to_be_visible()
    expect(ada.get_by_label("Why?")).to_have_value("Enough for tonight.")
    ada.get_by_label("Code").fill(stack.code("ada"))
    ada.get_by_role("button", name="End it now").click()
    expect(ada.get_by_text("is being ended")).to_be_visible()
    shell.expect("your access was withdrawn")
    shell.expect(pexpect.EOF)
    expect(vera.get_by_text("The session is over.")).to_be_visible()
    expect(vera.locator("#watch-word")).to_have_text("the session is over")
    expect(ada.get_by_text("leave the <b>disk</b> alone").first).to_be_visible()
    picture(ada, "watch 05 after")
