"""The one writer of audit rows, and the check of the chain."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import models, transaction

from breakglass.domain.audit import GENESIS, AuditTag, Entry, link
from breakglass.domain.refusals import Refused
from breakglass.domain.text import storable
from breakglass.models import AuditEvent, AuditHead, Person

SYSTEM = "system:breakglass"
STRANGER = "stranger:"
PAGE = 2000


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
    row = AuditEvent(
        seq=head.seq + 1,
        at=now.astimezone(UTC),
        tag=str(tag),
        actor=actor_word,
        actor_name=actor_name,
        subject=_plain(subject)[:80] if isinstance(subject, str) else name_of(subject),
        data=_plain(data or {}),
        previous_hash=head.hash,
    )
    row.hash = link(head.hash, _entry_of(row))
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
    """Walk the whole chain from its first row. Names the first row that is missing, changed, or not expected.

    Blocks no writer: rows that are appended meanwhile are left to the next check. A chain that was cut short
    together with its head is whole in itself; only somebody who kept an earlier `head` and `rows` can tell.
    """
    head = AuditHead.objects.filter(id=1).first()
    if head is None:
        return VerifyResult(0, GENESIS, 1, "the head of the chain is missing")
    result = _walk(head.seq)
    if not result.ok:
        return result
    if result.rows != head.seq:
        following = result.rows + 1
        return replace(
            result, broken_seq=following, problem=f"row {following} is missing; the chain has {head.seq}"
        )
    if result.head != head.hash:
        return replace(result, broken_seq=head.seq, problem="the head of the chain doesn't name its last row")
    with transaction.atomic():
        # Under the head's lock nobody is between a row and the head that names it.
        last = AuditHead.objects.select_for_update().get(id=1).seq
        extra = AuditEvent.objects.filter(seq__gt=last).order_by("seq").values_list("seq", flat=True).first()
    if extra is not None:
        return replace(result, broken_seq=extra, problem=f"row {extra} was added outside the chain")
    return result


def _walk(last_seq: int) -> VerifyResult:
    previous, count = GENESIS, 0
    for row in _rows(last_seq):
        wrong = ""
        if row.seq <= count or row.seq < 1:
            wrong = f"row {row.seq} was added outside the chain"
        elif row.seq != count + 1:
            return VerifyResult(count, previous, count + 1, f"row {count + 1} is missing")
        elif row.previous_hash != previous:
            wrong = f"row {row.seq} doesn't follow the row before it"
        elif row.hash != link(previous, _entry_of(row)):
            wrong = f"row {row.seq} was changed after it was written"
        if wrong:
            return VerifyResult(count, previous, row.seq, wrong)
        previous, count = row.hash, row.seq
    return VerifyResult(count, previous)


def _rows(last_seq: int) -> Iterator[AuditEvent]:
    """In order, page by page: a long read that holds no transaction open."""
    page = list(AuditEvent.objects.filter(seq__lte=last_seq).order_by("seq")[:PAGE])
    while page:
        yield from page
        page = list(AuditEvent.objects.filter(seq__lte=last_seq, seq__gt=page[-1].seq).order_by("seq")[:PAGE])


def _entry_of(row: AuditEvent) -> Entry:
    return Entry(row.seq, row.at, row.tag, row.actor, row.subject, row.data, row.actor_name)


def _actor(actor: Person | str | None) -> tuple[str, str]:
    if actor is None:
        return SYSTEM, ""
    if isinstance(actor, str):
        # What a stranger typed, tamed: it may be a password in the wrong field or a terminal's escape codes.
        return (STRANGER + re.sub(r"[^A-Za-z0-9._@+-]", "?", actor.removeprefix(STRANGER)))[:64], ""
    return f"person:{actor.pk}", actor.username


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, models.Model):
        return str(value.pk)
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [
            _plain(item) for item in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)
        ]
    if isinstance(value, float):
        return _number(value)
    if value is None or isinstance(value, bool | int):
        return value
    return str(value)


def _number(value: float) -> int | float | str:
    """A number that reads back the same from SQLite's text and from PostgreSQL's jsonb, so that its hash holds."""
    if not math.isfinite(value):
        return str(value)
    return int(value) if value.is_integer() else value
