"""A supervisor who types `approve` where only the override is left is led to its page: what is loud is read first."""

from __future__ import annotations

from datetime import timedelta

from breakglass import clock
from breakglass.models import AccessRequest, PlaybookVersion
from breakglass.services import people, playbooks
from tests.gateway import house as building
from tests.gateway.house import House
from tests.support import cast


def test_approve_points_to_the_page_and_decides_nothing(house: House) -> None:
    playbooks.publish([building.spec(override_allowed=True)], clock.now())
    version = PlaybookVersion.objects.get(slug="hist-test", retired_at=None)
    ask = cast.asked(house.rita.person, version, clock.now(), case=house.incident)
    people.set_groups(house.ada.person, ["supervisors"], by=None, now=clock.now())
    moved = clock.now() - timedelta(minutes=11)
    AccessRequest.objects.filter(pk=ask.pk).update(
        submitted_at=moved, escalates_at=moved + timedelta(minutes=5)
    )
    told = house.run(f"approve {ask.label}", user="ada", key=house.ada.key, code=house.ada.code())
    words = (told.stdout + told.stderr).decode()
    assert told.returncode == 1
    assert f"/requests/{ask.pk}/override/" in words and "You may decide alone" in words
    ask.refresh_from_db()
    assert (ask.state, ask.is_override) == ("pending", False)
