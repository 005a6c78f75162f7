"""Notices: written with the change, mailed after it, tried again when that fails, without any secret."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import transaction

from breakglass import clock
from breakglass.models import AuditEvent, Notice, NoticeDelivery, NoticeRoute, Person
from breakglass.services import approvals, grants, notice_gaps, notices, people, requests
from tests.services.scene import Scene, tags
from tests.support.cast import Cast
from tests.support.clock import NOON, FrozenClock


def _queue(*persons: Person, subject: str = "Something happened", body: str = "Look.") -> None:
    with transaction.atomic():
        notices.queue(persons, topic="request:1", subject=subject, body=body, path="/requests/1/", now=NOON)


class Broken(EmailBackend):
    """A mail server that takes nothing."""

    error: Exception = OSError("connection refused")

    def send_messages(self, messages: Any) -> int:
        raise self.error


@pytest.fixture
def broken(settings: Any) -> type[Broken]:
    settings.EMAIL_BACKEND = f"{__name__}.Broken"
    Broken.error = OSError("connection refused")
    return Broken


def test_each_person_gets_one_mail_with_a_link_that_changes_nothing(cast: Cast) -> None:
    _queue(cast.ada, cast.ben, cast.ada)
    assert notices.deliver_due(NOON) == 2
    assert notices.deliver_due(NOON + timedelta(hours=1)) == 0
    assert {message.to[0] for message in mail.outbox} == {"ada@plant.example", "ben@plant.example"}
    body = mail.outbox[0].body
    assert "/requests/1/" in body
    assert "changes nothing" in body
    assert mail.outbox[0].subject == "[Breakglass] Something happened"


def test_who_has_no_address_is_shown_to_whoever_can_tell_them(cast: Cast) -> None:
    Person.objects.filter(pk=cast.ada.pk).update(email="")
    cast.ada.refresh_from_db()
    _queue(cast.ada)
    assert notices.deliver_due(NOON) == 0
    assert mail.outbox == []
    (gap,) = notice_gaps.about("request:1", NOON)
    assert gap.says == "Ada Novak couldn't be told by mail: no address is known here. Tell them by phone."
    notices.mark_seen(cast.ada, NOON)
    assert notice_gaps.about("request:1", NOON) == []


def test_what_fails_is_tried_again_ever_more_slowly_and_in_the_trail_once(
    cast: Cast, broken: type[Broken]
) -> None:
    _queue(cast.ada)
    now, pauses = NOON, []
    for _ in range(9):
        assert notices.deliver_due(now) == 0
        delivery = NoticeDelivery.objects.get()
        assert delivery.next_try_at
        pauses.append((delivery.next_try_at - now).total_seconds())
        assert notices.deliver_due(now) == 0  # not before its time
        now = delivery.next_try_at
    assert pauses == [20, 40, 80, 160, 320, 600, 600, 600, 600]
    assert "refused" in delivery.problem
    assert tags().count("notice:failed") == 1
    (gap,) = notice_gaps.everywhere(now)
    assert gap.says == "Ada Novak couldn't be told by mail (connection refused). Tell them by phone."


def test_it_goes_out_when_the_mail_server_is_back(cast: Cast, broken: type[Broken], settings: Any) -> None:
    _queue(cast.ada)
    notices.deliver_due(NOON)
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert notices.deliver_due(NOON + timedelta(seconds=20)) == 1
    assert len(mail.outbox) == 1
    assert notice_gaps.everywhere(NOON) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError("no route"),
        TimeoutError(),
        smtplib.SMTPServerDisconnected("gone"),
        smtplib.SMTPRecipientsRefused({"a": (550, b"no")}),
        ValueError("a header that can't be written"),
        UnicodeEncodeError("ascii", "ü", 0, 1, "no"),
    ],
)
def test_no_failure_of_one_holds_up_another(cast: Cast, broken: type[Broken], error: Exception) -> None:
    broken.error = error
    _queue(cast.ada, cast.ben)
    assert notices.deliver_due(NOON) == 0
    assert NoticeDelivery.objects.exclude(problem="").count() == 2


def test_a_claim_lasts_from_when_it_is_made(
    cast: Cast, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow the mails before it were."""
    passed, claims = [0.0], []

    class Slow(EmailBackend):
        def send_messages(self, messages: Any) -> int:
            claims.append(NoticeDelivery.objects.filter(sent_at=None).latest("next_try_at").next_try_at)
            passed[0] += 20
            return 1

    monkeypatch.setattr(mail, "get_connection", lambda *_, **__: Slow())
    monkeypatch.setattr(clock, "monotonic", lambda: passed[0])
    _queue(cast.ada, cast.ben)
    assert notices.deliver_due(NOON) == 2
    assert claims == [NOON + notices.CLAIM, NOON + notices.CLAIM + timedelta(seconds=20)]


def test_a_way_that_another_pass_began_meanwhile_is_one_way(
    cast: Cast, broken: type[Broken], monkeypatch: pytest.MonkeyPatch
) -> None:
    _queue(cast.ada)
    NoticeDelivery.objects.update(tries=1)
    route = NoticeRoute.objects.create(name="ot-oncall", kind="json", url=b"", created_at=NOON)

    def left(notice: Notice, now: datetime) -> Iterator[NoticeRoute]:
        NoticeDelivery.objects.create(notice=notice, route=route, next_try_at=now)
        yield route

    monkeypatch.setattr(notices, "_ways_left", left)
    assert notices.deliver_due(NOON) == 0
    assert NoticeDelivery.objects.filter(route=route).count() == 1


def test_a_line_break_in_a_name_doesnt_break_a_mail(cast: Cast) -> None:
    """Header injection, and a poisoned queue: neither."""
    _queue(cast.ada, subject="Rita\nBcc: all@plant.example\r\n asks", body="x\x00y\ud800")
    _queue(cast.ben)
    assert notices.deliver_due(NOON) == 2
    sent = {message.to[0]: message for message in mail.outbox}
    assert sent["ada@plant.example"].subject == "[Breakglass] Rita Bcc: all@plant.example asks"
    assert sent["ada@plant.example"].bcc == []


def test_no_mail_holds_a_secret(scene: Scene) -> None:
    grant = scene.granted()
    scene.time.forward(seconds=30)
    denied = scene.asked()
    approvals.deny(denied.pk, scene.cast.ben, scene.code(scene.cast.ben), "not now", scene.now)
    requests.escalate_due(scene.asked().escalates_at)
    requests.lapse_due(scene.now + timedelta(hours=1))
    grants.expire_due(scene.now + timedelta(hours=2))
    text = "\n".join(f"{notice.subject} {notice.body} {notice.path}" for notice in Notice.objects.all())
    assert Notice.objects.count() > 8
    assert f"/requests/{grant.request_id}/" in text
    for person in scene.cast.people.values():
        assert scene.cast.password(person) not in text
        assert scene.code(person) not in text
    for word in ("password", "otp", "token", "secret", "otpauth"):
        assert word not in text.lower().replace("second factor", "")


def test_a_notice_comes_with_its_change_or_not_at_all(cast: Cast, time: FrozenClock) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        notices.queue([cast.ada], topic="x", subject="x", body="x", path="/", now=time.now)
        raise ZeroDivisionError
    assert not Notice.objects.exists()


def test_seen_is_seen_by_its_person_only(cast: Cast) -> None:
    _queue(cast.ada, cast.ben)
    notices.mark_seen(cast.ada, NOON)
    assert set(Notice.objects.filter(seen_at=None).values_list("person__username", flat=True)) == {"ben"}


def test_a_disabled_person_is_asked_nothing(scene: Scene) -> None:
    people.disable(scene.cast.ben, by=None, now=scene.now)
    scene.asked()
    assert not Notice.objects.filter(person=scene.cast.ben).exists()
    assert AuditEvent.objects.filter(tag__endswith="person:disabled").exists()
