"""A house in order, and short words for what the service tests do in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from breakglass.domain.refusals import Refusal, RefusalCode, Refused
from breakglass.models import AccessRequest, Asset, AuditEvent, Grant, Incident, Person, PlaybookVersion
from tests.support import cast as house
from tests.support.cast import Cast
from tests.support.clock import FrozenClock

TWO = {"approvers": {"groups": ["ot-leads", "it-leads"], "count": 2}}
ARMED = {"clock": {"starts": "first_use", "use_within_minutes": 30}}


class Scene:
    """Rita asks, Ada and Ben answer. `playbook(...)` replaces the playbook by another version of it."""

    def __init__(self, cast: Cast, time: FrozenClock) -> None:
        self.cast, self.time = cast, time
        self.asset: Asset = house.machine(time.now)
        self.version: PlaybookVersion = house.published(time.now)
        self.incident: Incident = house.incident(cast.rita, time.now)

    @property
    def now(self) -> datetime:
        return self.time.now

    def playbook(self, slug: str = "historian-down", **changes: Any) -> PlaybookVersion:
        self.version = house.published(self.now, slug, **changes)
        return self.version

    def asked(self, person: Person | None = None, **changes: Any) -> AccessRequest:
        changes.setdefault("case", self.incident)
        return house.asked(person or self.cast.rita, self.version, self.now, **changes)

    def granted(self, person: Person | None = None, by: Person | None = None, **changes: Any) -> Grant:
        """A grant; the clock is moved on by 30 s first, so that the approver has a fresh code."""
        self.time.forward(seconds=30)
        return house.approved(self.asked(person, **changes), [by or self.cast.ada], self.now)

    def code(self, person: Person) -> str:
        return self.cast.code(person, self.now)


@contextmanager
def refused(code: RefusalCode) -> Iterator[list[Refusal]]:
    """The block is refused with `code`; the refusal is in the list afterwards."""
    said: list[Refusal] = []
    with pytest.raises(Refused) as caught:
        yield said
    assert caught.value.refusal.code is code, caught.value.refusal
    said.append(caught.value.refusal)


def tags(*subjects: object) -> list[str]:
    """The trail in order, as the last two words of each tag; of these subjects only, where some are given."""
    rows = AuditEvent.objects.order_by("seq")
    if subjects:
        rows = rows.filter(subject__in=[_name(subject) for subject in subjects])
    return [row.tag.partition(":")[2] for row in rows]


def last(tag: str) -> AuditEvent:
    """The newest row of the trail with a tag that ends so."""
    return AuditEvent.objects.filter(tag__endswith=tag).order_by("-seq")[0]


def trail_text() -> str:
    """Everything that the trail says, as one text, to look for what must not be in it."""
    return "\n".join(
        f"{row.tag} {row.actor} {row.actor_name} {row.subject} {row.data}" for row in AuditEvent.objects.all()
    )


def _name(subject: Any) -> str:
    return subject if isinstance(subject, str) else f"{subject._meta.model_name}:{subject.pk}"
