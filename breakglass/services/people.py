"""People and the groups they are in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import transaction

from breakglass import doorbell
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import OUR_OWN
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.text import one_line
from breakglass.models import Person
from breakglass.queries import groups_of
from breakglass.services import audit

MOST_VENDOR = 120


def create(
    *,
    username: str,
    full_name: str,
    email: str,
    password: str | None,
    groups: Iterable[str],
    by: Person | None,
    now: datetime,
    vendor: str = "",
) -> Person:
    """A new person with these roles. `vendor`: the company that sends them, empty for our own people. `password` None: they
    have none, and choose one with their enrolment code.

    Raises Refused `bad_input` for a name that can't be one, and for a vendor's person in a role of our own.
    """
    groups = tuple(groups)
    person = checked(username, full_name=full_name, email=email, vendor=vendor, groups=groups)
    person.created_at, vendor = now, person.vendor
    person.set_password(password)
    with transaction.atomic():
        person.save(force_insert=True)
        data = {"username": username} | ({"vendor": vendor} if vendor else {})
        audit.append(AuditTag.PERSON_CREATED, actor=by, subject=person, now=now, data=data)
        _set_groups(person, groups, by, now)
    return person


def checked(username: str, *, full_name: str, email: str, vendor: str, groups: Iterable[str]) -> Person:
    """The person as they would be, not stored. Raises Refused `bad_input`, naming the fields that don't fit."""
    vendor = one_line(vendor, MOST_VENDOR)
    person = Person(username=username, full_name=full_name, email=email, vendor=vendor)
    try:
        person.full_clean(exclude=("password", "created_at"))
    except ValidationError as error:
        problem = " ".join(error.messages)
        raise refuse(RefusalCode.BAD_INPUT, problem=problem, needs=tuple(error.message_dict)) from None
    _refuse_role(vendor, groups)
    return person


def set_groups(person: Person, groups: Iterable[str], *, by: Person | None, now: datetime) -> None:
    """The person is in these groups and no others. Raises Refused `bad_input` for a vendor's person in a role of our own."""
    with transaction.atomic():
        _set_groups(person, groups, by, now)


def set_vendor(person: Person, vendor: str, *, by: Person | None, now: datetime) -> None:
    """Which company sends this person; empty: they are ours. It counts from now on, for what is pending too.

    Raises Refused `bad_input` for who holds a role of our own: take that away first.
    """
    vendor = one_line(vendor, MOST_VENDOR)
    with transaction.atomic():
        locked = Person.objects.select_for_update(no_key=True).get(pk=person.pk)
        _refuse_role(vendor, groups_of(locked))
        locked.vendor = person.vendor = vendor
        locked.save(update_fields=("vendor",))
        audit.append(AuditTag.PERSON_VENDOR_SET, actor=by, subject=person, now=now, data={"vendor": vendor})
        doorbell.ring("sessions", why="person")


def disable(
    person: Person, *, by: Person | None, now: datetime, data: Mapping[str, object] | None = None
) -> None:
    """No login, and every live session of theirs ends at its next check. Their grants stay, useless."""
    with transaction.atomic():
        if Person.objects.filter(pk=person.pk, is_active=True).update(is_active=False):
            audit.append(AuditTag.PERSON_DISABLED, actor=by, subject=person, now=now, data=data)
        doorbell.ring("sessions", why="person")


def enable(
    person: Person, *, by: Person | None, now: datetime, data: Mapping[str, object] | None = None
) -> None:
    with transaction.atomic():
        if Person.objects.filter(pk=person.pk, is_active=False).update(is_active=True):
            audit.append(AuditTag.PERSON_ENABLED, actor=by, subject=person, now=now, data=data)


def _set_groups(person: Person, groups: Iterable[str], by: Person | None, now: datetime) -> None:
    names = sorted(set(groups))
    # Under the row's lock: becoming a vendor's at the same moment comes before or after.
    vendor = Person.objects.select_for_update(no_key=True).get(pk=person.pk).vendor
    _refuse_role(vendor, names)
    person.groups.set([Group.objects.get_or_create(name=name)[0] for name in names])
    audit.append(AuditTag.PERSON_GROUPS_SET, actor=by, subject=person, now=now, data={"groups": names})


def _refuse_role(vendor: str, groups: Iterable[str]) -> None:
    ours = sorted(OUR_OWN & set(groups)) if vendor else []
    if ours:
        problem = f"Who comes from a vendor can't be in {', '.join(ours)}: only our own people are."
        raise refuse(RefusalCode.BAD_INPUT, problem=problem, needs=("groups",))
