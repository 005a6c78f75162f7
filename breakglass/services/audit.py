"""The one writer of audit rows, and the check of the chain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import models, transaction

from breakglass.domain.audit import GENESIS, AuditTag, Entry, link
from breakglass.domain.refusals import Refused
from breakglass.models import AuditEvent, AuditHead, Person

SYSTEM = "system:breakglass"
STRANGER = "stranger:"


def append(
    tag: AuditTag,
    *,
    actor: Person | str | None,
    subject: models.Model | str,
    now: datetime,
    data: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """One row at the end of the chain, in the caller's transaction: both commit, or neither.

    `actor` None means the broker itself; a string is a stranger's claim. Raises `TransactionManagementError`
    outside a transaction.
    """
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError("an audit row commits with the change that it tells of")
    head = AuditHead.objects.select_for_update().get(id=1)
    actor_word, actor_name = _actor(actor)
    entry = Entry(
        seq=head.seq + 1,
        at=now.astimezone(UTC),
        tag=str(tag),
        actor=actor_word,
        subject=subject if isinstance(subject, str) else name_of(subject),
        data={key: _plain(value) for key, value in (data or {}).items()},
    )
    row = AuditEvent(
        seq=entry.seq,
        at=entry.at,
        tag=entry.tag,
        actor=entry.actor,
        actor_name=actor_name,
        subject=entry.subject,
        data=dict(entry.data),
        previous_hash=head.hash,
        hash=link(head.hash, _hashed(entry, actor_name)),
    )
    row.save()
    head.seq, head.hash = row.seq, row.hash
    head.save(update_fields=("seq", "hash"))
    return row


def record(
    tag: AuditTag,
    *,
    actor: Person | str | None,
    subject: models.Model | str,
    now: datetime,
    data: Mapping[str, Any] | None = None,
) -> None:
    """A row about something that changed nothing else, such as a refusal or a viewing."""
    with transaction.atomic():
        append(tag, actor=actor, subject=subject, now=now, data=data)


def record_refusal(
    tag: AuditTag,
    refused: Refused,
    *,
    actor: Person | str | None,
    subject: models.Model | str,
    now: datetime,
    **data: Any,
) -> None:
    """The audit row of a no, with its code and the words that the person read."""
    refusal = refused.refusal
    record(
        tag,
        actor=actor,
        subject=subject,
        now=now,
        data={"refusal": str(refusal.code), "message": refusal.message, **data},
    )


def name_of(subject: models.Model) -> str:
    """How the trail names an object: `kind:id`."""
    return f"{subject._meta.model_name}:{subject.pk}"


@dataclass(frozen=True)
class VerifyResult:
    """`problem` is empty when the whole chain holds; else it says what is wrong with row `broken_seq`."""

    rows: int
    head: str
    broken_seq: int | None = None
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem


def verify() -> VerifyResult:
    """Walk the whole chain from its first row. Names the first row that is missing, changed, or not expected."""
    with transaction.atomic():
        head = AuditHead.objects.get(id=1)
        previous, count = GENESIS, 0
        for row in AuditEvent.objects.filter(seq__lte=head.seq).order_by("seq").iterator(chunk_size=2000):
            count += 1
            if row.seq != count:
                return VerifyResult(count - 1, previous, count, f"row {count} is missing")
            if row.previous_hash != previous:
                return VerifyResult(
                    count, previous, row.seq, f"row {row.seq} doesn't follow the row before it"
                )
            if row.hash != link(previous, _entry_of(row)):
                return VerifyResult(
                    count, previous, row.seq, f"row {row.seq} was changed after it was written"
                )
            previous = row.hash
        if count != head.seq:
            return VerifyResult(
                count, previous, count + 1, f"row {count + 1} is missing; the chain has {head.seq}"
            )
        if previous != head.hash:
            return VerifyResult(count, previous, count, "the head of the chain doesn't name its last row")
        extra = AuditEvent.objects.filter(seq__gt=head.seq).order_by("seq").first()
        if extra is not None:
            return VerifyResult(count, previous, extra.seq, f"row {extra.seq} was added outside the chain")
    return VerifyResult(count, previous)


def _entry_of(row: AuditEvent) -> Entry:
    entry = Entry(seq=row.seq, at=row.at, tag=row.tag, actor=row.actor, subject=row.subject, data=row.data)
    return _hashed(entry, row.actor_name)


def _hashed(entry: Entry, actor_name: str) -> Entry:
    actor = f"{entry.actor} {actor_name}" if actor_name else entry.actor
    return Entry(entry.seq, entry.at, entry.tag, actor, entry.subject, entry.data)


def _actor(actor: Person | str | None) -> tuple[str, str]:
    if actor is None:
        return SYSTEM, ""
    if isinstance(actor, str):
        # What a stranger typed, tamed: it may be a password in the wrong field or a terminal's escape codes.
        return (STRANGER + re.sub(r"[^A-Za-z0-9._@+-]", "?", actor))[:64], ""
    return f"person:{actor.pk}", actor.username


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, models.Model):
        return str(value.pk)
    if isinstance(value, str):
        # PostgreSQL's jsonb takes no NUL; lone surrogates can't be hashed.
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [
            _plain(item) for item in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)
        ]
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)
