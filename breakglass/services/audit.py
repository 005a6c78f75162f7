"""The one writer of audit rows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from django.db import models, transaction

from breakglass.domain.audit import AuditTag, Entry, canonical
from breakglass.domain.merkle import leaf_hash
from breakglass.domain.refusals import Refused
from breakglass.domain.text import storable
from breakglass.models import AuditEvent, AuditHead, Person
from breakglass.models.audit_event import TABLE
from breakglass.services.audit_check import VerifyResult, verify

__all__ = ["STRANGER", "SYSTEM", "VerifyResult", "append", "name_of", "record", "record_refusal", "verify"]

_COLUMNS = ("seq", "at", "tag", "actor", "actor_name", "subject", "body", "previous_hash", "hash")
_HEAD = f"SELECT seq, hash FROM {AuditHead._meta.db_table} WHERE id = 1"
_INSERT = f"INSERT INTO {TABLE} ({', '.join(_COLUMNS)}) VALUES ({', '.join(['%s'] * len(_COLUMNS))})"
_MOVE = f"UPDATE {AuditHead._meta.db_table} SET seq = %s, hash = %s WHERE id = 1"

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
    connection = transaction.get_connection()
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("an audit row commits with the change that it tells of")
    actor_word, actor_name = _actor(actor)
    subject_word = _plain(subject)[:80] if isinstance(subject, str) else name_of(subject)
    plain = _plain(data or {})
    # Raw, because every writer of the house waits for whoever is between these lines.
    with connection.cursor() as cursor:
        cursor.execute(_HEAD + (" FOR UPDATE" if connection.features.has_select_for_update else ""))
        seq, previous = cursor.fetchone() or _no_head()
        entry = Entry(seq + 1, now.astimezone(UTC), str(tag), actor_word, subject_word, plain, actor_name)
        body = canonical(entry)
        digest = leaf_hash(bytes(previous) + body)
        at = connection.ops.adapt_datetimefield_value(entry.at)
        found = (entry.seq, at, entry.tag, entry.actor, entry.actor_name, entry.subject)
        cursor.execute(_INSERT, (*found, body, previous, digest))
        cursor.execute(_MOVE, (entry.seq, digest))
    return AuditEvent.from_db(
        connection.alias,
        _COLUMNS,
        (entry.seq, entry.at, *found[2:], body, bytes(previous).hex(), digest.hex()),
    )


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


def _no_head() -> NoReturn:
    raise AuditHead.DoesNotExist("the head of the audit trail is missing; manage.py verify_audit says more")


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
    """A number that every JSON reader reads the same; what is none becomes a word."""
    if not math.isfinite(value):
        return str(value)
    return int(value) if value.is_integer() else value
