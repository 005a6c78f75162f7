"""Bearer tokens for the REST API: shown once, stored as SHA-256."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.text import one_line
from breakglass.models import ApiToken, Person
from breakglass.services import audit, step_up
from breakglass.services.step_up import Answer

PREFIX = "bgt_"
LIFE = timedelta(days=90)


def issue(person: Person, label: str, answer: Answer, now: datetime) -> tuple[ApiToken, str]:
    """A token and its secret, which is shown once, for a fresh second factor. It lives for 90 days."""
    proof = step_up.verify(person, "issue token", label, answer, now)
    return _issue(person, label, proof.name, now)


def issue_known(person: Person, label: str, now: datetime) -> tuple[ApiToken, str]:
    """As `issue` without a second factor, for a demo or the operator."""
    return _issue(person, label, "operator", now)


def authenticate(secret: str, now: datetime) -> Person | None:
    """Whose token this is, or None when it is unknown, revoked, past its end or its person is disabled."""
    token = (
        ApiToken.objects.select_related("person")
        .filter(sha256=_hash(secret), revoked_at=None, expires_at__gt=now, person__is_active=True)
        .first()
    )
    if token is None:
        return None
    # A write a minute at most: reads of the API shouldn't fight over the database.
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - timedelta(minutes=1))
    ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
    return token.person


def revoke(person: Person, token_id: UUID, now: datetime) -> None:
    """The token is useless from now on. Raises Refused `not_found` for another's."""
    with transaction.atomic():
        if not ApiToken.objects.filter(pk=token_id, person=person, revoked_at=None).update(revoked_at=now):
            raise refuse(RefusalCode.NOT_FOUND, what="token")
        audit.append(AuditTag.TOKEN_REVOKED, actor=person, subject=f"apitoken:{token_id}", now=now)


def _issue(person: Person, label: str, factor: str, now: datetime) -> tuple[ApiToken, str]:
    secret = PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        token = ApiToken.objects.create(
            person=person,
            label=one_line(label, 80) or "token",
            sha256=_hash(secret),
            created_at=now,
            expires_at=now + LIFE,
        )
        audit.append(AuditTag.TOKEN_ISSUED, actor=person, subject=token, now=now, data={"factor": factor})
    return token, secret


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
