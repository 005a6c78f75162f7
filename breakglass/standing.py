"""How things stand with sessions that live: the facts for `decide(Continue)`, for all of a process in one go.

However many sessions there are, it is five queries. What is wrong with one of them is raised for that one only.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings

from breakglass.domain import policy
from breakglass.models import Asset, Grant
from breakglass.queries import GRANTS_FOR_FACTS, asset_facts, grant_facts, lock_facts, people_facts


@dataclass(frozen=True)
class Held:
    """What one session was given: to whom, where, and by which grant."""

    person_id: UUID
    asset_id: UUID
    grant_id: UUID


class Standing:
    """Today's facts for these sessions."""

    def __init__(self, held: Collection[Held]) -> None:
        self._people = people_facts({one.person_id for one in held})
        self._assets = {
            asset.pk: asset_facts(asset)
            for asset in Asset.objects.filter(pk__in={one.asset_id for one in held}).order_by()
        }
        self._rows: dict[UUID, Grant] = {
            grant.pk: grant
            for grant in GRANTS_FOR_FACTS.filter(pk__in={one.grant_id for one in held}).order_by()
        }
        self._grants: dict[UUID, policy.GrantFacts] = {}
        self._locks = lock_facts()

    def facts(self, held: Held) -> policy.AccessFacts:
        """Raises Person.DoesNotExist, and ValueError where a playbook isn't what its digest says."""
        grant = self._grant(held.grant_id)
        return policy.AccessFacts(
            person=self._people[held.person_id],
            asset=self._assets.get(held.asset_id),
            grants=(grant,) if grant is not None else (),
            locks=self._locks,
            request_url=f"{settings.BREAKGLASS.public_url}/",
        )

    def grant_state(self, grant_id: UUID) -> str:
        """As stored; empty where there is none."""
        row = self._rows.get(grant_id)
        return row.state if row is not None else ""

    def _grant(self, grant_id: UUID) -> policy.GrantFacts | None:
        if grant_id not in self._grants:
            row = self._rows.get(grant_id)
            if row is None:
                return None
            self._grants[grant_id] = grant_facts(row)
        return self._grants[grant_id]
