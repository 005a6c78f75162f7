"""`ssh PERSON+ASSET@GATEWAY` without a grant: one command, one reason, one approver's yes, and one is in."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pexpect
import pytest

from breakglass import clock
from breakglass.models import AccessRequest, Grant, Incident
from breakglass.services import approvals, grants, incidents, people, playbooks
from sessions.gateway.commands import waiting
from sessions.models import SSHSession
from tests.gateway import house as building
from tests.gateway.house import House, eventually

REASON = "trends stopped at 02:10"
ASKED = "What is broken, and what will you do"
PATIENCE = 60
Shell = pexpect.spawn


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no Redis here: who waits looks by themselves, in these tests more often."""
    monkeypatch.setattr(waiting, "TICK", 0.2)
    monkeypatch.setattr(waiting, "LOOK_EVERY", 0.4)


@pytest.fixture
def asking(house: House) -> House:
    """A house whose rita may ask, and holds nothing."""
    playbooks.publish([building.spec()], clock.now())
    return house


def plead(house: House, **options: object) -> Shell[str]:
    """Somebody who has given their reason and waits."""
    child = house.shell(**options)  # type: ignore[arg-type]
    child.timeout = PATIENCE
    child.expect(ASKED)
    child.sendline(REASON)
    child.expect("REQ-[0-9]+ is sent")
    child.expect("Waiting: .*lapses in ")
    return child


def pending() -> AccessRequest:
    return AccessRequest.objects.get(state="pending")


def say_yes(house: House) -> None:
    approvals.approve(pending().pk, house.ada.person, house.ada.code(), "go on", clock.now())


def answers(child: Shell[str]) -> None:
    """It is a shell that does what it is told."""
    child.sendline("PS1='ready> '; echo up-$((40+2))")
    child.expect("up-42")
    child.expect("ready> ")


def left(child: Shell[str]) -> int | None:
    child.expect(pexpect.EOF)
    child.close()
    status: int | None = child.exitstatus
    return status


def test_from_nothing_to_a_shell_in_one_command(asking: House, tmp_path: Path) -> None:
    child = asking.shell()
    child.timeout = PATIENCE
    child.expect(r"\[no_grant\]")
    child.expect(ASKED)
    child.sendline(REASON)
    child.expect("For INC-1, Historian down")
    child.expect("REQ-1 is sent")
    child.expect("Asked: Ada")
    child.expect("Waiting: more people are woken in 4:[0-9]+, REQ-1 lapses in 29:[0-9]+")
    asked = pending()
    assert (asked.reason, asked.incident, [a.name for a in asked.assets.all()]) == (
        REASON, asking.incident, ["hist-01"],
    )  # fmt: skip
    child.sendline(f"touch {tmp_path}/typed-too-early")
    child.setwinsize(41, 123)
    child.expect("REQ-1 lapses in ")  # the countdown goes on
    assert not SSHSession.objects.exists() and not Grant.objects.exists()
    assert asking.gateway is not None
    (visitor,) = asking.gateway.entrance.everybody()
    kept = visitor.deadline - clock.monotonic()  # as long as the request lives, and no longer
    assert 29 * 60 < kept < 32 * 60
    say_yes(asking)
    child.expect("REQ-1 is approved: Ada said yes: go on")
    child.expect("Breakglass session S-1. It is recorded.")
    child.expect("why +INC-1: trends stopped")
    child.expect("was dropped")
    answers(child)
    child.sendline("stty size; tty >/dev/null && echo term-$TERM")
    child.expect("41 123")
    child.expect("term-[a-z]")
    assert not (tmp_path / "typed-too-early").exists()
    child.sendline("exit 7")
    assert left(child) == 7
    session = asking.ended()
    assert (session.end_reason, session.grant.request) == ("client_closed", asked)
    assert "up-42" in asking.recording(session)
    assert [data["refusal"] for data in asking.audited("gateway:access:refused")] == ["no_grant"]


def test_the_channel_that_was_handed_over_carries_much_both_ways(asking: House) -> None:
    child = plead(asking)
    say_yes(asking)
    child.expect("Breakglass session")
    answers(child)
    child.sendline("stty -echo; seq 1 60000 | md5sum; seq 1 60000; echo over-$((1+1))")
    child.expect("60000\r\nover-2", timeout=60)
    child.expect("ready> ")
    child.sendline("wc -l; echo counted-$((1+1))")
    child.delaybeforesend = None
    for _ in range(30):
        child.send(("0123456789" * 9 + "\n") * 100)
    child.send("\x04")
    child.expect("3000\r\n", timeout=60)
    child.expect("counted-2")
    child.sendline("exit")
    assert left(child) == 0


def test_a_no_is_told_with_its_comment_and_opens_nothing(asking: House) -> None:
    child = plead(asking)
    approvals.deny(pending().pk, asking.ada.person, asking.ada.code(), "call me first", clock.now())
    child.expect("REQ-1 is denied: Ada said no: call me first")
    assert left(child) == 1
    assert not SSHSession.objects.exists()


def test_who_is_not_answered_waits_until_the_request_lapses_and_no_longer(asking: House) -> None:
    child = plead(asking)
    AccessRequest.objects.update(lapses_at=clock.now() + timedelta(seconds=1))
    child.expect("REQ-1 lapsed: nobody answered")
    assert left(child) == 1
    assert not SSHSession.objects.exists()


def test_a_lost_connection_loses_no_place_and_the_next_one_waits_for_the_same(asking: House) -> None:
    child = plead(asking)
    child.close(force=True)
    assert asking.gateway is not None
    eventually(lambda: not asking.gateway.entrance.everybody())  # type: ignore[union-attr]
    assert pending().label == "REQ-1"
    again = asking.shell()
    again.timeout = PATIENCE
    again.expect("You have asked for it already: REQ-1")
    again.expect("Waiting: ")
    say_yes(asking)
    again.expect("Breakglass session")
    answers(again)


def test_ctrl_c_stops_the_waiting_and_says_how_to_withdraw(asking: House) -> None:
    child = plead(asking)
    child.send("\x03")
    child.expect("REQ-1 still waits for its answer. To withdraw it: ssh -p [0-9]+ rita@[^ ]+ withdraw REQ-1")
    assert left(child) == 130
    assert pending()
    said = asking.run("withdraw REQ-1", user="rita")
    assert b"REQ-1 is withdrawn" in said.stdout
    early = asking.shell()
    early.expect(ASKED)
    early.send("\x03")
    early.expect("Nothing was asked for")
    assert AccessRequest.objects.count() == 1


def test_who_is_disabled_while_waiting_gets_in_nowhere(asking: House) -> None:
    child = plead(asking)
    people.disable(asking.rita.person, by=None, now=clock.now())
    child.expect(r"\[person_inactive\]")
    assert left(child) == 1
    assert not SSHSession.objects.exists()


def test_what_is_over_again_before_it_is_noticed_opens_nothing(
    asking: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decision is asked for when it comes to it, and nobody remembers that there was a yes."""
    monkeypatch.setattr(waiting, "LOOK_EVERY", 3600.0)
    child = plead(asking)
    say_yes(asking)
    grants.release(Grant.objects.get().pk, asking.rita.person, clock.now())
    monkeypatch.setattr(waiting, "LOOK_EVERY", 0.5)
    child.expect("REQ-1 is approved")
    child.expect(r"\[grant_ended\]")
    assert left(child) == 1
    assert not SSHSession.objects.exists()


def test_an_incident_that_closes_takes_its_requests_along(asking: House) -> None:
    child = plead(asking)
    incidents.close(asking.incident.pk, asking.rita.person, clock.now())
    child.expect("REQ-1 was withdrawn")
    assert left(child) == 1
    assert not SSHSession.objects.exists()


def test_a_script_is_refused_as_before_and_told_what_to_run(asking: House) -> None:
    ways = (("true",), ()), (("sftp",), ("-s",)), ((), ("-T",)), ((), ("-W", "127.0.0.1:80"))
    for words, options in ways:
        done = asking.run(*words, options=options)
        assert done.returncode == 255 and b"[no_grant]" in done.stderr, (words, done)
        wanted = f'rita@{building.settings.BREAKGLASS.gateway_host} "request hist-test --asset hist-01 --incident INC-1'
        assert wanted.encode() in done.stderr, done.stderr
    assert not AccessRequest.objects.exists()


def test_who_may_ask_for_nothing_there_is_refused_at_the_login(asking: House) -> None:
    done = asking.run(user="ada+hist-01", key=asking.ada.key, code=asking.ada.code())
    assert done.returncode == 255 and b"[no_grant]" in done.stderr and b"From a script" not in done.stderr
    other = asking.run(user="rita+nobody@hist-01", options=("-tt",))
    assert other.returncode == 255 and b"From a script" not in other.stderr


def test_the_gateways_end_takes_who_waits_along_and_leaves_the_request(asking: House) -> None:
    child = plead(asking)
    asking.stop()
    child.expect("going down")
    child.expect(pexpect.EOF)
    assert pending()


def test_without_an_open_incident_the_reason_opens_one(asking: House) -> None:
    incidents.close(asking.incident.pk, asking.rita.person, clock.now())
    child = plead(asking)
    assert Incident.objects.get(closed_at=None).title == REASON
    child.send("\x03")


def test_a_choice_is_asked_for_only_where_there_is_one(asking: House) -> None:
    second = building.spec(slug="hist-deep", title="Historian, deep", logins=["root"])
    playbooks.publish([second], clock.now())
    incidents.open_incident(asking.rita.person, "And another one", clock.now())
    child = asking.shell()
    child.timeout = PATIENCE
    child.expect("Under which playbook")
    child.expect(r"Number \[1\]: ")
    child.sendline("2" if _second_is_deep(child) else "1")
    child.expect(ASKED)
    child.sendline("short")
    child.expect("10 characters or more")
    child.sendline(REASON)
    child.expect("For which incident")
    child.expect(r"Number \[1\]: ")
    child.sendline("")
    child.expect("REQ-1 is sent")
    asked = pending()
    assert (asked.playbook.slug, asked.incident.title) == ("hist-deep", "And another one")
    child.send("\x03")


def _second_is_deep(child: Shell[str]) -> bool:
    return str(child.before).rstrip().endswith("Historian, deep")


def test_a_playbook_without_a_shell_says_so_when_it_comes_to_it(asking: House) -> None:
    playbooks.publish([building.spec(channels=["exec"])], clock.now())
    child = plead(asking)
    say_yes(asking)
    child.expect(r"\[channel_not_allowed\]")
    assert left(child) == 77


def test_through_a_jump_as_well(asking: House) -> None:
    from tests.gateway.test_jump import jump

    command = jump(asking)
    child = pexpect.spawn(command[0], ["-tt", *command[1:]], timeout=PATIENCE, encoding="utf-8")
    child.expect("One-time code: ")
    child.sendline(asking.rita.code())
    child.expect(ASKED)
    child.sendline(REASON)
    child.expect("Waiting: ")
    say_yes(asking)
    child.expect("Breakglass session")
    answers(child)
    child.sendline("exit")
    assert left(child) == 0
