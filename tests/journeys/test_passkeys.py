"""Passkeys in a real browser with a virtual authenticator: enrolled by a code, used to log in and to approve.

One story in order; each test goes on where the one before stopped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect

from breakglass.demo.place import ROOT
from tests.journeys.conftest import DESK, PHONE
from tests.support.browser import picture
from tests.support.stack import Stack, place_of

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
PASSWORD = "a-long-enough-password"


@dataclass
class Ivy:
    """A new approver at her browser, whose passkey lives in a virtual authenticator."""

    page: Page
    cdp: CDPSession
    authenticator: str

    def verified(self, is_so: bool) -> None:
        """Whether the authenticator gets its PIN or finger from now on."""
        self.cdp.send(
            "WebAuthn.setUserVerified",
            {"authenticatorId": self.authenticator, "isUserVerified": is_so},
        )


@pytest.fixture(scope="module")
def added(stack: Stack) -> None:
    """Ivy is one of the approvers."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("BREAKGLASS_")}
    words = ["manage.py", "add_person", "ivy", "--name", "Ivy Ito", "--group", "ot-leads"]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=plain | place_of(stack).settings(),
        input=PASSWORD,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def ivy(stack: Stack, browser: Browser, added: None) -> Iterator[Ivy]:
    context = browser.new_context(viewport=DESK, base_url=stack.web, bypass_csp=False)  # type: ignore[arg-type]
    context.set_default_timeout(60_000)
    page = context.new_page()
    mishaps: list[str] = []
    page.on("pageerror", lambda error: mishaps.append(str(error)))
    page.on("console", lambda said: mishaps.append(said.text) if "Refused to" in said.text else None)
    cdp = context.new_cdp_session(page)
    cdp.send("WebAuthn.enable", {"enableUI": False})
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    made = cdp.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    yield Ivy(page, cdp, made["authenticatorId"])
    context.close()
    assert mishaps == []


def test_a_first_factor_takes_the_administrators_code(stack: Stack, ivy: Ivy, visit: Any) -> None:
    admin = visit("admin", "/people/")
    picture(admin, "passkeys 01 people")
    admin.get_by_role("link", name="Enrolment code for Ivy Ito").click()
    admin.get_by_label("Code of your authenticator app").fill(stack.code("admin"))
    admin.get_by_role("button", name="Show the code").click()
    code = admin.locator("#issued-code").inner_text()
    picture(admin, "passkeys 02 enrolment code")
    page = ivy.page
    page.goto("/login/")
    _password(page)
    page.get_by_label("Enrolment code").fill("00000-00000")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("wrong, used or too old")).to_be_visible()
    page.get_by_label("Enrolment code").fill(code)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name="Set up your second factor")).to_be_visible()
    picture(page, "passkeys 03 set up")
    page.get_by_label("Name of the passkey").fill("Laptop")
    page.get_by_role("button", name="Make a passkey").click()
    expect(page.get_by_role("heading", name="Keep these recovery codes")).to_be_visible()
    page.get_by_role("link", name="I have kept them").click()
    page.goto("/profile/")
    expect(page.locator("#factors b", has_text="Laptop")).to_be_visible()
    picture(page, "passkeys 04 profile")


def test_it_logs_in_after_the_password_and_without_one(ivy: Ivy) -> None:
    page = ivy.page
    _log_out(page)
    _password(page)
    expect(page.get_by_role("heading", name="Your second factor, Ivy Ito")).to_be_visible()
    picture(page, "passkeys 05 second step")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name="Keys and factors")).to_be_visible()
    _log_out(page)
    picture(page, "passkeys 06 login")
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(page.get_by_role("link", name="Keys and factors")).to_be_visible()


def test_it_approves_the_request_and_no_other(stack: Stack, ivy: Ivy, visit: Any) -> None:
    first, second = _asked(stack, visit, "rita"), _asked(stack, visit, "rob")
    page = ivy.page
    page.goto(f"/requests/{first['id']}/decide/")
    number = first["match_number"]
    expect(page.get_by_role("radio")).to_have_count(3)
    picture(page, "passkeys 07 decide")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    picture(page, "passkeys 08 decide on a phone")
    page.set_viewport_size(DESK)  # type: ignore[arg-type]
    # An answer given for the first request, sent with the second one's form.
    given = page.evaluate(ASK, {"action": "approve", "subject": first["id"]})
    page.goto(f"/requests/{second['id']}/decide/")
    page.get_by_role("radio", name=str(second["match_number"]), exact=True).check()
    page.evaluate("given => { document.querySelector('[data-assertion]').value = given; }", given)
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("it was given for something else")).to_be_visible()
    picture(page, "passkeys 09 an answer for another request")
    # A passkey that didn't get its PIN.
    ivy.verified(False)
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("No passkey was given.")).to_be_visible()
    ivy.verified(True)
    page.goto(f"/requests/{first['id']}/decide/")
    wrong = next(one for one in page.get_by_role("radio").all() if one.input_value() != str(number))
    wrong.check()
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("That isn't the number that the requester sees.")).to_be_visible()
    picture(page, "passkeys 10 wrong number")
    page.get_by_label("Type the number").fill(str(number))
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("was told.")).to_be_visible()
    assert stack.call("rita", "GET", f"requests/{first['id']}").body["state"] == "approved"
    assert stack.call("rob", "GET", f"requests/{second['id']}").body["state"] == "pending"


def test_its_pages_are_accessible_in_both_themes(
    ivy: Ivy, browser: Browser, stack: Stack, visit: Any
) -> None:
    state = ivy.page.context.storage_state()
    for dark in (False, True):
        context = browser.new_context(
            viewport=PHONE,  # type: ignore[arg-type]
            base_url=stack.web,
            storage_state=state,
            bypass_csp=True,
            color_scheme="dark" if dark else "light",
        )
        page = context.new_page()
        for path in ("/profile/", f"/requests/{_pending(stack)}/decide/", "/login/"):
            if path == "/login/":
                context.clear_cookies()
            page.goto(path)
            page.add_script_tag(path=str(AXE))
            found = page.evaluate("() => axe.run().then(r => r.violations.map(v => [v.id, v.nodes[0].html]))")
            assert found == [], (path, dark)
            picture(page, f"passkeys 11 {path} {'dark' if dark else 'light'}")
        context.close()


ASK = """async what => {
  const form = document.querySelector("form:has([data-step-up])");
  const part = form.querySelector("[data-step-up]");
  const answer = await fetch(part.dataset.stepUp, {
    method: "POST", body: new URLSearchParams(what),
    headers: {"X-CSRFToken": form.elements.csrfmiddlewaretoken.value}
  });
  const options = PublicKeyCredential.parseRequestOptionsFromJSON(await answer.json());
  return JSON.stringify((await navigator.credentials.get({publicKey: options})).toJSON());
}"""


def _asked(stack: Stack, visit: Any, who: str) -> dict[str, Any]:
    opened = stack.call(who, "POST", "incidents", {"title": f"Trends have stopped, says {who}"})
    assert opened.status == 201, opened
    body = {
        "playbook": "historian-down",
        "incident": opened.body["id"],
        "assets": ["hist-01"],
        "reason": "Trends have stopped; restart the collector once.",
    }
    made = stack.call(who, "POST", "requests", body)
    assert made.status == 201, made
    found: dict[str, Any] = json.loads(json.dumps(made.body))
    return found


def _pending(stack: Stack) -> str:
    rows = stack.call("rob", "GET", "requests?state=pending").body["items"]
    return str(rows[0]["id"])


def _password(page: Page) -> None:
    page.get_by_label("User name").fill("ivy")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()


def _log_out(page: Page) -> None:
    page.get_by_role("button", name="Log out").first.click()
    expect(page.get_by_label("Password")).to_be_visible()
