"""How long recordings are kept, who holds them longer, and how a deletion is told (and never a loss taken for one)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import Grant, Incident
from breakglass.services import audit, grants, incidents
from sessions import services
from sessions.models import Finding, Recording, Review, SSHSession
from sessions.recording import keyring
from sessions.services import holdings, recording_check, retention, storing
from sessions.services.holdings import store
from sessions.services.recording_check import Verdict
from sessions.states import RecordingState
from tests.recording.keeping import kept_copy, local, verify
from tests.services import stage
from tests.services.scene import Scene, last, refused, tags
from tests.support.fault_proxy import FaultProxy
from tests.support.object_store import ObjectStoreServer, objects, use

MONTH = {"retention_days": 30}


@pytest.fixture(autouse=True)
def _own_disk(settings: Any, tmp_path: Path) -> None:
    stage.keep_in(settings, tmp_path)


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStoreServer]:
    running = ObjectStoreServer()
    yield running
    running.close()


def sealed(scene: Scene, **playbook: Any) -> SSHSession:
    """A sealed session with a kept copy, under a playbook that says this of its recordings."""
    scene.playbook(**playbook)
    session = stage.sealed(scene, scene.granted())
    kept_copy(scene, session)
    return session


def judged(scene: Scene, session: SSHSession) -> None:
    """The grant ends, its review is signed, the incident closed."""
    grant = Grant.objects.get(pk=session.grant_id)
    grants.release(grant.pk, scene.cast.rita, scene.now)
    services.open_due_reviews(scene.now)
    vera, now = scene.cast.vera, scene.time.forward(seconds=30)
    services.sign_review(Review.objects.get(grant=grant).pk, vera, "in_order", "", scene.code(vera), now)
    incidents.close(scene.incident.pk, scene.cast.rita, scene.now)


def over(scene: Scene, **playbook: Any) -> SSHSession:
    """As `sealed`, judged, and a day past its month."""
    session = sealed(scene, **(playbook or MONTH))
    judged(scene, session)
    scene.time.forward(days=31)
    return session


def row(session: SSHSession) -> Recording:
    return Recording.objects.get(session=session)


def replay(scene: Scene, session: SSHSession) -> bytes:
    return b"".join(services.open_replay(session.pk, scene.cast.vera, scene.now))


# --- how long


def test_the_playbook_says_how_long_else_the_installation_else_for_ever(scene: Scene, settings: Any) -> None:
    assert row(sealed(scene)).keep_until is None
    settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"retention_days": 7})
    session = sealed(scene, purpose="Get it going again soon")
    assert row(session).keep_until == session.ended_at + timedelta(days=7)
    session = sealed(scene, **MONTH)
    assert row(session).keep_until == session.ended_at + timedelta(days=30)


def test_what_is_kept_for_ever_is_never_deleted(scene: Scene) -> None:
    session = sealed(scene)
    judged(scene, session)
    scene.time.forward(days=36500)
    assert services.delete_due(scene.now) == 0
    assert len(local(session)) == 2


def test_under_an_open_finding_nothing_goes(scene: Scene) -> None:
    of_another = sealed(scene, **MONTH)
    session = over(scene)
    review = Review.objects.get(grant=session.grant_id)
    facts = {"review": review, "category": "other", "severity": "low", "text": "x", "author": scene.cast.vera}
    whole = Finding.objects.create(session=None, created_at=scene.now, **facts)
    one = Finding.objects.create(session=session, created_at=scene.now, **facts)
    assert services.delete_due(scene.now) == 0
    Finding.objects.filter(pk=whole.pk).update(closed_at=scene.now)
    assert services.delete_due(scene.now) == 0
    assert not retention._decide(session.pk, scene.now), "nor where it came after the look"
    Finding.objects.filter(pk=one.pk).update(withdrawn_at=scene.now)
    assert services.delete_due(scene.now) == 1
    assert (local(session), len(local(of_another))) == ([], 2)


# --- deleted


def test_past_its_time_everything_goes_and_the_trail_says_what(scene: Scene) -> None:
    session = over(scene)
    digest = row(session).sha256
    assert services.delete_due(scene.now) == 1
    found = row(session)
    assert (found.state, found.deleted_at) == (RecordingState.DELETED, scene.now)
    assert found.manifest
    assert local(session) == []
    assert not store().kept_folder(session.pk).exists()
    decided, gone = last("recording:deleted"), last("recording:erased")
    assert decided.seq < gone.seq
    assert (decided.data["sha256"], decided.data["kept_copies"]) == (digest, 1)
    assert (gone.data["sha256"], gone.data["local_files"], gone.data["remote_files"]) == (digest, 2, 0)
    assert services.delete_due(scene.now) == 0
    assert tags(session).count("recording:deleted") == tags(session).count("recording:erased") == 1
    assert audit.verify().ok


def test_a_day_before_nothing_goes(scene: Scene) -> None:
    session = sealed(scene, **MONTH)
    judged(scene, session)
    scene.time.forward(days=29)
    assert services.delete_due(scene.now) == 0
    assert len(local(session)) == 2


def test_replay_and_kept_copies_say_that_it_was_deleted_and_check_calls_it_so(scene: Scene) -> None:
    session = over(scene)
    services.delete_due(scene.now)
    with refused(Code.RECORDING_DELETED) as said:
        replay(scene, session)
    assert "deleted by policy on 2026-" in said[0].message
    with refused(Code.RECORDING_DELETED):
        services.open_kept_copy(session.pk, "9.1", scene.cast.vera, scene.now)
    assert verify(session.label) == (0, f"DELETED  {session.label}")
    assert verify("--all")[0] == 0


def test_a_missing_file_without_such_a_row_is_damage(scene: Scene) -> None:
    session = over(scene)
    holdings.remove_local(session.pk)
    assert verify(session.label)[0] == 1
    Recording.objects.filter(session=session).update(
        state=RecordingState.DELETED, deleted_at=scene.now, local_removed_at=scene.now
    )
    assert verify(session.label)[0] == 1, "the database alone isn't believed"


def test_a_deleted_one_whose_file_came_back_is_noticed(scene: Scene) -> None:
    session = over(scene)
    path = store().sealed_path(session.pk)
    content = path.read_bytes()
    services.delete_due(scene.now)
    path.write_bytes(content)
    assert verify(session.label)[0] == 1


def test_what_the_row_of_another_recording_says_counts_for_nothing(scene: Scene) -> None:
    session = over(scene)
    services.delete_due(scene.now)
    Recording.objects.filter(session=session).update(sha256="0" * 64)
    assert verify(session.label)[0] == 1


# --- never


@pytest.mark.parametrize("left", ["the grant", "the review", "the incident"])
def test_what_somebody_still_has_to_judge_stays(scene: Scene, left: str) -> None:
    session = sealed(scene, **MONTH)
    if left == "the review":
        grants.release(session.grant_id, scene.cast.rita, scene.now)
        services.open_due_reviews(scene.now)
    if left == "the incident":
        grants.release(session.grant_id, scene.cast.rita, scene.now)
        services.open_due_reviews(scene.now)
        review, vera = Review.objects.get(grant_id=session.grant_id), scene.cast.vera
        services.sign_review(review.pk, vera, "in_order", "", scene.code(vera), scene.now)
    if left != "the incident":
        # It can't be closed before the review is signed; even if it were:
        Incident.objects.update(closed_at=scene.now, closed_by=scene.cast.rita)
    scene.time.forward(days=31)
    assert services.delete_due(scene.now) == 0
    assert len(local(session)) == 2


def test_a_playbook_may_hold_what_it_records(scene: Scene) -> None:
    session = over(scene, retention_days=30, legal_hold=True)
    found = row(session)
    assert (found.held_by, found.hold_reason) == (
        None,
        f"playbook {scene.version.slug} v{scene.version.version}",
    )
    assert last("recording:held").data["reason"] == found.hold_reason
    assert services.delete_due(scene.now) == 0
    services.unhold(session.pk, scene.cast.otto, "the case is over", scene.now)
    assert services.delete_due(scene.now) == 1


def test_a_hold_keeps_it_until_it_is_lifted(scene: Scene) -> None:
    session = over(scene)
    held = services.hold(session.pk, scene.cast.otto, "a claim was announced", scene.now)
    assert (held.held_by, held.held_at, held.hold_reason) == (
        scene.cast.otto,
        scene.now,
        "a claim was announced",
    )
    assert last("recording:held").actor_name == "otto"
    assert services.delete_due(scene.now) == 0
    services.unhold(session.pk, scene.cast.otto, "the claim was withdrawn", scene.now)
    told = last("recording:unheld")
    assert (told.actor_name, told.data["reason"]) == ("otto", "the claim was withdrawn")
    assert services.delete_due(scene.now) == 1


@pytest.mark.parametrize("who", ["rita", "ada", "vera", "admin", "sam", "rob"])
def test_only_an_auditor_holds_or_lifts(scene: Scene, who: str) -> None:
    session = sealed(scene)
    for verb in (services.hold, services.unhold):
        with refused(Code.NOT_FOUND if who in ("sam", "rob") else Code.NOT_ALLOWED):
            verb(session.pk, getattr(scene.cast, who), "because", scene.now)


def test_an_auditor_who_decided_on_the_request_leaves_it_to_another(scene: Scene) -> None:
    session = sealed(scene)
    scene.cast.ada.groups.add(*scene.cast.otto.groups.all())
    with refused(Code.NOT_ALLOWED):
        services.hold(session.pk, scene.cast.ada, "because", scene.now)


def test_a_hold_takes_a_reason_and_is_placed_and_lifted_once(scene: Scene) -> None:
    session, otto = sealed(scene, **MONTH), scene.cast.otto
    for verb in (services.hold, services.unhold):
        with refused(Code.BAD_INPUT):
            verb(session.pk, otto, "  ", scene.now)
    with refused(Code.RECORDING_HOLD):
        services.unhold(session.pk, otto, "nothing to lift", scene.now)
    services.hold(session.pk, otto, "first", scene.now)
    with refused(Code.RECORDING_HOLD):
        services.hold(session.pk, otto, "second", scene.now)
    assert row(session).hold_reason == "first"


def test_what_was_deleted_cant_be_held(scene: Scene) -> None:
    session = over(scene)
    services.delete_due(scene.now)
    with refused(Code.RECORDING_DELETED):
        services.hold(session.pk, scene.cast.otto, "too late", scene.now)


def test_a_live_session_can_be_held_before_it_is_sealed(scene: Scene, grant: Grant) -> None:
    session = stage.ended(scene, grant)
    services.hold(session.pk, scene.cast.otto, "at once", scene.now)
    services.seal_recording(session.pk, scene.now)
    assert row(session).hold_reason == "at once"


def test_a_hold_that_comes_between_the_look_and_the_deletion_wins(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = over(scene)
    decide = retention._decide

    def late(*arguments: Any) -> bool:
        services.hold(session.pk, scene.cast.otto, "just in time", scene.now)
        return decide(*arguments)

    monkeypatch.setattr(retention, "_decide", late)
    assert services.delete_due(scene.now) == 0
    assert row(session).state == RecordingState.SEALED
    assert len(local(session)) == 2


def test_a_hold_that_comes_while_it_is_sealed_keeps_its_reason(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.playbook(legal_hold=True)
    session = stage.ended(scene, scene.granted())
    terms_of = retention.terms_of

    def late(*arguments: Any) -> Any:
        found = terms_of(*arguments)
        services.hold(session.pk, scene.cast.otto, "just in time", scene.now)
        return found

    monkeypatch.setattr(retention, "terms_of", late)
    services.seal_recording(session.pk, scene.now)
    assert (row(session).hold_reason, row(session).held_by) == ("just in time", scene.cast.otto)
    assert tags(session).count("recording:held") == 1


def test_what_is_deleted_while_it_is_opened_was_deleted_and_isnt_damaged(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = over(scene)
    open_file = holdings.open_file

    def late(*arguments: Any) -> Any:
        services.delete_due(scene.now)
        return open_file(*arguments)

    monkeypatch.setattr(holdings, "open_file", late)
    with refused(Code.RECORDING_DELETED):
        replay(scene, session)
    with refused(Code.RECORDING_DELETED):
        services.open_kept_copy(session.pk, "9.1", scene.cast.vera, scene.now)
    assert "recording:damaged" not in tags(session)


def test_a_check_that_began_before_the_seal_or_the_deletion_finds_what_became_of_it(scene: Scene) -> None:
    scene.playbook(**MONTH)
    session = stage.ended(scene, scene.granted())
    before = Recording.objects.select_related("session").get(session=session)
    assert services.seal_recording(session.pk, scene.now)
    assert recording_check.check(before).verdict is Verdict.INTACT
    judged(scene, session)
    scene.time.forward(days=31)
    before = Recording.objects.select_related("session").get(session=session)
    services.delete_due(scene.now)
    assert recording_check.check(before).verdict is Verdict.DELETED


def test_a_newer_wrap_that_goes_between_two_looks_is_known_all_the_same(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = sealed(scene)
    path = store().sealed_path(session.pk)
    keyring.beside(path).write_bytes(b"a newer wrap")
    opened = Path.open

    def late(self: Path, *arguments: Any, **more: Any) -> Any:
        found = opened(self, *arguments, **more)
        if self == path:
            keyring.beside(path).unlink()
        return found

    monkeypatch.setattr(Path, "open", late)
    found = holdings.open_file(row(session), path)
    found.source.close()
    assert found.newer_wrap == b"a newer wrap"


# --- crashes, and the object store


@pytest.mark.parametrize("where", ["remove_local", "between", "commit"])
def test_a_crash_in_the_middle_is_finished_and_never_untold(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    session = over(scene)
    with monkeypatch.context() as dead:
        if where == "remove_local":
            dead.setattr(holdings, "remove_local", _die)
        elif where == "between":
            dead.setattr(Path, "rmdir", _die)
        else:
            append = audit.append

            def die_at_last(tag: Any, **facts: Any) -> Any:
                return _die() if tag.endswith("erased") else append(tag, **facts)

            dead.setattr(audit, "append", die_at_last)
        with pytest.raises(KeyboardInterrupt):
            services.delete_due(scene.now)
    assert last("recording:deleted").data["sha256"] == row(session).sha256
    with refused(Code.RECORDING_DELETED):
        replay(scene, session)
    assert verify(session.label)[0] == 0
    assert services.delete_due(scene.now) == 1
    assert local(session) == []
    assert tags(session).count("recording:deleted") == tags(session).count("recording:erased") == 1


def test_what_is_stored_elsewhere_is_deleted_there(
    scene: Scene, server: ObjectStoreServer, settings: Any
) -> None:
    server.empty()
    use(settings, server.url())
    session = sealed(scene, **MONTH)
    other = stage.sealed(scene, session.grant)
    Recording.objects.filter(session=other).update(keep_until=None)
    judged(scene, session)
    services.store_due(lambda: scene.now)
    assert len(objects(settings)) == 3
    scene.time.forward(days=31)
    with FaultProxy("127.0.0.1", server.port) as proxy:
        proxy.cut(refuse=True)
        use(settings, server.url(proxy.port))
        assert services.delete_due(scene.now) == 0
        assert str(session.pk) in row(session).store_problem
        assert verify(session.label) == (0, f"DELETED  {session.label}")
    use(settings, server.url())
    assert services.delete_due(scene.now) == 1
    assert list(objects(settings)) == [f"sealed/{other.pk}.cast.sealed"]
    assert last("recording:erased").data["remote_files"] == 2
    assert verify("--all")[0] == 0


def test_what_was_sent_while_it_was_deleted_elsewhere_is_removed_all_the_same(
    scene: Scene, server: ObjectStoreServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.empty()
    use(settings, server.url())
    session = over(scene)
    send = storing._send

    def slow(*arguments: Any) -> Any:
        pieces = send(*arguments)
        with monkeypatch.context() as elsewhere:  # on another machine, which has seen nothing in the store
            elsewhere.setattr(holdings, "remove_remote", lambda *_: 0)
            elsewhere.setattr(holdings, "alone", lambda **_: nullcontext(True))
            assert services.delete_due(scene.now) == 1
        return pieces

    monkeypatch.setattr(storing, "_send", slow)
    assert not storing.store_recording(session.pk, lambda: scene.now)
    services.delete_due(scene.now)
    assert not list(objects(settings))
    assert verify(session.label)[0] == 0


def test_what_a_store_doesnt_let_go_of_isnt_called_gone(
    scene: Scene, server: ObjectStoreServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.empty()
    use(settings, server.url())
    session = over(scene)
    services.store_due(lambda: scene.now)
    monkeypatch.setattr("sessions.services.remote.Remote.delete", lambda self, name: None)
    assert services.delete_due(scene.now) == 0
    assert "still there" in row(session).store_problem
    assert "recording:erased" not in tags(session)


def _die(*_: object) -> Any:
    raise KeyboardInterrupt
