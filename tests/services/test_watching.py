"""Watching, escorting and chatting in the books: who may, what is written, and what nobody can say for somebody else."""

from __future__ import annotations

import hashlib
from functools import partial
from itertools import pairwise

import pytest

from breakglass import doorbell
from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import AuditEvent, Grant, Notice
from breakglass.services import locks, people
from sessions import queries, services
from sessions.gateway import beside
from sessions.models import ChatMessage, SSHSession, Watch
from sessions.queries import SessionFilter
from sessions.services import Totals, chat, escort, watching
from sessions.states import EndReason
from tests.services import stage
from tests.services.racing import race, sound_trail
from tests.services.scene import Scene, last, refused, tags, trail_text

ESCORTED = {"escort": ["site-managers", "it-leads"]}


def escorted(scene: Scene) -> SSHSession:
    scene.playbook(**ESCORTED)
    return stage.live(scene, scene.granted())


def test_a_watch_is_written_and_rings_and_ends_once(
    scene: Scene, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, cast = stage.live(scene, grant), scene.cast
    rung: list[str] = []
    monkeypatch.setattr(doorbell, "ring", lambda topic, **_: rung.append(topic))
    watch = watching.begin(session.pk, cast.ada, scene.now)
    assert f"session:{session.pk}" in rung and not watch.escort
    assert last("watch:begun").data == {"session": session.label, "watch": str(watch.pk), "escort": False}
    assert [one.person for one in watching.watchers(session, scene.now)] == [cast.ada]
    scene.time.forward(seconds=90)
    assert watching.leave(watch.pk, cast.ada, scene.now)
    row = last("watch:ended")
    assert (row.actor_name, row.data["why"], row.data["seconds"]) == ("ada", "they left", 90.0)
    assert not watching.leave(watch.pk, cast.ada, scene.now)
    assert tags(session).count("watch:ended") == 1
    assert watching.seen([watch.pk], scene.now) == 0, "what is over doesn't come back"


def test_who_may_watch_and_write(scene: Scene) -> None:
    session, cast = escorted(scene), scene.cast
    for person in (cast.ada, cast.sam, cast.vera, cast.otto, cast.admin):
        watching.begin(session.pk, person, scene.now)
        chat.say(session.pk, person, "here", scene.now)
    chat.say(session.pk, cast.rita, "so am I", scene.now)
    with refused(Code.NOT_ALLOWED):
        watching.begin(session.pk, cast.rita, scene.now)
    for act in (watching.begin, lambda pk, person, now: chat.say(pk, person, "hello", now)):
        with refused(Code.NOT_FOUND):
            act(session.pk, cast.rob, scene.now)


def test_escorts_see_the_sessions_they_are_called_to_and_no_others(scene: Scene) -> None:
    """As a list and one by one, and not the grant."""
    other, session, sam = stage.live(scene, scene.granted()), escorted(scene), scene.cast.sam
    people.set_groups(sam, ["site-managers"], by=None, now=scene.now)
    assert [row.pk for row in queries.sessions_for(sam, SessionFilter())] == [session.pk]
    assert queries.session_for(sam, session.pk) == session
    with refused(Code.NOT_FOUND):
        queries.session_for(sam, other.pk)


def test_an_escort_is_called_comes_and_leaves(scene: Scene) -> None:
    session, cast = escorted(scene), scene.cast
    assert session.escort_needed and session.escort_missing_at == scene.now
    called = Notice.objects.filter(topic=f"session:{session.pk}")
    assert {one.person.username for one in called} == {"ada", "ben", "sam"}
    assert [row.pk for row in escort.waiting_for(cast.sam)] == [session.pk]
    assert escort.waiting_for(cast.vera) == escort.waiting_for(cast.rita) == []
    assert not watching.begin(session.pk, cast.vera, scene.now).escort
    session.refresh_from_db()
    assert session.escort_missing_at is not None, "a reviewer's watching doesn't count"
    first = watching.begin(session.pk, cast.sam, scene.now)
    second = watching.begin(session.pk, cast.ada, scene.now)
    session.refresh_from_db()
    assert first.escort and session.escort_missing_at is None and escort.waiting_for(cast.sam) == []
    watching.leave(first.pk, cast.sam, scene.now)
    session.refresh_from_db()
    assert session.escort_missing_at is None, "another one is there"
    watching.leave(second.pk, cast.ada, scene.now)
    session.refresh_from_db()
    assert session.escort_missing_at == scene.now
    assert [tag for tag in tags(session) if "escort" in tag] == ["escort:came", "escort:left"]


def test_who_is_locked_out_escorts_nobody(scene: Scene) -> None:
    session, sam = escorted(scene), scene.cast.sam
    began = watching.begin(session.pk, sam, scene.now)
    assert began.escort and beside._able([sam.pk])
    scene.time.forward(seconds=30)
    admin = scene.cast.admin
    locks.place(admin, "person", "sam", "suspicious", scene.code(admin), scene.now)
    assert not beside._able([sam.pk]), "the gateway doesn't take the watch that is open"
    watching.leave(began.pk, sam, scene.now)
    assert escort.waiting_for(sam) == [] and not escort.may_be(sam, session)


def test_nobody_escorts_themselves(scene: Scene) -> None:
    people.set_groups(scene.cast.rita, ["responders", "it-leads", "reviewers"], by=None, now=scene.now)
    session = escorted(scene)
    assert not escort.may_be(scene.cast.rita, session)
    with refused(Code.NOT_ALLOWED):
        watching.begin(session.pk, scene.cast.rita, scene.now)


def test_who_gives_no_sign_of_life_is_swept_away(scene: Scene) -> None:
    session, cast = escorted(scene), scene.cast
    theirs = watching.begin(session.pk, cast.sam, scene.now)
    other = watching.begin(session.pk, cast.vera, scene.now)
    scene.time.forward(seconds=7)
    watching.seen([other.pk], scene.now)
    assert watching.sweep(scene.now) == 1
    session.refresh_from_db()
    assert session.escort_missing_at == scene.now, "an escort is missed after 6 s"
    assert last("watch:ended").data["why"] == "their connection was lost"
    scene.time.forward(seconds=29)
    assert watching.sweep(scene.now) == 0
    assert watching.watched([session], scene.now) == {session.pk: 1}
    scene.time.forward(seconds=2)
    assert watching.watchers(session, scene.now) == [], "also before it is swept"
    assert watching.sweep(scene.now) == 1 and watching.sweep(scene.now) == 0
    assert Watch.objects.filter(ended_at=None).count() == 0
    assert not watching.end(theirs.pk, "again", scene.now)


def test_who_came_back_was_not_lost(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    watch = watching.begin(session.pk, scene.cast.ada, scene.now)
    lost = scene.now
    scene.time.forward(seconds=3)
    watching.seen([watch.pk], scene.now)
    assert not watching.end(watch.pk, watching.LOST, scene.now, silent_since=lost)
    assert watching.watchers(session, scene.now)


@pytest.mark.parametrize("how", ["ended", "being killed"])
def test_what_is_over_is_watched_by_nobody(scene: Scene, grant: Grant, how: str) -> None:
    session = stage.live(scene, grant)
    watching.begin(session.pk, scene.cast.ada, scene.now)
    if how == "ended":
        services.end_session(session.pk, EndReason.EXPIRED, Totals(0, 0), scene.now)
        assert watching.sweep(scene.now) == 1
        assert last("watch:ended").data["why"] == "the session is over"
        with refused(Code.SESSION_NOT_LIVE):
            chat.say(session.pk, scene.cast.ada, "too late", scene.now)
    else:
        services.kill(session.pk, scene.cast.ada, "enough", scene.now)
    with refused(Code.SESSION_NOT_LIVE):
        watching.begin(session.pk, scene.cast.ben, scene.now)


def test_what_is_written_is_kept_and_the_trail_holds_its_digest(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    row = chat.say(session.pk, scene.cast.ada, "  disk first\x07\u202e \nthen \ud800", scene.now)
    assert row.text == "disk first\ufffd\ufffd \nthen \ufffd"
    assert [one.text for one in chat.messages(session)] == [row.text]
    data = last("chat:said").data
    assert data["sha256"] == hashlib.sha256(row.text.encode()).hexdigest()
    assert "disk first" not in trail_text()


def test_chat_is_bounded(scene: Scene, grant: Grant) -> None:
    session, ada = stage.live(scene, grant), scene.cast.ada
    for text in ("", " \n ", "x" * 1001):
        with refused(Code.BAD_INPUT):
            chat.say(session.pk, ada, text, scene.now)
    for number in range(chat.MOST_A_MINUTE):
        chat.say(session.pk, ada, f"{number} {'x' * 990}", scene.now)
    with refused(Code.BAD_INPUT):
        chat.say(session.pk, ada, "and another", scene.now)
    chat.say(session.pk, scene.cast.rita, "others may", scene.now)
    scene.time.forward(seconds=61)
    chat.say(session.pk, ada, "now again", scene.now)


def test_a_kill_takes_a_factor_where_the_playbook_asks_for_one(scene: Scene) -> None:
    scene.playbook(kill_needs_factor=True)
    session, cast = stage.live(scene, scene.granted()), scene.cast
    scene.time.forward(seconds=60)
    with refused(Code.SECOND_FACTOR_REQUIRED):
        services.kill(session.pk, cast.ada, "enough", scene.now)
    with refused(Code.SECOND_FACTOR_WRONG):
        services.kill(session.pk, cast.ada, "enough", scene.now, cast.wrong_code(cast.ada, scene.now))
    with refused(Code.NOT_ALLOWED):
        services.kill(session.pk, cast.rita, "enough", scene.now, scene.code(cast.rita))
    session.refresh_from_db()
    assert session.kill_requested_at is None
    services.kill(session.pk, cast.ada, "enough", scene.now, scene.code(cast.ada))
    services.kill(session.pk, cast.ben, "asked again", scene.now)
    session.refresh_from_db()
    assert session.kill_requested_by == cast.ada


def test_escorts_who_come_and_leave_at_once_leave_one_story(committed: Scene) -> None:
    cast, now = committed.cast, committed.now
    session = escorted(committed)
    for _ in range(3):
        mine = watching.begin(session.pk, cast.ada, now)
        race(
            partial(watching.leave, mine.pk, cast.ada, now),
            partial(watching.leave, mine.pk, cast.ada, now),
            partial(watching.begin, session.pk, cast.ben, now),
            partial(watching.begin, session.pk, cast.sam, now),
        )
        there = Watch.objects.filter(session=session, ended_at=None)
        assert there.count() == 2
        session.refresh_from_db()
        assert session.escort_missing_at is None
        race(*(partial(watching.end, one.pk, "they left", now) for one in there))
        session.refresh_from_db()
        assert session.escort_missing_at is not None
    story = [
        row.tag.rpartition(":")[2]
        for row in AuditEvent.objects.filter(subject=f"sshsession:{session.pk}").order_by("seq")
        if ":escort:" in row.tag
    ]
    assert story[:2] == ["came", "left"] and all(a != b for a, b in pairwise(story))
    assert not ChatMessage.objects.exists()
    sound_trail()
