"""Receipts of real ends: what the gateway measured of its own sockets, for each way in which a session ends."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pexpect
import pytest

from breakglass import clock
from breakglass.services import grants
from sessions import services
from sessions.gateway.receipts import receipt_of
from sessions.models import Receipt, SSHSession
from sessions.states import EndReason
from tests.gateway.house import House, eventually
from tests.gateway.test_ends import TICKER, ends_soon, live, look
from tests.gateway.test_freeze import stuck
from tests.gateway.test_jump import jump

SLACK_MS = 5000.0
"""A busy machine may be late; how late a quiet one is, tests/bench measures."""


def whole(house: House) -> Receipt:
    """The receipt of the latest session, once both sides are known to be gone."""
    ended = house.ended()
    eventually(
        lambda: (
            Receipt.objects.filter(session=ended).exclude(client_gone_at=None).exclude(target_gone_at=None)
        ),
        "both sides have gone, and that is in the books",
    )
    receipt: Receipt = Receipt.objects.get(session=ended)
    return receipt


def in_order(receipt: Receipt) -> bool:
    """Cut, and then both gone; nothing relayed so late that the promise would be broken."""
    assert receipt.cut_ms is not None and receipt.client_gone_ms is not None
    assert receipt.target_gone_ms is not None and receipt.last_byte_ms is not None
    assert -100 < receipt.cut_ms < SLACK_MS, receipt.facts
    assert receipt.last_byte_ms < receipt.cut_ms + SLACK_MS, receipt.facts
    return min(receipt.client_gone_ms, receipt.target_gone_ms) >= receipt.cut_ms


def test_a_killed_session_under_load(house: House) -> None:
    house.grant()
    client = house.popen("cat /dev/zero")
    assert client.stdout is not None
    client.stdout.read(1_000_000)
    killed = services.kill(house.session().pk, house.ada.person, "wrong machine", clock.now())
    look(house)
    while client.stdout.read(1 << 20):
        pass
    client.wait(30)
    receipt = whole(house)
    assert (receipt.cause, receipt.asked_by) == ("killed", house.ada.person)
    assert receipt.asked_at == killed.kill_requested_at and not receipt.estimated
    assert in_order(receipt)
    assert receipt.last_byte_ms is not None and receipt.cut_ms is not None
    assert receipt.last_byte_ms > receipt.cut_ms - SLACK_MS, "bytes passed until it was cut"
    (said,) = [row["receipt"] for row in house.audited("gateway:session:ended")]
    assert said["asked_by"] == "ada" and said["cut_ms"] == round(receipt.cut_ms, 3)


def test_an_expiry_counts_from_the_grants_end(house: House) -> None:
    grant = house.grant()
    child = house.prompt()
    child.sendline(TICKER)
    child.expect("tick-3")
    end = ends_soon(house, grant, 1.0)
    child.expect(pexpect.EOF)
    receipt = whole(house)
    assert (receipt.cause, receipt.asked_at, receipt.asked_by) == ("expired", end, None)
    assert in_order(receipt)


def test_a_revoked_jump(house: House) -> None:
    grant = house.grant()
    client = subprocess.Popen(
        jump(house, TICKER), env=house.askpass(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert client.stdout is not None
    assert client.stdout.readline() == b"tick-1\n"
    grants.revoke(grant.pk, house.ada.person, "wrong machine", house.ada.code(), clock.now())
    look(house)
    client.wait(30)
    receipt = whole(house)
    grant.refresh_from_db()
    assert (receipt.cause, receipt.asked_at, receipt.asked_by) == (
        "revoked",
        grant.ended_at,
        house.ada.person,
    )
    assert in_order(receipt)


def test_who_closes_it_themselves_has_gone_before_it_is_cut(house: House) -> None:
    house.grant()
    assert house.run("echo out").stdout == b"out\n"
    receipt = whole(house)
    assert (receipt.cause, receipt.asked_by) == ("client_closed", house.rita.person)
    assert receipt.cut_ms == 0.0 and receipt.client_gone_ms is not None and receipt.client_gone_ms <= 0
    assert receipt.last_byte_ms is not None and receipt.last_byte_ms <= 0


def test_a_person_who_doesnt_read_the_farewell_is_written_down_when_they_have_gone(house: House) -> None:
    house.grant()
    client = house.popen("echo up; sleep 60")
    assert client.stdout is not None and client.stdout.readline() == b"up\n"
    os.kill(client.pid, signal.SIGSTOP)
    try:
        live(house).end(EndReason.KILLED)
        ended = house.ended()
        receipt = whole(house)
        assert receipt.session == ended
        assert receipt.client_gone_ms is not None and receipt.cut_ms is not None
        assert receipt.client_gone_ms > receipt.cut_ms, "the gateway waited a moment, then closed the socket"
    finally:
        os.kill(client.pid, signal.SIGCONT)
        client.kill()
        client.wait(30)


def test_who_reads_again_after_the_end_gets_nothing_any_more_and_the_receipt_is_right(house: House) -> None:
    """What was being written to a client that was behind is cut off, too."""
    with stuck(house) as client:
        session = live(house)
        session.end(EndReason.KILLED)
        time.sleep(2.5)
        client.send_signal(signal.SIGCONT)
        receipt = whole(house)
        time.sleep(1)
        late = session.person_leg.packetizer.relayed_at - session.ended_by_clock
        assert late < 2, "not when it read on"
        assert receipt.last_byte_at is not None and receipt.cut_at is not None
        said = (receipt.last_byte_at - receipt.cut_at).total_seconds()
        assert said == pytest.approx(late, abs=0.01)


def test_a_session_in_which_nothing_passed_says_so(house: House) -> None:
    house.grant()
    master, _ = house.master()
    eventually(lambda: live(house), "it lives")
    services.kill(house.session().pk, house.ada.person, "unused", clock.now())
    look(house)
    master.wait(30)
    assert whole(house).last_byte_at is None


def test_a_stopped_gateway_leaves_whole_receipts(house: House) -> None:
    house.grant()
    child = house.prompt()
    house.stop()
    child.expect("the gateway is going down")
    receipt = Receipt.objects.get(session=house.session())
    assert receipt.cause == "gateway_stopped"
    assert receipt.client_gone_at is not None and receipt.target_gone_at is not None


def test_each_end_has_one_receipt_and_the_last_byte_isnt_the_farewell(house: House) -> None:
    house.grant()
    child = house.prompt()
    time.sleep(1.0)  # nothing is typed and nothing shown for so long
    live(house).end(EndReason.LOCKED)
    child.expect(pexpect.EOF)
    receipt = whole(house)
    assert Receipt.objects.count() == SSHSession.objects.count() == 1
    assert receipt.last_byte_at is not None and receipt.cut_at is not None
    assert (receipt.cut_at - receipt.last_byte_at).total_seconds() > 0.9


@pytest.mark.parametrize("when", ["before the end is told", "between", "after"])
def test_whenever_the_person_goes_it_is_told_once_and_after_the_end(
    house: House, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    house.grant()
    client = house.popen("echo up; sleep 60")
    assert client.stdout is not None and client.stdout.readline() == b"up\n"
    session, told = live(house), list[str]()
    clerk = session._clerk
    monkeypatch.setattr(clerk, "gone", lambda _: told.append("gone"))
    session.person_leg.gone_at = None
    if when == "before the end is told":
        session.person_leg.gone_at = clock.monotonic()
        session._complete_receipt()
    cut = receipt_of(session)
    if when == "between":
        session.person_leg.gone_at = clock.monotonic()
        session._complete_receipt()
    assert not told, "not before the end"
    session.receipt_told(cut)
    if when == "after":
        session.person_leg.gone_at = clock.monotonic()
        session._complete_receipt()
        session._complete_receipt()
    assert told == ([] if when == "before the end is told" else ["gone"])
    client.kill()
    client.wait(30)
