"""Challenges for passkeys that say themselves what they were made for: nothing is kept until one is answered.

A challenge is 16 random bytes, the time in milliseconds (8 bytes) and an HMAC-SHA-256 over both and over the purpose:
what kind of ceremony, whose, for which act on which object. An answer counts for exactly that, for 60 s, and once:
`SpentChallenge` holds what was answered, and its primary key lets one of two at the same moment through.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from breakglass.domain.refusals import RefusalCode, Refused, refuse
from breakglass.models import SpentChallenge
from breakglass.services import vault

LIFE = timedelta(seconds=60)
KEPT = timedelta(hours=1)
NONCE, TIME, MAC = 16, 8, 32


@dataclass(frozen=True)
class Purpose:
    """What an answer is to count for. Runs of white space in `subject` are one space, as forms may send them anew."""

    kind: str
    person: str = ""
    action: str = ""
    subject: str = ""

    def as_bytes(self) -> bytes:
        parts = (self.kind, self.person, self.action, " ".join(self.subject.split()))
        return json.dumps(parts, ensure_ascii=False).encode()


def make(purpose: Purpose, now: datetime) -> bytes:
    head = os.urandom(NONCE) + int(now.timestamp() * 1000).to_bytes(TIME, "big")
    return head + _mac(head, purpose)


def objection(challenge: bytes, purpose: Purpose, now: datetime, life: timedelta = LIFE) -> Refused | None:
    """What is against an answer to this challenge being taken for that purpose now, or None."""
    head, mac = challenge[: NONCE + TIME], challenge[NONCE + TIME :]
    if len(challenge) != NONCE + TIME + MAC or not hmac.compare_digest(mac, _mac(head, purpose)):
        return refuse(RefusalCode.PASSKEY_REFUSED, problem="it was given for something else")
    made = int.from_bytes(head[NONCE:], "big") / 1000
    if not -1 <= now.timestamp() - made <= life.total_seconds():
        return refuse(RefusalCode.PASSKEY_REFUSED, problem="it is too old")
    return None


def spend(challenge: bytes, now: datetime) -> bool:
    """Use it up, in the caller's transaction; False when it was used up before. Forgets those spent more than an hour ago,
    so what is spent here must be out of time by then."""
    SpentChallenge.objects.filter(spent_at__lt=now - KEPT).delete()
    try:
        with transaction.atomic():
            SpentChallenge.objects.create(sha256=digest(challenge), spent_at=now)
    except IntegrityError:
        return False
    return True


def digest(challenge: bytes) -> str:
    return hashlib.sha256(challenge).hexdigest()


def _mac(head: bytes, purpose: Purpose) -> bytes:
    return hmac.digest(vault.derive("passkey-challenge"), head + purpose.as_bytes(), "sha256")
