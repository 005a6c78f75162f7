"""`ssh PERSON@GATEWAY`: asking, deciding and ending without a page."""

from __future__ import annotations

import threading

import pexpect
import pytest

from breakglass import clock
from breakglass.models import AccessRequest, Grant
from breakglass.services import people, playbooks
from tests.gateway import house as building
from tests.gateway.house import House, Human, eventually


def console(house: House, person: Human, words: str) -> pexpect.spawn[str]:
    command = house.ssh(words, user=person.person.username, key=person.key)
    child = pexpect.spawn(command[0], command[1:], timeout=30, encoding="utf-8")
    child.expect("One-time code: ")
    child.sendline(person.code())
    return child


@pytest.fixture
def published(house: House) -> None:
    playbooks.publish([building.spec()], clock.now())


@pytest.mark.usefixtures("published")
def test_from_nothing_to_a_command_on_the_asset_by_ssh_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = house.run(
        "request hist-test --incident INC-1 --reason 'trends stopped at 02:10' --for 20m", user="rita"
    )
    assert b"REQ-1 is sent" in asked.stdout, asked.stderr
    assert b"REQ-1 waits for approval" in house.run("status", user="rita").stdout
    child = console(house, house.ada, "approve REQ-1")
    child.expect("trends stopped at 02:10")
    child.expect("Comment: ")
    child.sendline("go on")
    child.expect("One-time code to approve REQ-1: ")
    child.sendline(house.ada.code())
    child.expect("REQ-1 is approved")
    child.expect(pexpect.EOF)
    assert house.run("echo there").stdout == b"there\n"
    assert b"S-1" in house.run("sessions", user="rita").stdout
    assert b"1 released" in house.run("end", user="rita").stdout
    assert Grant.objects.get().state == "released"


@pytest.mark.usefixtures("published")
def test_nobody_approves_their_own_request(house: House) -> None:
    house.run("request hist-test --incident 1 --reason 'trends stopped at 02:10'", user="rita")
    child = console(house, house.rita, "approve REQ-1 --comment mine")
    child.expect("One-time code to approve")
    child.sendline(house.rita.code())
    child.expect("own_request")
    assert AccessRequest.objects.get().state == "pending"


@pytest.mark.usefixtures("published")
def test_what_is_refused_reads_as_on_the_page(house: House) -> None:
    short = house.run("request hist-test --incident 1 --reason no", user="rita")
    assert short.returncode == 1 and b"[reason_missing]" in short.stderr
    nothing = house.run("request hist-test", user="rita")
    assert nothing.returncode == 2 and b"--incident" in nothing.stderr
    other = house.run("kill S-99 --reason x", user="rita")
    assert other.returncode == 1 and b"[not_found]" in other.stderr
    own = house.run("approve REQ-1", user="rita")
    assert own.returncode == 1 and b"[not_found]" in own.stderr


def test_an_approver_kills_a_session(house: House) -> None:
    house.grant()
    shell = house.prompt()
    killed = house.run(
        "kill S-1 --reason 'looks wrong'", user="ada", key=house.ada.key, code=house.ada.code()
    )
    assert b"S-1 is being ended" in killed.stdout
    shell.expect("your access was withdrawn")


def test_somebody_beside_a_session_is_read_in_it(house: House) -> None:
    house.grant()
    shell = house.prompt()
    ada = {"user": "ada", "key": house.ada.key}
    said = house.run("say S-1 is that the right disk?", code=house.ada.code(), **ada)
    assert said.stdout == b"Said beside S-1.\n", said.stderr
    shell.expect("is that the right disk")
    none = house.run("say S-99 hello", user="rita")
    assert none.returncode == 1 and b"[not_found]" in none.stderr


def test_a_playbook_that_asks_for_a_factor_gets_one_from_whoever_kills_here(house: House) -> None:
    house.grant(kill_needs_factor=True)
    shell = house.prompt()
    child = console(house, house.ada, "kill S-1 --reason 'looks wrong'")
    child.expect("One-time code to end S-1: ")
    child.sendline("000000")
    child.expect("second_factor_wrong")
    child = console(house, house.ada, "kill S-1 --reason 'looks wrong'")
    child.expect("One-time code to end S-1: ")
    child.sendline(house.ada.code())
    child.expect("S-1 is being ended")
    shell.expect("your access was withdrawn")


def test_a_disabled_person_can_do_nothing_at_an_open_console(house: House) -> None:
    menu = house.shell(user="rita")
    menu.expect("breakglass> ")
    people.disable(house.rita.person, by=None, now=clock.now())
    menu.sendline("status")
    menu.expect("person_inactive")


def test_nothing_is_left_in_memory_of_connections_that_are_over(house: House) -> None:
    house.grant()
    for _ in range(3):
        house.run("true")
        house.ended()
    house.run("status", user="rita")
    gateway = house.gateway
    assert gateway is not None

    def left() -> list[object]:
        threads = [thread.name for thread in threading.enumerate()]
        mine = [name for name in threads if name in {"ssh-leg", "session-end", "session-books"}]
        return [*mine, *gateway.entrance.everybody(), *gateway._watchdog._watches, *gateway._sessions]

    eventually(lambda: not left() and not len(gateway.entrance), "nothing is left in memory")
