"""Who is asking, and whether they may: every view asks `breakglass.domain.permissions` through here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.http import HttpRequest

from breakglass import queries
from breakglass.domain.permissions import NOTHING, WHO_CAN, Actor, Thing, Verb, may
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import Person

View = TypeVar("View", bound=Callable[..., object])


def open_to_all(view: View) -> View:
    """Marks the few views that need no login. Everything else is closed by the doorkeeper."""
    view.open_to_all = True  # type: ignore[attr-defined]
    return view


def has_both_factors(user: object) -> bool:
    """Whether this is a person who logged in with password and second factor."""
    return isinstance(user, Person) and bool(getattr(user, "is_verified", lambda: False)())


def person_of(request: HttpRequest) -> Person:
    """The person logged in with both factors. The doorkeeper lets nobody else through."""
    person = request.user
    if not isinstance(person, Person) or not has_both_factors(person):
        raise refuse(RefusalCode.SECOND_FACTOR_REQUIRED)
    return person


def groups_of(person: Person) -> frozenset[str]:
    """The person's groups that count, asked once a request."""
    known = getattr(person, "_group_names", None)
    if known is None:
        known = queries.groups_of(person)
        person._group_names = known  # type: ignore[attr-defined]
    return known


def actor_of(person: Person) -> Actor:
    return Actor(person.id, groups_of(person), person.is_active)


def can(person: Person, verb: Verb, thing: Thing = NOTHING) -> bool:
    return may(actor_of(person), verb, thing)


def demand(person: Person, verb: Verb, thing: Thing = NOTHING) -> None:
    """Raises the refusal that names who could."""
    if not can(person, verb, thing):
        raise refuse(RefusalCode.NOT_ALLOWED, verb=str(verb), who=WHO_CAN[verb])


def demand_sight(person: Person, verb: Verb, thing: Thing, what: str) -> None:
    """For what isn't theirs to see: the same answer as for what isn't there."""
    if not can(person, verb, thing):
        raise refuse(RefusalCode.NOT_FOUND, what=what)
