"""Who joins chooses their own password by a code; who leaves is out at once; neither happens without a factor or unheard."""

from __future__ import annotations

from functools import partial

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from breakglass import clock
from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import AuditEvent, EnrolmentCode, Notice, Person
from breakglass.services import membership, people, recovery
from breakglass.services.membership import Newcomer
from tests.services.racing import race, sound_trail, tally
from tests.services.scene import Scene, last, refused, tags
from tests.support.cast import Cast
from tests.support.clock import FrozenClock

NELL = Newcomer("nell", "Nell Nowak", "nell@plant.example", "", ("responders", "ot-leads"))
PHRASE = "a long enough phrase"


def _add(cast: Cast, time: FrozenClock, new: Newcomer = NELL) -> tuple[Person, str]:
    issued = membership.add(new, cast.admin, cast.code(cast.admin, time.now), time.now)
    return issued.row.person, issued.code


def test_a_newcomer_has_no_password_until_they_choose_it(cast: Cast, time: FrozenClock) -> None:
    nell, code = _add(cast, time)
    assert not nell.has_usable_password()
    assert sorted(nell.groups.values_list("name", flat=True)) == ["ot-leads", "responders"]
    begun, row = membership.begin("nell", code, PHRASE, time.now)
    assert begun.check_password(PHRASE) and row.person == nell
    assert EnrolmentCode.objects.get(pk=row.pk).used_at is None
    assert {"person:created", "person:password_chosen"} <= set(tags(nell))
    # Once: with a password the code enrols a factor and nothing else.
    with refused(Code.ENROLMENT_CODE_WRONG):
        membership.begin("nell", code, "another long phrase", time.now)


def test_the_other_administrators_and_the_auditors_are_told(cast: Cast, time: FrozenClock) -> None:
    nell, _ = _add(cast, time)
    told = Notice.objects.filter(topic=f"person:{nell.pk}")
    assert {one.person.username for one in told if one.person} == {"admin", "otto"}
    assert "ot-leads" in told[0].body and "Alex Admin" in told[0].subject


@pytest.mark.parametrize(
    ("new", "field"),
    [
        (Newcomer("Nell!", "Nell", "", "", ()), "username"),
        (Newcomer("rita", "Another Rita", "", "", ()), "username"),
        (Newcomer("nell", "", "", "", ()), "full_name"),
        (Newcomer("nell", "Nell", "no mail", "", ()), "email"),
        (Newcomer("nell", "Nell", "", "Acme", ("reviewers",)), "groups"),
    ],
)
def test_a_slip_names_its_field_and_costs_no_code(
    cast: Cast, time: FrozenClock, new: Newcomer, field: str
) -> None:
    code = cast.code(cast.admin, time.now)
    with refused(Code.BAD_INPUT) as said:
        membership.add(new, cast.admin, code, time.now)
    assert field in said[0].needs
    assert not Person.objects.filter(username="nell").exists()
    assert membership.add(NELL, cast.admin, code, time.now).row.person.username == "nell"


def test_nobody_else_adds_and_nobody_without_a_factor(cast: Cast, time: FrozenClock) -> None:
    code = cast.code(cast.ada, time.now)
    with refused(Code.NOT_ALLOWED):
        membership.add(NELL, cast.ada, code, time.now)
    wrong = cast.wrong_code(cast.admin, time.now)
    with refused(Code.SECOND_FACTOR_WRONG):
        membership.add(NELL, cast.admin, wrong, time.now)
    assert not Person.objects.filter(username="nell").exists()


def test_the_code_begins_for_nobody_else(cast: Cast, time: FrozenClock) -> None:
    _, code = _add(cast, time)
    people.create(
        username="otis", full_name="Otis", email="", password=None, groups=[], by=None, now=time.now
    )
    for name in ("otis", "rita", "nobody"):
        with refused(Code.ENROLMENT_CODE_WRONG):
            membership.begin(name, code, PHRASE, time.now)
    time.forward(hours=25)
    with refused(Code.ENROLMENT_CODE_WRONG):
        membership.begin("nell", code, PHRASE, time.now)


def test_an_easy_password_is_refused_and_the_code_stays_good(cast: Cast, time: FrozenClock) -> None:
    nell, code = _add(cast, time)
    with refused(Code.BAD_INPUT):
        membership.begin("nell", code, "short", time.now)
    nell.refresh_from_db()
    assert not nell.has_usable_password()
    membership.begin("nell", code, PHRASE, time.now)


def test_a_stranger_neither_fills_the_trail_nor_locks_the_newcomer_out(cast: Cast, time: FrozenClock) -> None:
    _, code = _add(cast, time)
    for _ in range(membership.MOST_WRONG + 5):
        with refused(Code.ENROLMENT_CODE_WRONG):
            membership.begin("nell", "00000-00000", PHRASE, time.now)
    rows = AuditEvent.objects.filter(tag="people:enrolment_code:refused")
    assert rows.count() == membership.MOST_WRONG
    membership.begin("nell", code, PHRASE, time.now)


def test_a_new_code_helps_whose_code_is_too_old(cast: Cast, time: FrozenClock) -> None:
    nell, _ = _add(cast, time)
    time.forward(hours=25)
    issued = recovery.issue_code(nell.pk, cast.admin, cast.code(cast.admin, time.now), time.now)
    assert membership.begin("nell", issued.code, PHRASE, time.now)[0] == nell


def test_who_is_disabled_is_out_and_comes_back_only_with_another_word(cast: Cast, time: FrozenClock) -> None:
    membership.disable(cast.rob.pk, cast.admin, "Left the house", cast.code(cast.admin, time.now), time.now)
    cast.rob.refresh_from_db()
    assert not cast.rob.is_active
    assert last("people:person:disabled").data["reason"] == "Left the house"
    time.forward(seconds=60)
    code = cast.code(cast.admin, time.now)
    with refused(Code.BAD_INPUT):
        membership.enable(cast.rob.pk, cast.admin, " ", code, time.now)
    membership.enable(cast.rob.pk, cast.admin, "Came back", code, time.now)
    cast.rob.refresh_from_db()
    assert cast.rob.is_active
    assert last("people:person:enabled").data["factor"]


def test_nobody_disables_themselves(cast: Cast, time: FrozenClock) -> None:
    code = cast.code(cast.admin, time.now)
    with refused(Code.NOT_ALLOWED):
        membership.disable(cast.admin.pk, cast.admin, "Enough", code, time.now)


def test_the_first_page_keeps_what_was_typed_and_says_the_same_of_everybody(cast: Cast) -> None:
    now = clock.now()
    membership.add(NELL, cast.admin, cast.code(cast.admin, now), now)
    said = set()
    for name in ("nell", "rita", "nobody"):
        form = {"username": name, "enrolment_code": "00000-00000", "password": PHRASE, "again": PHRASE}
        answer = Client().post("/login/first/", form)
        page = answer.content.decode()
        assert f'value="{name}"' in page and PHRASE not in page
        said.add((answer.status_code, "That enrolment code is wrong" in page))
    assert said == {(422, True)}


def test_of_two_administrators_who_disable_each_other_one_stays(committed: Scene) -> None:
    alex, rob, now = committed.cast.admin, committed.cast.rob, committed.now
    rob.groups.add(Group.objects.get(name="administrators"))
    each = [
        partial(membership.disable, whom.pk, by, "They or I", committed.cast.code(by, now), now)
        for whom, by in ((alex, rob), (rob, alex))
    ]
    assert tally(race(*each)) == {"ok": 1, "not_allowed": 1}
    assert Person.objects.filter(pk__in=(alex.pk, rob.pk), is_active=True).count() == 1
    sound_trail()
