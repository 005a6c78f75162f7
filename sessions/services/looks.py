"""Who looked into other people's sessions by searching: one row of the audit trail a person and settled question.

Results come as one types: each answer is noted before it is given, in the database, and what is typed on is the same look.
It enters the trail once nothing was typed on for a while, or something else is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from breakglass import passes
from breakglass.domain.audit import AuditTag
from breakglass.domain.text import storable
from breakglass.models import Person
from breakglass.services import audit
from sessions.models import SearchLook

SETTLED: Final = timedelta(seconds=5)
"""After so long without another letter it is what was asked."""
LONGEST: Final = timedelta(seconds=60)
MOST_SESSIONS: Final = 200


def note(
    person: Person, text: str, filters: Mapping[str, str], sessions: Sequence[str], now: datetime
) -> None:
    """These sessions of other people are about to be shown to `person`, who asked this of the search.

    Only typing on is the same look: whoever deletes letters, or filters otherwise, looks for something else."""
    text = storable(text)[:200]
    filters = {name: storable(value) for name, value in filters.items()}
    with transaction.atomic():
        # The person's row, since that of a first look isn't there yet for two pages to wait at.
        Person.objects.select_for_update(no_key=True).get(pk=person.pk)
        look = SearchLook.objects.filter(person=person).first()
        if look is not None and not _is_typed_on(look, text, filters, sessions, now):
            _settle(look, now)
            look = None
        if look is None:
            look = SearchLook(person=person, first_text=text, began_at=now)
        look.text, look.filters, look.seen_at = text, filters, now
        look.sessions = list(dict.fromkeys([*look.sessions, *sessions]))
        look.save()


def settle_due(now: datetime) -> int:
    """Bring into the trail what nobody types on any more. Returns how many looks that were."""
    over = Q(seen_at__lte=now - SETTLED) | Q(began_at__lte=now - LONGEST)
    due = list(SearchLook.objects.filter(over).order_by("seen_at").values_list("person_id", flat=True)[:200])

    def settle(person_id: UUID) -> bool:
        with transaction.atomic():
            Person.objects.select_for_update(no_key=True).get(pk=person_id)
            look = SearchLook.objects.select_related("person").filter(over, person_id=person_id).first()
            return look is not None and _settle(look, now)

    return passes.count(settle, due)


def _is_typed_on(
    look: SearchLook, text: str, filters: Mapping[str, str], sessions: Sequence[str], now: datetime
) -> bool:
    return (
        text.startswith(look.text)
        and look.filters == filters
        and now - look.seen_at < SETTLED
        and now - look.began_at < LONGEST
        and len({*look.sessions, *sessions}) <= MOST_SESSIONS
    )


def _settle(look: SearchLook, now: datetime) -> bool:
    """In the caller's transaction, which holds the person's row."""
    data = {
        "text": look.text,
        "typed_from": look.first_text,
        "filters": look.filters,
        "sessions": look.sessions,
        "began_at": look.began_at.isoformat(timespec="seconds"),
        "seen_at": look.seen_at.isoformat(timespec="seconds"),
    }
    audit.append(AuditTag.RECORDINGS_SEARCHED, actor=look.person, subject=look.person, now=now, data=data)
    SearchLook.objects.filter(pk=look.pk).delete()
    return True
