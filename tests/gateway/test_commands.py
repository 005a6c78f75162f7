"""The zero-install command line: a menu, help, JSON, waiting for an answer, more time."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pexpect
import pytest
from django.test import Client

from breakglass import clock, doorbell, later
from breakglass.models import AccessRequest, Approval, Grant
from breakglass.services import approvals, playbooks, tokens
from sessions.gateway.commands import COMMANDS, waiting
from sessions.gateway.commands.talk import Words, Wrong, as_json
from tests.gateway import house as building
from tests.gateway.house import House, Human
from tests.support.valkey import Valkey, running

PATIENCE = 60
ASK = "request hist-test --incident INC-1 --reason 'trends stopped at 02:10'"


@pytest.fixture
def asking(house: House) -> House:
    playbooks.publish([building.spec()], clock.now())
    return house


@pytest.fixture
def redis(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Valkey]:
    """A doorbell that rings."""
    monkeypatch.setattr(later, "ask", lambda *_, **__: None)
    with running() as valkey:
        settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"redis_url": valkey.url})
        doorbell._client.cache_clear()
        yield valkey
        doorbell._client.cache_clear()


def new_code(house: House) -> str:
    """A code of ada's for one more decision in the same half minute: one code decides once, and tests are quick."""
    for earlier in Approval.objects.filter(factor__startswith="totp:"):
        Approval.objects.filter(pk=earlier.pk).update(factor=f"earlier:{earlier.pk}")
    return house.ada.code()


def ada(house: House, words: str) -> subprocess.CompletedProcess[bytes]:
    """Ada runs a command that asks for a one-time code, and types it when she is asked."""
    process = subprocess.Popen(
        house.ssh(words, user="ada", key=house.ada.key), env=house.askpass(house.ada.code()),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None and process.stderr is not None
    shown = b""
    while b"One-time code to" not in shown:
        piece = process.stderr.read1()  # type: ignore[attr-defined]
        assert piece, shown
        shown += piece
    out, rest = process.communicate(f"{new_code(house)}\n".encode(), timeout=PATIENCE)
    return subprocess.CompletedProcess(process.args, process.returncode, out, shown + rest)


def rita(house: House, words: str) -> subprocess.CompletedProcess[bytes]:
    return house.run(words, user="rita")


def answer(done: subprocess.CompletedProcess[bytes], status: int = 0) -> Any:
    """The one JSON document on the standard output."""
    assert done.returncode == status, done
    return json.loads(done.stdout)


def at_terminal(house: House, person: Human, *words: str) -> pexpect.spawn[str]:
    command = house.ssh(*words, user=person.person.username, key=person.key, options=("-tt",))
    child = pexpect.spawn(command[0], command[1:], timeout=PATIENCE, encoding="utf-8")
    child.expect("One-time code: ")
    child.sendline(person.code())
    return child


def left(child: pexpect.spawn[str]) -> int | None:
    child.expect(pexpect.EOF)
    child.close()
    status: int | None = child.exitstatus
    return status


def say_yes(house: House) -> None:
    request = AccessRequest.objects.get(state="pending")
    approvals.approve(request.pk, house.ada.person, new_code(house), "go on", clock.now())


def test_json_and_misspelt_words_command_no_terminal() -> None:
    nasty = "Grüße \x1b[2J\x9b31m\x7f\u202e\u2028😀"
    shown = as_json({"reason": nasty})
    assert shown.isascii() and shown.rstrip("\n").isprintable()
    assert json.loads(shown) == {"reason": nasty}
    with pytest.raises(Wrong) as wrong:
        Words("status", "what you hold").parse_args([nasty])
    assert not {"\x1b", "\x9b", "\x7f", "\u202e"} & set(str(wrong.value))


def test_each_command_says_how_it_is_written(house: House) -> None:
    listed = answer(rita(house, "help --json"))
    assert [row["name"] for row in listed["commands"]] == list(COMMANDS)
    assert {"request", "extend", "approve", "deny", "end", "sessions", "kill", "known-hosts"} <= set(COMMANDS)
    whole = rita(house, "help").stdout.decode()
    for row in listed["commands"]:
        assert row["summary"] in whole and "--json" in row["usage"]
    told = rita(house, "request --help")
    assert told.returncode == 0 and b"--incident" in told.stdout and b"For example" in told.stdout
    assert rita(house, "help request").stdout == told.stdout


def test_json_has_the_keys_and_the_refusals_of_the_api(asking: House) -> None:
    _, token = tokens.issue_known(asking.rita.person, "console", clock.now())
    api = Client(headers={"Authorization": f"Bearer {token}"})
    sent = answer(rita(asking, f"{ASK} --for 20m --json"))
    theirs = api.get("/api/v1/requests/REQ-1").json()
    assert sent == {key: value for key, value in theirs.items() if key != "unusual"}
    status = answer(rita(asking, "status --json"))
    assert (status["person"], status["requests"], status["grants"]) == ("rita", [sent], [])
    decided = answer(ada(asking, "approve REQ-1 --comment ok --json"))
    assert (decided["state"], decided["approvals"][0]["comment"]) == ("approved", "ok")
    status = answer(rita(asking, "status --json"))
    assert status["grants"] == api.get("/api/v1/grants").json()["items"]
    assert answer(rita(asking, "playbooks --json"))["playbooks"][0]["slug"] == "hist-test"
    asking.run("true")
    asking.ended()
    listed = answer(rita(asking, "sessions --json"))["sessions"]
    assert listed == api.get("/api/v1/sessions").json()["items"]
    for words, path, body, status_code in (
        ("withdraw REQ-9 --json", "/requests/REQ-9/withdraw", {}, 1),
        ("request hist-test --incident 9 --reason 'long enough' --json", "/requests",
         {"playbook": "hist-test", "incident": "INC-9", "assets": ["hist-01"], "reason": "long enough"}, 1),
        ("request hist-test --incident 1 --reason no --json", "/requests",
         {"playbook": "hist-test", "incident": "INC-1", "assets": ["hist-01"], "reason": "no"}, 1),
    ):  # fmt: skip
        refused = answer(rita(asking, words), status_code)
        assert refused == api.post(f"/api/v1{path}", body, content_type="application/json").json()
    misspelt = answer(rita(asking, "request --json"), 2)
    assert (misspelt["refusal"], misspelt["needs"]) == ("bad_input", [])
    released = answer(rita(asking, "end REQ-1 --json"))["released"]
    assert [row["state"] for row in released] == ["released"]
    assert answer(rita(asking, "end --json")) == {"released": []}


def test_a_request_that_waits_ends_with_the_answer(asking: House) -> None:
    for say, status in (("approve", 0), ("deny", 1)):
        waits = asking.popen(f"{ASK} --wait", user="rita")
        assert waits.stderr is not None
        while b"lapses in" not in (line := waits.stderr.readline()):
            assert line, "it ended before it waited"
        request = AccessRequest.objects.get(state="pending")
        act = getattr(approvals, say)
        act(request.pk, asking.ada.person, new_code(asking), "as on the phone", clock.now())
        said, _ = waits.communicate(timeout=PATIENCE)
        assert waits.returncode == status
        assert f"{request.label} is {'approved' if not status else 'denied'}: Ada said".encode() in said


def test_a_terminal_shows_a_countdown_and_ctrl_c_leaves_the_request(asking: House) -> None:
    child = at_terminal(asking, asking.rita, "request hist --incident 'new: Trends are gone' --wait")
    child.expect("What is broken")
    child.sendline("restart the collector")
    child.expect("INC-2 is opened: Trends are gone")
    child.expect("\rWaiting: .*, REQ-1 lapses in 29:[0-9]+\x1b\\[K")
    child.send("\x03")
    child.expect("REQ-1 still waits for its answer. To withdraw it: ssh .* withdraw REQ-1")
    assert left(child) == 130
    assert AccessRequest.objects.get().state == "pending"
    assert rita(asking, "withdraw 1").returncode == 0
    assert AccessRequest.objects.get().state == "withdrawn"


def test_the_doorbell_ends_the_waiting_and_without_it_one_looks(
    redis: Valkey, asking: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LOOK_EVERY", 3600.0)  # nothing but the doorbell makes it look
    first = at_terminal(asking, asking.rita, f"{ASK} --wait")
    first.expect("lapses in [0-9:]+.*lapses in ")
    say_yes(asking)
    first.expect("REQ-1 is approved")
    assert left(first) == 0
    monkeypatch.setattr(waiting, "LOOK_EVERY", 1.0)
    second = at_terminal(asking, asking.rita, f"{ASK} --wait")
    second.expect("lapses in ")
    redis.kill()
    say_yes(asking)
    second.expect("REQ-2 is approved")
    assert left(second) == 0


def test_more_time_is_asked_for_approved_and_told_where_the_person_works(asking: House) -> None:
    grant = asking.grant()
    shell = asking.prompt()
    sent = answer(rita(asking, "extend --for 20m --reason 'the index is still rebuilt' --json"))
    assert (sent["extends"], sent["minutes"], sent["grant"]) == (str(grant.pk), 20, None)
    again = answer(rita(asking, "extend --reason 'the index is still rebuilt' --json"), 1)
    assert again["refusal"] == "extension_pending"
    shown = ada(asking, f"approve {sent['label']} --comment ok")
    assert b"More time: Historian test, 20 min more" in shown.stderr
    was, grant = grant.ends_at, Grant.objects.get(pk=grant.pk)
    assert was and grant.ends_at and (grant.ends_at - was).total_seconds() == 20 * 60
    shell.expect(f"20 minutes more: this session ends at {grant.ends_at:%H:%M:%S} UTC now", timeout=PATIENCE)
    assert (
        answer(rita(asking, "extend --reason 'and even more of it' --json"), 1)["refusal"] == "no_more_time"
    )
    shell.sendline("echo still-$((40+2))")
    shell.expect("still-42")
    live = list(asking.gateway._sessions.values())  # type: ignore[union-attr]
    assert [session.authorization.ends_at for session in live] == [grant.ends_at]


def test_one_of_several_grants_is_ended_or_made_longer_by_its_name(asking: House) -> None:
    first = asking.grant()
    new_code(asking)
    second = asking.grant()
    several = rita(asking, "extend --reason 'the index is still rebuilt'")
    assert several.returncode == 2 and b"REQ-1" in several.stderr and b"REQ-2" in several.stderr
    assert b"1 released" in rita(asking, "end REQ-2").stdout
    states = [Grant.objects.get(pk=grant.pk).state for grant in (first, second)]
    assert states == ["active", "released"]
    assert rita(asking, "end REQ-2").returncode == 1
    assert b"is sent" in rita(asking, "extend REQ-1 --for 5m --reason 'the index is still rebuilt'").stdout


def test_the_menu_leads_from_a_number_to_the_way_in(asking: House) -> None:
    menu = at_terminal(asking, asking.rita)
    menu.expect("Ask for access")
    menu.expect("1  Historian test: hist-01")
    menu.expect("breakglass> ")
    menu.sendline("1")
    menu.expect("How many minutes, up to 60 .30.: ")
    menu.sendline("")
    menu.expect("What is broken")
    menu.sendline("trends stopped at 02:10")
    menu.expect("For INC-1")
    menu.expect("lapses in ")
    theirs = at_terminal(asking, asking.ada)
    theirs.expect("Waits for your approval")
    theirs.expect("1  REQ-1 Rita, Historian test, 30 min, INC-1: trends stopped at 02:10")
    theirs.expect("breakglass> ")
    theirs.sendline("1")
    theirs.expect("unusual: First use of this playbook")
    theirs.expect("a approve, d deny; Enter goes back: ")
    theirs.sendline("a")
    theirs.expect("Comment: ")
    theirs.sendline("go on")
    theirs.expect("One-time code to approve REQ-1: ")
    theirs.sendline(asking.ada.code())
    theirs.expect("REQ-1 is approved")
    menu.expect("REQ-1 is approved: Ada said yes: go on")
    menu.expect("You are in")
    menu.expect("1  Historian test: hist-01, INC-1, .* left")
    menu.expect("breakglass> ")
    menu.sendline("1")
    menu.expect("ssh -p [0-9]+ rita.root@hist-01@")
    menu.expect("m ask for more time, d I'm done: release it; Enter goes back: ")
    menu.sendline("d")
    menu.expect("1 released")
    menu.expect("breakglass> ")
    menu.sendline("\x1b[Asta\x7fatus\x1b[D")  # arrows mean nothing, erasing does
    menu.expect("You hold no live grant")
    menu.sendline("q")
    assert left(menu) == 0
    theirs.sendline("\x04")
    assert left(theirs) == 0
