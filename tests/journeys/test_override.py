"""Nobody answers: Sam decides alone from his phone, the house is alarmed at once, two reviewers judge it, and while their
judgement is overdue there is no second one. The whole product, stock ssh, real browsers."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
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
REASON = "None of the leads answers the phone; line 2 is blind."
# Time that passed, for what the clock decides: nobody waits eleven minutes for a test, or a day.
UNANSWERED = """
from datetime import timedelta
from breakglass.models import AccessRequest
ask = AccessRequest.objects.get(pk="{pk}")
eleven = timedelta(minutes=11)
AccessRequest.objects.filter(pk=ask.pk).update(
    submitted_at=ask.submitted_at - eleven, escalates_at=ask.escalates_at - eleven, lapses_at=ask.lapses_at - eleven)
"""
A_DAY_LATER = """
from datetime import timedelta
from breakglass.models import Grant
from sessions.models import Review
review = Review.objects.get(grant__request="{pk}")
day = timedelta(hours=25)
Review.objects.filter(pk=review.pk).update(due_at=review.due_at - day)
Grant.objects.filter(pk=review.grant_id).update(ended_at=review.grant.ended_at - day)
"""
GROUPS = """
from breakglass import clock
from breakglass.models import Person
from breakglass.services import people
for name, groups in {groups}.items():
    people.set_groups(Person.objects.get(username=name), groups, by=None, now=clock.now())
"""


def behind(stack: Stack, words: str) -> None:
    """Done in the house's own database, as nobody can from a page."""
    subprocess.run(
        [sys.executable, "manage.py", "shell", "-v0", "-c", words],
        cwd=ROOT,
        env=place_of(stack).environment(),
        check=True,
        capture_output=True,
    )


@pytest.fixture
def second_reviewer(stack: Stack) -> Iterator[str]:
    """Nora reviews as well; and Sam, who approves for the site otherwise, is a supervisor alone."""
    behind(stack, GROUPS.format(groups={"nora": ["responders", "reviewers"], "sam": ["supervisors"]}))
    yield "nora"
    behind(stack, GROUPS.format(groups={"nora": ["responders"], "sam": ["supervisors", "site-managers"]}))


@requires("chromium", "ssh")
def test_from_silence_to_two_judgements(stack: Stack, visit: Visit, second_reviewer: str) -> None:
    otto = visit("otto", "/playbooks/", size=DESK)
    expect(otto.locator("#alarms a")).to_have_count(0)
    ask = asked(stack)
    sam = visit("sam", "/", size=PHONE)
    decides_alone(stack, sam, ask)
    # The alarm: on a page that was open all the while, and in the mail.
    row = otto.locator("#alarms a")
    expect(row).to_contain_text("Sam Whitfield decided alone")
    expect(row).to_contain_text("not logged in")
    arrives(otto, "Override: Sam Whitfield decided alone on " + ask["label"])
    with inside(stack):
        otto.goto("/playbooks/")
        expect(row).to_contain_text("logged in now")
        expect(row.locator("[data-until]")).to_be_visible()
        sound(otto, "override alarm desk")
        arrives(otto, "Override in use: Rita Romero is on hmi-02")
    stack.call("rita", "POST", f"grants/{grant_of(stack, ask)}/release")
    otto.goto("/playbooks/")
    expect(row).to_have_count(0)
    review = first_judgement(stack, visit, ask)
    behind(stack, A_DAY_LATER.format(pk=ask["id"]))
    again = blocked(stack, sam, ask)
    code = {"verdict": "in_order", "otp": stack.code(second_reviewer)}
    assert stack.call(second_reviewer, "POST", f"reviews/{review}/sign", code).body["state"] == "signed"
    sam.reload()
    expect(sam.get_by_role("button", name="Decide alone: give access")).to_be_visible()
    stack.call("rita", "POST", f"requests/{again['id']}/withdraw")


def asked(stack: Stack) -> dict[str, Any]:
    """Rita's request, which nobody has answered for eleven minutes."""
    incident = stack.call("rita", "POST", "incidents", {"title": "Line 2 shows nothing"}).body["label"]
    plea = {
        "playbook": "hmi-failover",
        "incident": incident,
        "assets": ["hmi-02"],
        "reason": "Screens froze; move operators to the standby server.",
    }
    made = stack.call("rita", "POST", "requests", plea)
    assert made.status == 201, made.body
    behind(stack, UNANSWERED.format(pk=made.body["id"]))
    return dict(made.body)


def decides_alone(stack: Stack, sam: Page, ask: dict[str, Any]) -> None:
    """From the start page on, with a thumb: two taps to the page, the reason, the code."""
    sam.reload()
    sam.get_by_role("link", name=re.compile("waits? for your decision|wait for your decision")).click()
    expect(sam.get_by_role("heading", name="Nobody has answered: you may decide alone")).to_be_visible()
    sam.get_by_role("link", name=f"Override… {ask['label']}").click()
    expect(sam.get_by_text("You decide alone. This is loud:")).to_be_visible()
    expect(sam.locator("main .clock [data-until]")).to_be_visible()
    sound(sam, "override phone")
    sam.set_viewport_size(DESK)  # type: ignore[arg-type]
    sam.emulate_media(color_scheme="dark", reduced_motion="reduce")
    sound(sam, "override desk dark")
    sam.set_viewport_size(PHONE)  # type: ignore[arg-type]
    sam.emulate_media(color_scheme="light")
    # They talk: Rita says the number that her page shows.
    number = str(stack.call("rita", "GET", f"requests/{ask['id']}").body["match_number"])
    sam.get_by_role("radio", name=number, exact=True).check()
    sam.get_by_label("Why do you decide alone?").fill(REASON)
    sam.get_by_label("Code of your authenticator app").fill("000000")
    sam.get_by_role("button", name="Decide alone: give access").click()
    expect(sam.get_by_text("That code is wrong or too old.")).to_be_visible()
    expect(sam.get_by_label("Why do you decide alone?")).to_have_value(REASON)
    sam.get_by_label("Code of your authenticator app").fill(stack.code("sam"))
    sam.get_by_role("button", name="Decide alone: give access").click()
    expect(sam.get_by_text("is approved by your override")).to_be_visible()


def arrives(page: Page, subject: str) -> None:
    """In the demo's outbox, which is where its mails go."""

    def there() -> bool:
        page.goto("/mail/")
        return subject in page.locator("main").inner_text()

    for _ in range(60):
        if there():
            return
        page.wait_for_timeout(500)
    raise AssertionError(f"no mail says: {subject}\n{page.locator('main').inner_text()[:2000]}")


class inside:
    """Rita's shell on the machine, while the block lasts."""

    def __init__(self, stack: Stack) -> None:
        words = stack.ssh("rita", "hmi-02")
        self._shell = pexpect.spawn(words[0], words[1:], timeout=60, encoding="utf-8")
        self._shell.expect("(?i)code")
        self._shell.sendline(stack.code("rita"))
        self._shell.expect(r"\$ ")

    def __enter__(self) -> None:
        self._shell.sendline("echo the standby $((1 + 1)) takes over")
        self._shell.expect("the standby 2 takes over")

    def __exit__(self, *_: object) -> None:
        self._shell.sendline("exit")
        self._shell.expect(pexpect.EOF)
        self._shell.close()


def grant_of(stack: Stack, ask: dict[str, Any]) -> str:
    return str(stack.call("rita", "GET", f"requests/{ask['id']}").body["grant"])


def first_judgement(stack: Stack, visit: Visit, ask: dict[str, Any]) -> int:
    """Vera claims it, and signs as the first of two. The number of the review."""
    vera = visit("vera", "/reviews/", size=PHONE)
    row = vera.get_by_role("listitem").filter(has_text=ask["label"])
    for _ in range(60):  # it is opened by Celery, soon
        if row.count():
            break
        vera.wait_for_timeout(500)
        vera.reload()
    expect(row.get_by_text("override, two sign")).to_be_visible()
    # The badge where her thumb is says that an override is among them.
    expect(vera.locator(".thumbs .count.alarm")).to_contain_text("of an override")
    row.get_by_role("link").first.click()
    vera.get_by_role("button", name="Claim it").click()
    expect(vera.get_by_text("You have it")).to_be_visible()
    sound(vera, "review of an override phone")
    review = int(re.search(r"/reviews/(\d+)/", vera.url)[1])  # type: ignore[index]
    other = stack.call("nora", "POST", f"reviews/{review}/sign", {"verdict": "in_order", "otp": "000000"})
    assert (other.status, other.body["refusal"]) == (409, "review_claimed")
    vera.goto("/reviews/")
    expect(row.get_by_text(re.compile("You have it, .* left"))).to_be_visible()
    row.get_by_role("link").first.click()
    vera.get_by_role("radio", name="In order").check()
    vera.get_by_label("Code of your authenticator app").fill(stack.code("vera"))
    vera.get_by_role("button", name="Sign the review").click()
    expect(vera.get_by_text("It waits for a second reviewer, who was told.")).to_be_visible()
    return review


def blocked(stack: Stack, sam: Page, before: dict[str, Any]) -> dict[str, Any]:
    """While the review of her last override is overdue, nobody decides alone on her next request."""
    again = asked(stack)
    sam.goto(f"/requests/{again['id']}/override/")
    expect(sam.get_by_text("No override for this person")).to_be_visible()
    expect(sam.get_by_text(f"the review of {before['label']} was due")).to_be_visible()
    expect(sam.get_by_role("button", name="Decide alone: give access")).to_have_count(0)
    sound(sam, "override blocked phone")
    return again


def sound(page: Page, name: str) -> None:
    """axe has nothing against it, nothing scrolls sideways; and a picture to look at."""
    page.emulate_media(reduced_motion="reduce")  # no colour is on its way to another
    picture(page, name)
    page.evaluate(AXE.read_text())
    found = page.evaluate(
        "async () => (await axe.run(document)).violations.map((v) => v.id + ': ' + v.nodes[0].html)"
    )
    assert found == [], name
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, name
