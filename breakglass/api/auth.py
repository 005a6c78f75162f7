"""Who is asking: a person, by a bearer token that is theirs; and what they may do, by the rules of the pages."""

from __future__ import annotations

from typing import cast

from django.http import HttpRequest
from ninja.security import HttpBearer

from breakglass import clock
from breakglass.domain.permissions import NOTHING, WHO_CAN, Thing, Verb, may
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import Person
from breakglass.queries import actor_of
from breakglass.services import tokens


class Bearer(HttpBearer):
    """A token made on the profile page. A web login's cookie counts for nothing here."""

    def authenticate(self, request: HttpRequest, token: str) -> Person | None:
        return tokens.authenticate(token.strip(), clock.now())


def person_of(request: HttpRequest) -> Person:
    """The person whose token it was."""
    return cast(Person, request.auth)  # type: ignore[attr-defined]


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
