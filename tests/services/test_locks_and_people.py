"""Locks stand until they are lifted; a disabled person is out at once; groups are what a person may do."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from breakglass import queries
from breakglass.domain import permissions
from breakglass.domain.permissions import OUR_OWN, SUPERVISORS, Verb
from breakglass.domain.policy import Allow, Connect, Continue, Deny, LockKind, decide
from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import Asset, Grant, Lock, Person
from breakglass.services import approvals, assets, locks, override, people
from tests.services.scene import TWO, Scene, last, refused, tags
from tests.support import cast as house


def _place(scene: Scene, kind: str, subject: str, reason: str = "suspicious") -> Lock:
    scene.time.forward(seconds=30)
    admin = scene.cast.admin
    return locks.place(admin, kind, subject, reason, scene.code(admin), scene.now)


def _may(scene: Scene, grant: Grant) -> bool:
    facts = queries.access_facts(scene.cast.rita.pk, "hist-01")
    answers = [
        decide(ask, facts, scene.now)
        for ask in (Connect("hist-01"), Continue("hist-01", "operator", grant.pk))
    ]
    assert len({type(answer) for answer in answers}) == 1
    return isinstance(answers[0], Allow)


@pytest.mark.parametrize("kind", list(LockKind))
def test_a_lock_of_each_kind_keeps_out_until_it_is_lifted(scene: Scene, grant: Grant, kind: LockKind) -> None:
    subject = {
        LockKind.PERSON: "rita",
        LockKind.ASSET: "hist-01",
        LockKind.PLAYBOOK: "historian-down",
        LockKind.INCIDENT: str(scene.incident.pk),
        LockKind.EVERYTHING: "",
    }[kind]
    assert _may(scene, grant)
    lock = _place(scene, kind, subject)
    assert not _may(scene, grant)
    scene.time.forward(seconds=30)
    locks.lift(scene.cast.admin, lock.pk, scene.code(scene.cast.admin), scene.now)
    assert _may(scene, grant)
    assert tags(lock) == ["lock:placed", "lock:lifted"]


def test_who_is_locked_out_lets_nobody_else_in_but_may_say_no(scene: Scene) -> None:
    scene.playbook(override_allowed=True, **TWO)
    first, second = scene.asked(), scene.asked()
    approvals.approve(first.pk, scene.cast.ada, scene.code(scene.cast.ada), "", scene.now)
    _place(scene, "person", "ada")
    _place(scene, "person", "sam")
    scene.time.forward(minutes=11)
    with refused(Code.LOCKED):
        approvals.approve(second.pk, scene.cast.ada, scene.code(scene.cast.ada), "", scene.now)
    with refused(Code.LOCKED):
        override.decide(second.pk, scene.cast.sam, scene.code(scene.cast.sam), "Nobody answers", scene.now)
    said = approvals.approve(first.pk, scene.cast.ben, scene.code(scene.cast.ben), "", scene.now)
    assert said.state == "pending", "Ada's yes from before the lock doesn't count"
    said = approvals.deny(second.pk, scene.cast.ada, scene.code(scene.cast.ada), "no", scene.now)
    assert said.state == "denied" and not Grant.objects.exists()


@pytest.mark.parametrize(
    ("kind", "subject"), [("person", "rob"), ("asset", "hmi-02"), ("playbook", "historian-triage")]
)
def test_a_lock_on_another_changes_nothing(scene: Scene, grant: Grant, kind: str, subject: str) -> None:
    house.machine(scene.now, "hmi-02", kind="hmi")
    house.published(scene.now, "historian-triage")
    _place(scene, kind, subject)
    assert _may(scene, grant)


@pytest.mark.parametrize(
    ("kind", "subject", "reason", "code"),
    [
        ("person", "nobody", "why", Code.NOT_FOUND),
        ("asset", "hist\x00", "why", Code.NOT_FOUND),
        ("playbook", "none", "why", Code.NOT_FOUND),
        ("incident", "INC-1", "why", Code.NOT_FOUND),
        ("incident", "7b1d1c56-0000-4000-8000-000000000000", "why", Code.NOT_FOUND),
        ("world", "", "why", Code.BAD_INPUT),
        ("everything", "", " \n ", Code.BAD_INPUT),
    ],
)
def test_a_lock_on_nothing_or_without_a_reason_is_refused(
    scene: Scene, kind: str, subject: str, reason: str, code: Code
) -> None:
    with refused(code):
        _place(scene, kind, subject, reason)
    assert not Lock.objects.exists()


@pytest.mark.parametrize("who", ["rita", "ada", "vera", "otto", "sam"])
def test_only_administrators_lock_and_lift_and_with_a_code(scene: Scene, who: str) -> None:
    person = getattr(scene.cast, who)
    with refused(Code.NOT_ALLOWED):
        locks.place(person, "everything", "", "panic", scene.code(person), scene.now)
    lock = _place(scene, "everything", "")
    with refused(Code.NOT_ALLOWED):
        locks.lift(person, lock.pk, scene.code(person), scene.now)
    with refused(Code.SECOND_FACTOR_WRONG):
        locks.lift(scene.cast.admin, lock.pk, scene.cast.wrong_code("admin", scene.now), scene.now)
    assert Lock.objects.filter(lifted_at=None).count() == 1


def test_a_lock_is_lifted_once(scene: Scene) -> None:
    lock = _place(scene, "everything", "")
    scene.time.forward(seconds=30)
    locks.lift(scene.cast.admin, lock.pk, scene.code(scene.cast.admin), scene.now)
    for gone in (lock.pk, uuid4()):
        with refused(Code.NOT_FOUND):
            locks.lift(scene.cast.admin, gone, scene.code(scene.cast.admin), scene.now)


# --- people


def _person(scene: Scene, **changes: Any) -> Person:
    fields: dict[str, Any] = {
        "username": "lena",
        "full_name": "Lena Berg",
        "email": "",
        "password": "a long enough phrase",
        "groups": ["responders", "responders"],
    }
    return people.create(**{**fields, **changes}, by=None, now=scene.now)


@pytest.mark.parametrize(
    "name", ["", "Lena", "1lena", "lena berg", "lena+hist-01", "lena@x", "rita", "x" * 32, "l\x00", "-lena"]
)
def test_a_name_that_cant_be_one_is_refused(scene: Scene, name: str) -> None:
    """A plus sign or an at sign would read as an asset in `ssh PERSON+LOGIN@ASSET@GATEWAY`."""
    with refused(Code.BAD_INPUT):
        _person(scene, username=name)


def test_groups_are_set_and_told_to_the_trail(scene: Scene) -> None:
    person = _person(scene)
    assert queries.groups_of(person) == {"responders"}
    people.set_groups(person, ["ot-leads"], by=scene.cast.admin, now=scene.now)
    assert queries.groups_of(person) == {"ot-leads"}
    assert last("person:groups_set").data == {"groups": ["ot-leads"]}
    assert last("person:groups_set").actor_name == "admin"


def test_a_vendors_person_never_holds_a_role_of_our_own(scene: Scene) -> None:
    vic = _person(scene, username="vic", vendor=" Acme\nDrives ")
    assert (vic.vendor, vic.is_vendor) == ("Acme Drives", True)
    for role in ("supervisors", "reviewers", "auditors", "administrators"):
        with refused(Code.BAD_INPUT):
            people.set_groups(vic, ["responders", role], by=None, now=scene.now)
    assert queries.groups_of(vic) == {"responders"}
    with refused(Code.BAD_INPUT):
        people.set_vendor(scene.cast.sam, "Acme Drives", by=None, now=scene.now)
    with refused(Code.BAD_INPUT):
        _person(scene, username="vik", vendor="Acme Drives", groups=["reviewers"])
    people.set_vendor(vic, "", by=scene.cast.admin, now=scene.now)
    assert last("person:vendor_set").data == {"vendor": ""}
    people.set_groups(vic, ["reviewers"], by=None, now=scene.now)


def test_who_was_called_a_vendors_by_a_group_has_no_power_of_our_own_roles(scene: Scene) -> None:
    """A migration may find both in one person: then the role counts for nothing, until somebody says whose they are."""
    sam = scene.cast.sam
    assert permissions.may(queries.actor_of(sam), Verb.OVERRIDE_REQUEST)
    Person.objects.filter(pk=sam.pk).update(vendor="vendors")
    assert not queries.groups_of(sam) & OUR_OWN
    assert not permissions.may(queries.actor_of(sam), Verb.OVERRIDE_REQUEST)
    assert sam not in queries.people_in([SUPERVISORS, "leads"]) and queries.people_in(["nobody"]) == []
    people.set_vendor(sam, "", by=None, now=scene.now)
    assert sam in queries.people_in([SUPERVISORS])


def test_a_vendors_person_consents_to_nothing_but_may_say_no(scene: Scene) -> None:
    request = scene.asked()
    people.set_vendor(scene.cast.ben, "Acme Drives", by=None, now=scene.now)
    with refused(Code.NOT_ALLOWED):
        approvals.approve(request.pk, _fresh(scene.cast.ben), scene.code(scene.cast.ben), "", scene.now)
    # A yes of before they went over to the vendor counts no more.
    both = house.asked(scene.cast.rita, scene.playbook(**TWO), scene.now, case=scene.incident)
    approvals.approve(both.pk, scene.cast.ada, scene.code(scene.cast.ada), "", scene.now)
    people.set_vendor(scene.cast.ada, "Acme Drives", by=None, now=scene.now)
    people.set_vendor(scene.cast.ben, "", by=None, now=scene.now)
    scene.time.forward(seconds=30)
    done = approvals.approve(both.pk, _fresh(scene.cast.ben), scene.code(scene.cast.ben), "", scene.now)
    assert done.state == "pending"
    scene.time.forward(seconds=30)
    no = approvals.deny(request.pk, _fresh(scene.cast.ada), scene.code(scene.cast.ada), "not so", scene.now)
    assert no.state == "denied"


def _fresh(person: Person) -> Person:
    return Person.objects.get(pk=person.pk)


def test_the_password_is_kept_as_a_hash_and_is_nowhere_in_the_trail(scene: Scene) -> None:
    from tests.services.scene import trail_text

    person = _person(scene)
    assert person.check_password("a long enough phrase")
    assert "long enough" not in str(Person.objects.filter(pk=person.pk).values().get()) + trail_text()


def test_disabling_twice_is_once(scene: Scene, grant: Grant) -> None:
    rita = scene.cast.rita
    people.disable(rita, by=scene.cast.admin, now=scene.now)
    people.disable(rita, by=scene.cast.admin, now=scene.now)
    assert not _may(scene, grant)
    people.enable(rita, by=scene.cast.admin, now=scene.now)
    people.enable(rita, by=scene.cast.admin, now=scene.now)
    assert _may(scene, grant)
    assert tags(rita)[-2:] == ["person:disabled", "person:enabled"]


# --- assets


@pytest.mark.parametrize(
    "changes",
    [
        {"host_keys": []},
        {"host_keys": ["ssh-ed25519"]},
        {"host_keys": ["ssh-ed25519 AAAA"]},
        {"host_keys": ["ssh-rsa " + house.new_key()[1].split()[1]]},
        {"name": "Hist 01"},
        {"name": "hist+01"},
        {"name": "*"},
        {"kind": "safety"},
        {"logins": [assets.LoginForm("operator", "password")]},
        {"logins": [assets.LoginForm("operator", "certificate", "secret")]},
        {"logins": [assets.LoginForm("operator", "telnet", "secret")]},
    ],
)
def test_an_asset_without_a_pinned_key_or_a_fit_way_in_is_refused_whole(
    scene: Scene, changes: dict[str, Any]
) -> None:
    form = assets.AssetForm(
        **{
            "name": "hmi-02",
            "title": "HMI",
            "kind": "hmi",
            "host": "127.0.0.1",
            "port": 22,
            "host_keys": [house.new_key()[1]],
            "logins": [assets.LoginForm("operator", "certificate")],
            **changes,
        }
    )
    with refused(Code.BAD_INPUT):
        assets.register(form, by=None, now=scene.now)
    assert set(Asset.objects.values_list("name", flat=True)) == {"hist-01"}


def test_a_moved_asset_forgets_its_old_host_keys(scene: Scene) -> None:
    before = scene.asset.host_keys.get().fingerprint
    assets.move(
        scene.asset, host="10.0.0.9", port=2022, host_keys=[house.new_key()[1]], by=None, now=scene.now
    )
    assert scene.asset.host_keys.get().fingerprint != before
    with refused(Code.BAD_INPUT):
        assets.move(scene.asset, host="10.0.0.9", port=22, host_keys=[], by=None, now=scene.now)
    assert last("asset:changed").data["host"] == "10.0.0.9"


def test_an_asset_that_is_switched_off_is_unknown(scene: Scene, grant: Grant) -> None:
    Asset.objects.filter(pk=scene.asset.pk).update(active=False)
    facts = queries.access_facts(scene.cast.rita.pk, "hist-01")
    decision = decide(Connect("hist-01"), facts, scene.now)
    assert isinstance(decision, Deny)
    assert decision.refusal.code is Code.UNKNOWN_ASSET
