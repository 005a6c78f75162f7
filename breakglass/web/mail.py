"""The demo's outbox: the mails that would have been sent, read from the folder. Exists only in the demo."""

from __future__ import annotations

import email
import email.policy
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import urlize
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_safe

from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.web.who import person_of

SHOWN = 50
# Django's file backend ends each mail with a line of 79 hyphens.
BETWEEN = re.compile(rb"^-{79}\r?\n", re.MULTILINE)


@dataclass(frozen=True)
class Mail:
    to: str
    subject: str
    at: datetime | None
    body: SafeString


@require_safe
def mail(request: HttpRequest) -> HttpResponse:
    """Everybody's mails: the demo has no mailboxes. Its links open pages, which change nothing."""
    person_of(request)
    if not settings.BREAKGLASS.demo:
        raise refuse(RefusalCode.NOT_FOUND, what="page")
    folder = Path(getattr(settings, "EMAIL_FILE_PATH", "") or "/nonexistent")
    mails = [mail for path in folder.glob("*.log") for mail in _mails_of(path)]
    mails.sort(key=lambda mail: mail.at.timestamp() if mail.at else 0.0, reverse=True)
    return render(
        request, "breakglass/mail.html", {"mails": mails[:SHOWN], "more": max(0, len(mails) - SHOWN)}
    )


def _mails_of(path: Path) -> list[Mail]:
    return [_read(raw) for raw in BETWEEN.split(path.read_bytes()) if raw.strip()]


def _read(raw: bytes) -> Mail:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    part = message.get_body(("plain",))
    text = part.get_content() if part else ""
    date = message["Date"]
    return Mail(
        to=str(message["To"] or ""),
        subject=str(message["Subject"] or ""),
        # "-0000" in a mail is UTC, which Python reads as no zone at all.
        at=date.datetime.replace(tzinfo=date.datetime.tzinfo or UTC) if date else None,
        body=mark_safe(urlize(text, nofollow=True, autoescape=True)),
    )
