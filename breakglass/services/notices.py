"""Telling people: a row with the change, a mail after it. A mail holds no secret and its link changes nothing."""

from __future__ import annotations

import smtplib
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import Q

from breakglass import doorbell, later
from breakglass.domain.audit import AuditTag
from breakglass.domain.text import one_line, plain
from breakglass.models import Notice, Person
from breakglass.services import audit

CLAIM = timedelta(seconds=60)
LONGEST_PAUSE = timedelta(minutes=10)
MOST_BODY = 8000


def queue(people: Iterable[Person], *, topic: str, subject: str, body: str, path: str, now: datetime) -> None:
    """One notice for each person, in the caller's transaction; mails go out after it commits."""
    rows = [
        Notice(
            person=person,
            topic=topic,
            subject=one_line(subject, 160),
            body=plain(body, MOST_BODY),
            path=path,
            created_at=now,
            next_try_at=now,
        )
        for person in {person.pk: person for person in people}.values()
    ]
    Notice.objects.bulk_create(rows)
    if rows:
        doorbell.ring("inbox", about=topic)
        later.ask("breakglass.send_notices")


def deliver_due(now: datetime) -> int:
    """Send what is due, each at most once at a time; what fails is tried again, ever more slowly. Returns how many went."""
    sent = 0
    for notice in Notice.objects.filter(sent_at=None, next_try_at__lte=now).order_by("created_at")[:100]:
        claimed = Notice.objects.filter(pk=notice.pk, sent_at=None, next_try_at=notice.next_try_at)
        if claimed.update(next_try_at=now + CLAIM) and _deliver(notice, now):
            sent += 1
    return sent


def mark_seen(person: Person, now: datetime) -> None:
    Notice.objects.filter(person=person, seen_at=None).update(seen_at=now)


def undelivered(now: datetime) -> Iterable[Notice]:
    """What could not be sent so far, for whoever looks after the broker."""
    return Notice.objects.filter(~Q(problem=""), sent_at=None).select_related("person")


def _deliver(notice: Notice, now: datetime) -> bool:
    problem = _send(notice)
    if problem:
        notice.tries += 1
        notice.problem = problem[:300]
        notice.next_try_at = now + min(LONGEST_PAUSE, timedelta(seconds=10 * 2 ** min(notice.tries, 10)))
        with transaction.atomic():
            notice.save(update_fields=("tries", "problem", "next_try_at"))
            if notice.tries == 1:
                audit.append(
                    AuditTag.NOTICE_FAILED,
                    actor=None,
                    subject=notice,
                    now=now,
                    data={"problem": notice.problem},
                )
        return False
    Notice.objects.filter(pk=notice.pk).update(sent_at=now, problem="")
    return True


def _send(notice: Notice) -> str:
    """Why the mail could not be sent; empty when it was, or when the person has no address and reads the page."""
    if not notice.person.email:
        return ""
    link = f"{settings.BREAKGLASS.public_url}{notice.path}"
    text = f"{notice.body}\n\n{link}\n\nOpening the link changes nothing; you decide on the page, with your second factor.\n"
    try:
        EmailMessage(f"[Breakglass] {notice.subject}", text, to=[notice.person.email]).send()
    except (OSError, smtplib.SMTPException, ValueError) as error:
        # ValueError: an address or a header that can't be written. One such notice holds up no other.
        return str(error) or type(error).__name__
    return ""
