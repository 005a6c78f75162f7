"""From the page of a grant into the machine: by connect code without any key, and by certificate without a question."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import DESK, Visit
from tests.journeys.test_comfort import CONTRAST, NAMELESS, SMALL, TINY
from tests.support.browser import picture
from tests.support.needs import requires
from tests.support.stack import Stack

pytestmark = requires("chromium", "ssh")


@pytest.fixture(scope="module")
def grant(stack: Stack) -> Iterator[Any]:
    """Rita's, for hist-01."""
    incident = stack.call("rita", "POST", "incidents", {"title": "Ways in are tried"}).body
    form = {"playbook": "historian-down", "incident": incident["label"], "assets": ["hist-01"],
            "reason": "Trends stopped; look at the disk and restart the service"}  # fmt: skip
    asked = stack.call("rita", "POST", "requests", form).body
    yes = stack.call("ada", "POST", f"requests/{asked['id']}/approve", {"otp": stack.code("ada")})
    assert yes.status == 200, yes.body
    grant = stack.call("rita", "GET", f"grants/{yes.body['grant']}").body
    yield grant
    stack.call("rita", "POST", f"grants/{grant['id']}/release")


def readable(page: Page, name: str) -> None:
    """At a desk and on a phone: nothing pale, small, nameless or wider than the screen."""
    page.set_viewport_size(DESK)
    picture(page, f"{name} desk")
    page.set_viewport_size(SMALL)
    picture(page, f"{name} phone")
    over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert over <= 0, f"scrolls sideways by {over}"
    for script in (CONTRAST, TINY, NAMELESS):
        assert page.evaluate(script) == []


def run(command: str, ssh: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    """The page's own words in a shell, but for what is this machine's: `ssh` is written in place of its name."""
    return subprocess.run(
        ["sh", "-c", command.replace("ssh -p", f"{ssh} -p") + " echo in"],
        env=env, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_connect_code_is_enough_without_any_key(
    stack: Stack, visit: Visit, grant: Any, tmp_path: Path
) -> None:
    page = visit("rita", f"/requests/{grant['request_id']}/")
    readable(page, "ways in")
    page.get_by_role("link", name="Connect code").click()
    readable(page, "connect code asked")
    page.get_by_label("Code of your authenticator app").fill(stack.code("rita"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Your connect code")).to_be_visible()
    code = page.locator("#connect-code").inner_text()
    askpass = tmp_path / "askpass"
    askpass.write_text(f"#!/bin/sh\necho '{code}'\n")
    askpass.chmod(0o700)
    env = os.environ | {"SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    keyless = f"ssh -F none -o UserKnownHostsFile={stack.known_hosts} -o PubkeyAuthentication=no"
    done = run(page.locator("#way-1").inner_text(), keyless, env)
    assert done.stdout == b"in\n", done.stderr
    readable(page, "connect code shown")


def test_a_certificate_needs_no_answer(stack: Stack, visit: Visit, grant: Any, tmp_path: Path) -> None:
    page = visit("rita", f"/grants/{grant['id']}/certificate/")
    readable(page, "certificate asked")
    page.get_by_label("Code of your authenticator app").fill(stack.code("rita"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Your certificate")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    kept = tmp_path / download.value.suggested_filename
    download.value.save_as(kept)
    one_shot = page.locator("#one-shot").text_content() or ""
    assert kept.read_text().strip() in one_shot and kept.name in one_shot
    kept.unlink()
    mine = f"ssh -F none -i {stack.person('rita')['ssh_key']} -o IdentitiesOnly=yes -o BatchMode=yes"
    mine += f" -o UserKnownHostsFile={stack.known_hosts}"
    command = one_shot.replace("~/.ssh", str(tmp_path))
    done = run(command, mine)
    assert done.stdout == b"in\n", done.stderr
    readable(page, "certificate made")
    page.get_by_role("button", name="Revoke").first.click()
    expect(page.get_by_text("it opens nothing any more")).to_be_visible()
    done = run(command, mine)
    assert done.returncode == 255 and b"it was revoked" in done.stderr


def test_the_profile_knows_security_keys(visit: Visit) -> None:
    page = visit("rita", "/profile/")
    page.get_by_text("Add a key", exact=True).click()
    expect(page.get_by_label("A security key that asks for its PIN")).to_be_visible()
    readable(page, "profile with a security key")
