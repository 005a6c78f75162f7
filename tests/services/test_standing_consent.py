"""A yes counts at the moment of the grant only if whoever gave it could give it then (law 2)."""

from __future__ import annotations

import pytest

from breakglass.models import AccessRequest, Grant
from breakglass.services import approvals, people
from tests.services.scene import TWO, Scene


def _approve(scene: Scene, request: AccessRequest, name: str) -> AccessRequest:
    person = getattr(scene.cast, name)
    return approvals.approve(request.pk, person, scene.code(person), "go ahead", scene.now)


@pytest.mark.parametrize("lost", ["the account", "the role"])
def test_the_yes_of_somebody_who_may_no_longer_give_it_makes_no_grant(scene: Scene, lost: str) -> None:
    scene.playbook(**TWO)
    request = scene.asked()
    _approve(scene, request, "ada")
    if lost == "the account":
        people.disable(scene.cast.ada, by=None, now=scene.now)
    else:
        people.set_groups(scene.cast.ada, ["responders"], by=None, now=scene.now)
    assert _approve(scene, request, "ben").state == "pending"
    assert not Grant.objects.exists()


def test_it_counts_again_when_they_may_again_and_the_next_yes_finds_it(scene: Scene) -> None:
    scene.playbook(**TWO)
    request = scene.asked()
    _approve(scene, request, "ada")
    people.disable(scene.cast.ada, by=None, now=scene.now)
    people.enable(scene.cast.ada, by=None, now=scene.now)
    assert _approve(scene, request, "ben").state == "approved"
