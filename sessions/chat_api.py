"""Chat beside a session in the REST face: what was said, and saying something."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status

from breakglass import clock
from breakglass.api.auth import person_of
from breakglass.api.errors import answers
from breakglass.api.inputs import Input
from breakglass.api.naming import find
from breakglass.api.paging import Page, Paging, page
from breakglass.models import Person
from sessions import queries
from sessions.models import ChatMessage, SSHSession
from sessions.services import chat

router = Router(tags=["sessions"])


class MessageOut(Schema):
    """What somebody said beside a session. Part of the record, never changed."""

    id: int
    person: str
    at: datetime
    text: str


class SayIn(Input):
    text: str = Field(default="", max_length=4000)


@router.get("/sessions/{ref}/chat", response=answers(Page[MessageOut]))
def list_chat(request: HttpRequest, ref: str, paging: Query[Paging]) -> dict[str, Any]:
    """What was said beside the session, the first message first. Who may see the session may read it."""
    return page(chat.messages(_seen(person_of(request), ref)), paging, _message)


@router.post("/sessions/{ref}/chat", response=answers(MessageOut, 201))
def say(request: HttpRequest, ref: str, body: SayIn) -> Status[dict[str, Any]]:
    """Say something beside a session that runs: its person reads it in the terminal, watchers on the page."""
    person = person_of(request)
    made = chat.say(_seen(person, ref).pk, person, body.text, clock.now())
    return Status(201, _message(made))


def _seen(person: Person, ref: str) -> SSHSession:
    found = find(SSHSession.objects.only("pk"), ref, "session", "S-")
    return queries.session_for(person, found.pk)


def _message(row: ChatMessage) -> dict[str, Any]:
    return {"id": row.pk, "person": row.person.username, "at": row.at, "text": row.text}
