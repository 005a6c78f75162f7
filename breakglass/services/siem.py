"""Sends the audit trail's rows to each receiver, at least once and in order, and goes on where it was after an outage."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import models, transaction

from breakglass.domain.audit import AuditTag
from breakglass.models import AuditEvent, AuditHead, AuditStream
from breakglass.queries import people_in
from breakglass.services import audit, notices
from breakglass.services.siem_receivers import Address, NotReceived, Row

AT_ONCE = 500
MOST_BYTES = 256 * 1024
LONGEST_PAUSE = 30.0
AWAY = timedelta(minutes=10)
WATCHMEN = ("auditors", "administrators")
SUBJECT = "audit:stream"
_LINE_ENDS = "\x85\u2028\u2029"

log = logging.getLogger(__name__)


class Stream:
    """One receiver's stream. One process at a time; whoever runs two sends rows twice, and loses none."""

    def __init__(self, address: Address) -> None:
        """Where the receiver was left; a new one begins with the first row, or where it asked for that with the next."""
        start = AuditHead.objects.get(id=1).seq if address.from_now else 0
        self._row = AuditStream.objects.get_or_create(name=address.name, defaults={"seq": start})[0]
        self._receiver = address.receiver()
        self._sent = self._row.seq
        self._failures = 0
        self._not_before = 0.0
        self._most = AT_ONCE

    @property
    def is_level(self) -> bool:
        """Whether it is known to have what was sent."""
        return self._sent == self._row.seq and not self._failures

    def turn(self, now: datetime, seconds: float) -> bool:
        """Send what is new, once. True when there was something. `seconds`: a clock that only goes on."""
        if seconds < self._not_before:
            return False
        try:
            rows = _rows_after(self._sent, self._most)
            if rows:
                self._receiver.send(rows)
                self._sent = rows[-1].seq
            self._keep(self._receiver.received(), now)
        except NotReceived as why:
            self._fail(str(why), now, seconds)
            return False
        return bool(rows)

    def close(self) -> None:
        self._receiver.close()

    def _keep(self, received: int, now: datetime) -> None:
        row = self._row
        if received <= row.seq:
            return
        since, was_away = row.failing_since, row.alarmed_at is not None
        row.seq, row.sent_at, row.problem = received, now, ""
        row.failing_since = row.alarmed_at = None
        row.save()
        self._failures = 0
        self._most = min(AT_ONCE, self._most + max(1, self._most // 8))
        if was_away:
            data = {"receiver": row.name, "away_since": since, "seq": row.seq}
            audit.record(AuditTag.STREAM_BACK, actor=None, subject=SUBJECT, now=now, data=data)

    def _fail(self, why: str, now: datetime, seconds: float) -> None:
        row = self._row
        if self._failures == 0:
            log.warning("%s takes no audit rows, row %d is its last: %s", row.name, row.seq, why)
        self._failures += 1
        self._most = max(1, self._most // 4)  # a slow one, or one with a limit, gets on all the same
        self._not_before = seconds + min(LONGEST_PAUSE, 0.5 * 2.0 ** min(self._failures, 8))
        self._sent = row.seq
        row.problem = why[:300]
        row.failing_since = row.failing_since or now
        alarm = row.alarmed_at is None and now - row.failing_since >= AWAY
        if alarm:
            row.alarmed_at = now
        row.save()
        if alarm:
            _alarm(row, now)


def behind(head: int) -> models.QuerySet[AuditStream]:
    """All receivers, each with `.behind`: how many of the trail's `head` rows it isn't known to have."""
    return AuditStream.objects.annotate(behind=models.Value(head) - models.F("seq"))


def _rows_after(seq: int, most: int) -> Sequence[Row]:
    found = AuditEvent.objects.filter(seq__gt=seq).order_by("seq").only("seq", "at", "tag", "body", "hash")
    rows: list[Row] = []
    size = 0
    for row in found[:most]:
        rows.append(Row(row.seq, row.at, row.tag, line_of(row.body, row.hash)))
        size += len(row.body)
        if size >= MOST_BYTES:
            break
    return rows


def line_of(body: bytes, digest: str) -> bytes:
    """The row as one line of JSON: the body as it was hashed, and the hash as its last member.

    Without `,"hash":"..."` before the last brace it is the body again, but for Unicode's own line ends, which many
    readers of lines would break at: they are escaped, and raw in what was hashed.
    """
    for end in _LINE_ENDS if not body.isascii() else ():
        body = body.replace(end.encode(), b"\\u%04x" % ord(end))
    return body[:-1] + b',"hash":"' + digest.encode() + b'"}'


def _alarm(row: AuditStream, now: datetime) -> None:
    with transaction.atomic():
        notices.queue(
            people_in(WATCHMEN),
            topic="audit",
            subject=f"The audit stream doesn't reach {row.name}",
            body=f"{row.name} has taken no row since {row.failing_since:%Y-%m-%d %H:%M} UTC: {row.problem}.\n"
            f"Row {row.seq} is the last that it is known to have. Nothing is lost: it goes on there by itself.",
            path="/audit/",
            now=now,
        )
        data = {"receiver": row.name, "problem": row.problem, "since": row.failing_since, "seq": row.seq}
        audit.append(AuditTag.STREAM_AWAY, actor=None, subject=SUBJECT, now=now, data=data)
