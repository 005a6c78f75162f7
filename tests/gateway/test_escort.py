"""Escort: nothing reaches the asset before an escort watches, nothing passes while none does, and it goes on with one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connections

from breakglass import clock
from breakglass.domain.refusals import RefusalCode, Refused, refuse
from breakglass.models import Notice, Person
from breakglass.services import people
from sessions import services
from sessions.gateway import beside, company, freezing
from sessions.gateway.company import NO_ESCORT
from sessions.models import ChatMessage, SSHSession, Watch
from sessions.services import chat, watching
from sessions.services.escort import FRESH
from tests.gateway.house import House, eventually, human, read_until
from tests.gateway.test_ends import live, look
from tests.gateway.test_freeze import freeze, held, unfreeze

WAITING = b"waiting for your escort (ot-leads) to watch"


@contextmanager
def watched(house: House, person: Person | None = None) -> Iterator[Watch]:
    """An escort's page is open: it gives signs of life, until the block is over and they have left."""
    watch = watching.begin(house.session().pk, person or house.ada.person, clock.now())
    stop = threading.Event()

    def beat() -> None:
        try:
            while not stop.wait(0.5):
                watching.seen([watch.pk], clock.now())
        finally:
            connections.close_all()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    look(house)
    try:
        yield watch
    finally:
        stop.set()
        thread.join(30)
        watching.leave(watch.pk, person or house.ada.person, clock.now())
        look(house)


def is_held(house: House) -> bool:
    return live(house).freezing.is_held_by(NO_ESCORT)


def test_nothing_reaches_the_asset_before_an_escort_watches(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freezing, "KEYS_LAST", 0.0)  # a stream isn't keys: it comes whole
    house.grant(escort=["ot-leads"])
    ran = house.dir / "ran"
    client = house.popen(f"echo yes > {ran}; cat; echo done")
    assert client.stdin is not None and client.stdout is not None and client.stderr is not None
    said = read_until(client.stderr, WAITING)
    assert b"escort ot-leads: it is held until one of them watches" in said, "the banner says so too"
    client.stdin.write(b"typed early\n")
    client.stdin.close()
    (channel,) = live(house).open_channels()
    eventually(lambda: channel.person._held and channel.person._held._items, "what was asked for is held")
    assert not ran.exists()
    row = house.session()
    assert row.escort_needed and row.escort_missing_at is not None
    told = Notice.objects.filter(topic=f"session:{row.pk}")
    assert [(one.person.username, one.path) for one in told] == [("ada", f"/sessions/{row.pk}/watch/")]
    with watched(house):
        assert client.stdout.read() == b"typed early\ndone\n"
        assert b"your escort Ada watches: the session begins" in read_until(client.stderr, b"begins")
        assert client.wait(30) == 0
    ended = house.ended()
    assert ended.end_reason == "client_closed"
    recording = house.recording(ended)
    assert '"m","frozen because no escort watches it"' in recording and "waiting for your escort" in recording
    assert len(house.audited("sessions:escort:came")) == 1


def test_who_leaves_holds_it_and_who_comes_back_lets_it_go_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freezing, "KEYS_LAST", 3600.0)
    house.grant(escort=["ot-leads"])
    child = house.shell()
    child.expect("waiting for your escort")
    with watched(house):
        child.expect("your escort Ada watches")
        child.sendline("PS1='ready> '; echo up-$((40+2))")
        child.expect("up-42")
        child.expect("ready> ")
    child.expect("this session is frozen because no escort watches it")
    typed = house.dir / "typed"
    child.sendline(f"echo later > {typed}; echo wrote-$((1+1))")
    eventually(lambda: held(house) > 0, "it is held")
    assert not typed.exists()
    with watched(house):
        child.expect("this session goes on")
        child.expect("wrote-2")
        child.sendline("exit")
        house.ended()
    assert typed.read_text() == "later\n"
    assert [row["why"] for row in house.audited("sessions:watch:ended")] == ["they left", "they left"]
    assert len(house.audited("sessions:escort:left")) == 1, "after the session's end nobody is missed"


def test_keys_typed_while_no_escort_watched_are_thrown_away(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, though the last came just now: half a line is another command."""
    monkeypatch.setattr(freezing, "KEYS_LAST", 3600.0)
    house.grant(escort=["ot-leads"])
    child, ran = house.shell(), house.dir / "ran"
    child.expect("waiting for your escort")
    with watched(house):
        child.expect("your escort Ada watches")
        child.sendline("PS1='ready> '; echo up-$((40+2))")
        child.expect("up-42")
        child.expect("ready> ")
        monkeypatch.setattr(freezing, "KEYS_LAST", 0.0)
    child.expect("What you type now is thrown away after")
    (channel,) = live(house).open_channels()
    credit = channel.person.credit
    before = credit._outstanding + credit._owed
    child.sendline(f"echo later >> {ran}")
    eventually(lambda: held(house) > 0, "it is held")
    with watched(house):
        child.expect("what you typed meanwhile was thrown away")
        assert credit._outstanding + credit._owed == before, "its window is given back"
        child.sendline(f"echo seen >> {ran}; exit")
        child.expect("exit")
        house.ended()
    assert ran.read_text() == "seen\n"
    assert '"m","typed while held, and thrown away: ' in house.recording(house.ended())


def test_an_escort_of_whom_nothing_is_heard_is_not_there(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the web page's process dies: nobody says that they left."""
    monkeypatch.setattr(company, "FRESH", timedelta(seconds=1))
    house.grant(escort=["ot-leads"])
    client = house.popen("cat")
    assert client.stderr is not None
    read_until(client.stderr, WAITING)
    with watched(house):
        eventually(lambda: not is_held(house), "it goes on")
        monkeypatch.setattr(watching, "seen", lambda *_: 0)
        eventually(lambda: is_held(house), "it is held, and nothing rang")
    client.kill()
    client.wait(30)
    house.ended()


def test_while_the_database_is_away_nothing_passes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(company, "FRESH", timedelta(seconds=2))
    house.grant(escort=["ot-leads"])
    client = house.popen("cat")
    assert client.stderr is not None
    read_until(client.stderr, WAITING)
    with watched(house):
        eventually(lambda: not is_held(house), "it goes on")

        def fail(*_: object) -> None:
            raise refuse(RefusalCode.DATABASE_UNAVAILABLE)

        monkeypatch.setattr(beside, "ask", fail)
        eventually(lambda: is_held(house), "it is held")
        assert live(house).reason is None
    client.kill()
    client.wait(30)


def test_an_escorts_absence_and_an_approvers_freeze_are_two_causes(house: House) -> None:
    house.grant(escort=["ot-leads"])
    client = house.popen("cat")
    assert client.stdin is not None and client.stdout is not None and client.stderr is not None
    read_until(client.stderr, WAITING)
    freeze(house)
    with watched(house):
        eventually(lambda: not is_held(house), "the escort is there")
        assert live(house).freezing.is_held_by(freezing.BY_PERSON, alone=True), "the approver's stands"
    eventually(lambda: is_held(house), "the escort left")
    unfreeze(house)
    eventually(lambda: not live(house).freezing.is_held_by(freezing.BY_PERSON), "the approver's is lifted")
    assert is_held(house)
    client.stdin.write(b"held\n")
    client.stdin.flush()
    with watched(house):
        assert client.stdout.readline() == b"held\n"
    client.kill()
    client.wait(30)


def test_who_may_be_no_escort_holds_the_session(house: House) -> None:
    """A reviewer may watch, and is none; who left the group, or was disabled, is none any more."""
    house.grant(escort=["ot-leads"])
    vera = human(house.dir, "vera", ["reviewers"])
    client = house.popen("cat")
    assert client.stderr is not None
    read_until(client.stderr, WAITING)
    with watched(house, vera.person) as watch:
        assert not watch.escort
        look(house)
        with pytest.raises(Refused):
            watching.begin(house.session().pk, house.rita.person, clock.now())
        with watched(house):
            eventually(lambda: not is_held(house), "an escort is there")
            people.set_groups(house.ada.person, ["it-leads"], by=None, now=clock.now())
            look(house)
            eventually(lambda: is_held(house), "she is none any more")
    client.kill()
    client.wait(30)
    house.ended()


def test_a_forward_waits_for_no_escort(house: House, page: int) -> None:
    house.grant(channels=["shell", "exec", "forward"], forward_to=[f"127.0.0.1:{page}"], escort=["ot-leads"])
    done = house.run("-W", f"127.0.0.1:{page}", stdin=b"GET / HTTP/1.0\r\n\r\n")
    assert done.returncode != 0 and b"status: fine" not in done.stdout
    assert b"frozen because no escort watches it" in done.stderr


def test_a_clock_that_is_ahead_makes_nobody_present(house: House) -> None:
    house.grant()
    client = house.popen("cat; true")
    eventually(lambda: SSHSession.objects.filter(state="live").exists(), "it is live")
    session = live(house)
    mine = company.Company(session, frozenset({"ot-leads"}))
    ahead = clock.now() + timedelta(hours=1)
    seen = company.Seen(house.session().pk, "Ada", True, ahead)
    asked, most = clock.monotonic(), FRESH.total_seconds()
    mine.watched_by([seen], asked, clock.now())
    assert mine._there_until == asked + most
    mine.watched_by([seen], asked + most - 1, clock.now())
    assert mine._there_until == pytest.approx(asked + most), "the same sign of life counts from when it came"
    mine.watched_by([seen], asked + most + 1, clock.now())
    assert session.freezing.is_held_by(NO_ESCORT)
    client.kill()
    client.wait(30)


def test_the_person_reads_who_watches_and_what_is_written(house: House) -> None:
    house.grant()
    child = house.prompt()
    row = house.session()
    watching.begin(row.pk, house.ada.person, clock.now())
    look(house)
    child.expect("Ada watches this session")
    chat.say(row.pk, house.rita.person, "my own words", clock.now())
    chat.say(row.pk, house.ada.person, "disk \x1b[31mfirst\x07\nplease", clock.now())
    look(house)
    child.expect(r"Ada writes: disk \S+\[31mfirst\S+ please")
    assert "my own words" not in child.before
    look(house)
    services.kill(row.pk, house.ada.person, "enough", clock.now())
    look(house)
    assert "Ada watches" not in child.read(), "once"
    house.ended()


def test_what_one_session_has_heard_takes_no_other_ones_place(house: House) -> None:
    house.grant()
    for _ in range(2):
        house.run("true")
    one, other = SSHSession.objects.order_by("pk")

    def write(session: SSHSession, *texts: str) -> None:
        now, ada = clock.now(), house.ada.person
        ChatMessage.objects.bulk_create(
            ChatMessage(session=session, person=ada, at=now, text=text) for text in texts
        )

    write(one, *["long ago"] * 250)
    heard = ChatMessage.objects.latest("pk").pk
    write(one, "new here")
    write(other, "new there")
    living: Any = {
        one.pk: SimpleNamespace(company=SimpleNamespace(heard=heard)),
        other.pk: SimpleNamespace(company=SimpleNamespace(heard=0)),
    }
    found = {pk: beside.Beside("", heard + 2) for pk in living}
    beside._hear(living, found)
    assert [said.text for said in found[one.pk].said] == ["new here"]
    assert [said.text for said in found[other.pk].said] == ["new there"]
