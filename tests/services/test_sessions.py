"""Sessions: opened under a running grant only, ended once, for one reason, whatever else happens meanwhile."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from breakglass.domain.refusals import RefusalCode as Code
from breakglass.domain.refusals import refusal
from breakglass.models import Grant, Notice
from breakglass.services import grants
from sessions import services
from sessions.models import Channel, Recording, SSHSession
from sessions.services import ChannelFacts, Totals
from sessions.states import EndReason
from tests.services import stage
from tests.services.scene import ARMED, Scene, last, refused, tags
from tests.support import cast as house

NOTHING = Totals(0, 0)


# --- opened


def test_a_session_opens_with_its_recording_and_its_audit_row(scene: Scene, grant: Grant) -> None:
    asked = stage.form(scene, grant)
    session = services.open_session(asked, scene.now)
    assert (session.pk, session.label, session.state) == (asked.id, "S-1", "opening")
    assert session.recording.state == "open"
    row = last("session:opened")
    assert row.actor_name == "rita"
    assert row.data["grant"] == str(grant.pk)
    assert row.data["decision"] == str(asked.decision_id)
    assert row.data["digest"] == scene.version.digest
    assert stage.opened(scene, grant).label == "S-2"


@pytest.mark.parametrize("how", ["released", "revoked", "over", "armed"])
def test_no_session_opens_without_a_running_grant(scene: Scene, how: str) -> None:
    if how == "armed":
        scene.playbook(**ARMED)
    grant = scene.granted()
    if how == "released":
        grants.release(grant.pk, scene.cast.rita, scene.now)
    elif how == "revoked":
        grants.revoke(grant.pk, scene.cast.ben, "enough", scene.code(scene.cast.ben), scene.now)
    elif how == "over":
        scene.time.forward(minutes=60)
    with refused(Code.GRANT_ENDED):
        stage.opened(scene, grant)
    assert not SSHSession.objects.exists()
    assert not Recording.objects.exists()


def test_no_session_opens_for_what_the_grant_isnt_about(scene: Scene, grant: Grant) -> None:
    other = house.machine(scene.now, "hmi-02", kind="hmi")
    with refused(Code.GRANT_FOREIGN):
        stage.opened(scene, grant, person_id=scene.cast.rob.pk)
    with refused(Code.NO_GRANT):
        stage.opened(scene, grant, asset_id=other.pk)
    with refused(Code.LOGIN_NOT_IN_GRANT):
        stage.opened(scene, grant, login="root")
    assert not SSHSession.objects.exists()


def test_it_is_live_once_the_asset_let_the_gateway_in(scene: Scene, grant: Grant) -> None:
    session = stage.opened(scene, grant)
    assert services.mark_live(session.pk, "127.0.0.1:22", "SHA256:pinned", scene.now)
    session.refresh_from_db()
    assert (session.state, session.upstream_host_key) == ("live", "SHA256:pinned")
    assert not services.mark_live(session.pk, "10.9.9.9:22", "SHA256:other", scene.now)
    session.refresh_from_db()
    assert session.upstream_host_key == "SHA256:pinned"
    assert tags(session) == ["session:opened", "session:live"]


def test_an_ended_session_doesnt_go_live(scene: Scene, grant: Grant) -> None:
    session = stage.opened(scene, grant)
    services.end_session(session.pk, EndReason.UPSTREAM_FAILED, NOTHING, scene.now)
    assert not services.mark_live(session.pk, "127.0.0.1:22", "SHA256:pinned", scene.now)
    session.refresh_from_db()
    assert session.state == "ended"


# --- ended


@pytest.mark.parametrize("reason", list(EndReason))
def test_a_session_ends_once_with_its_reason_and_totals(
    scene: Scene, grant: Grant, reason: EndReason
) -> None:
    session = stage.live(scene, grant)
    assert services.end_session(session.pk, reason, Totals(3, 99), scene.now)
    assert not services.end_session(session.pk, EndReason.KILLED, NOTHING, scene.now + timedelta(hours=1))
    session.refresh_from_db()
    assert (session.state, session.end_reason, session.ended_at) == ("ended", reason, scene.now)
    assert (session.bytes_in, session.bytes_out) == (3, 99)
    tag = "session:crashed" if reason is EndReason.CRASHED else "session:ended"
    assert tags(session) == ["session:opened", "session:live", tag]


@pytest.mark.parametrize("reason", ["", "because"])
def test_no_row_can_say_that_a_session_ended_without_a_reason(
    scene: Scene, grant: Grant, reason: str
) -> None:
    session = stage.live(scene, grant)
    with pytest.raises(IntegrityError), transaction.atomic():
        SSHSession.objects.filter(pk=session.pk).update(state="ended", end_reason=reason, ended_at=None)


def test_a_neighbour_of_the_same_grant_lives_on(scene: Scene, grant: Grant) -> None:
    """E5."""
    session, neighbour = stage.live(scene, grant), stage.live(scene, grant)
    services.end_session(session.pk, EndReason.KILLED, NOTHING, scene.now)
    neighbour.refresh_from_db()
    assert neighbour.state == "live"


# --- killed


@pytest.mark.parametrize("who", ["ada", "ben", "admin"])
def test_approvers_and_administrators_ask_for_its_end(scene: Scene, grant: Grant, who: str) -> None:
    session = stage.live(scene, grant)
    person = getattr(scene.cast, who)
    killed = services.kill(session.pk, person, "wrong machine\x00", scene.now)
    assert (killed.kill_requested_by, killed.kill_requested_at) == (person, scene.now)
    assert last("session:killed").data["reason"] == "wrong machine\ufffd"


def test_asking_twice_is_no_error_and_one_audit_row(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    services.kill(session.pk, scene.cast.ada, "first", scene.now)
    again = services.kill(session.pk, scene.cast.ben, "second", scene.now + timedelta(seconds=1))
    assert again.kill_requested_by == scene.cast.ada
    assert tags(session).count("session:killed") == 1


def test_a_session_that_is_over_cant_be_killed(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    services.end_session(session.pk, EndReason.CLIENT_CLOSED, NOTHING, scene.now)
    with refused(Code.SESSION_NOT_LIVE):
        services.kill(session.pk, scene.cast.ada, "late", scene.now)
    killed = stage.live(scene, grant)
    services.kill(killed.pk, scene.cast.ada, "now", scene.now)
    services.end_session(killed.pk, EndReason.KILLED, NOTHING, scene.now)
    with refused(Code.SESSION_NOT_LIVE):
        services.kill(killed.pk, scene.cast.ada, "again", scene.now)


def test_nobody_else_kills_it_and_to_strangers_it_isnt_there(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    for who in ("rita", "vera", "otto"):
        with refused(Code.NOT_ALLOWED):
            services.kill(session.pk, getattr(scene.cast, who), "", scene.now)
    for who in ("rob", "sam"):
        with refused(Code.NOT_FOUND):
            services.kill(session.pk, getattr(scene.cast, who), "", scene.now)
    with refused(Code.NOT_FOUND):
        services.kill(uuid4(), scene.cast.admin, "", scene.now)
    session.refresh_from_db()
    assert session.kill_requested_at is None


# --- channels


def test_a_channel_is_kept_when_it_opens_and_again_when_it_closes(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    facts = ChannelFacts(number=0, kind="exec", opened_at=scene.now, command="echo \x00\ud800 hi")
    services.save_channel(session.pk, facts)
    closed = ChannelFacts(
        number=0,
        kind="exec",
        opened_at=scene.now,
        command="echo hi",
        closed_at=scene.now,
        exit_status=4294967295,
    )
    services.save_channel(session.pk, closed)
    channel = Channel.objects.get()
    assert (channel.command, channel.exit_status, channel.closed_at) == ("echo hi", 4294967295, scene.now)


def test_a_refused_channel_is_in_the_trail(scene: Scene, grant: Grant) -> None:
    session = stage.live(scene, grant)
    no = refusal(Code.FORWARD_NOT_ALLOWED, destination="10.0.0.1:22", allowed="nothing")
    facts = ChannelFacts(
        number=1, kind="forward", opened_at=scene.now, destination="10.0.0.1:22\x00", refusal=str(no.code)
    )
    services.refuse_channel(session.pk, facts, no, scene.now)
    assert Channel.objects.get().refusal == "forward_not_allowed"
    assert last("channel:refused").data["refusal"] == "forward_not_allowed"


# --- crashed


def test_what_a_gateway_left_open_is_closed_as_crashed_and_people_are_told(
    scene: Scene, grant: Grant
) -> None:
    left = [stage.live(scene, grant), stage.opened(scene, grant)]
    elsewhere = stage.live(scene, grant, gateway_id="gw-2")
    over = stage.live(scene, grant)
    services.end_session(over.pk, EndReason.CLIENT_CLOSED, NOTHING, scene.now)
    services.save_channel(left[0].pk, ChannelFacts(number=0, kind="shell", opened_at=scene.now))
    Notice.objects.all().delete()
    assert services.recover_crashed("gw-1", scene.now) == 2
    assert services.recover_crashed("gw-1", scene.now) == 0
    for session in left:
        session.refresh_from_db()
        assert (session.state, session.end_reason) == ("ended", "crashed")
        assert tags(session)[-1] == "session:crashed"
    elsewhere.refresh_from_db()
    over.refresh_from_db()
    assert (elsewhere.state, over.end_reason) == ("live", "client_closed")
    assert Channel.objects.get().closed_at == scene.now
    assert [notice.person for notice in Notice.objects.all()] == [scene.cast.rita] * 2
