"""People and the groups they are in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import transaction

from breakglass import doorbell
from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import Person
from breakglass.services import audit


def create(
    *,
    username: str,
    full_name: str,
    email: str,
    password: str,
    groups: Iterable[str],
    by: Person | None,
    now: datetime,
) -> Person:
    """A new person with these roles. Raises Refused `bad_input` for a name that can't be one."""
    person = Person(username=username, full_name=full_name, email=email, created_at=now)
    person.set_password(password)
    try:
        person.full_clean()
    except ValidationError as error:
        raise refuse(RefusalCode.BAD_INPUT, problem=" ".join(error.messages)) from None
    with transaction.atomic():
        person.save(force_insert=True)
        audit.append(AuditTag.PERSON_CREATED, actor=by, subject=person, now=now, data={"username": username})
        _set_groups(person, groups, by, now)
    return person


def set_groups(person: Person, groups: Iterable[str], *, by: Person | None, now: datetime) -> None:
    """The person is in these groups and no others."""
    with transaction.atomic():
        _set_groups(person, groups, by, now)


def disable(person: Person, *, by: Person | None, now: datetime) -> None:
    """No login, and every live session of theirs ends at its next check. Their grants stay, useless."""
    with transaction.atomic():
        if Person.objects.filter(pk=person.pk, is_active=True).update(is_active=False):
            audit.append(AuditTag.PERSON_DISABLED, actor=by, subject=person, now=now)
        doorbell.ring("sessions", why="person")


def enable(person: Person, *, by: Person | None, now: datetime) -> None:
    with transaction.atomic():
        if Person.objects.filter(pk=person.pk, is_active=False).update(is_active=True):
            audit.append(AuditTag.PERSON_ENABLED, actor=by, subject=person, now=now)


def _set_groups(person: Person, groups: Iterable[str], by: Person | None, now: datetime) -> None:
    names = sorted(set(groups))
    person.groups.set([Group.objects.get_or_create(name=name)[0] for name in names])
    audit.append(AuditTag.PERSON_GROUPS_SET, actor=by, subject=person, now=now, data={"groups": names})
