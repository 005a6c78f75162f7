"""Chat beside a session: the person of it, and whoever may watch. Part of the record, never changed.

The audit row holds the SHA-256 of the text, not the text: what somebody pasted by mistake doesn't go to every place
that the trail is sent to, and a text that was altered afterwards shows all the same.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from breakglass import doorbell
from breakglass.domain import permissions
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.text import storable, visible
from breakglass.models import Person
from breakglass.queries import actor_of
from breakglass.services import audit
from sessions.models import ChatMessage, SSHSession
from sessions.queries import session_for, thing_of_session
from sessions.states import OPEN_STATES

MOST: Final = 1000
MOST_A_MINUTE: Final = 20


def say(session_id: UUID, person: Person, text: str, now: datetime) -> ChatMessage:
    """Write beside a session that goes on. What could rewrite a terminal or hide words is shown as U+FFFD.

    Raises Refused `not_found`, `not_allowed`, `session_not_live`, and `bad_input`: empty, longer than 1000 characters, or more
    than 20 in a minute.
    """
    session = session_for(person, session_id)
    if not permissions.may(actor_of(person), Verb.CHAT_SESSION, thing_of_session(session)):
        raise refuse(
            RefusalCode.NOT_ALLOWED, verb=Verb.CHAT_SESSION, who=permissions.WHO_CAN[Verb.CHAT_SESSION]
        )
    words = visible(storable(text.strip()))
    if not words:
        raise refuse(RefusalCode.BAD_INPUT, needs=("text",), problem="Write something first.")
    if len(words) > MOST:
        problem = f"That is {len(words)} characters; {MOST} go into one message."
        raise refuse(RefusalCode.BAD_INPUT, needs=("text",), problem=problem)
    with transaction.atomic():
        running = SSHSession.objects.filter(pk=session_id, state__in=OPEN_STATES)
        # Its row is locked: two windows of one person can't both be the twentieth.
        if not running.select_for_update(no_key=True).exists():
            raise refuse(RefusalCode.SESSION_NOT_LIVE)
        recent = ChatMessage.objects.filter(
            session=session, person=person, at__gt=now - timedelta(minutes=1)
        ).count()
        if recent >= MOST_A_MINUTE:
            problem = f"You wrote {recent} messages within a minute. Wait a moment."
            raise refuse(RefusalCode.BAD_INPUT, problem=problem)
        row = ChatMessage.objects.create(session=session, person=person, at=now, text=words)
        data = {
            "session": session.label,
            "message": row.pk,
            "characters": len(words),
            "sha256": hashlib.sha256(words.encode()).hexdigest(),
        }
        audit.append(AuditTag.CHAT_SAID, actor=person, subject=session, now=now, data=data)
        doorbell.ring(f"session:{session_id}", chat=True)
    return row


def messages(session: SSHSession) -> QuerySet[ChatMessage]:
    """All that was said, in order."""
    return ChatMessage.objects.filter(session=session).select_related("person").order_by("pk")
