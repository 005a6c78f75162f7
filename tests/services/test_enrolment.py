"""A first second factor takes an administrator's one-time code; lost ones are recovered by two administrators."""

from __future__ import annotations

import base64
from datetime import datetime
from functools import partial
from io import StringIO

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client
from django_otp_webauthn.models import WebAuthnCredential

from breakglass import clock
from breakglass.demo import totp
from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import EnrolmentCode, FactorRecovery, Notice, Person, TotpFactor
from breakglass.services import enrolment, passkey_making, passkeys, people, recovery, second_factor, step_up
from tests.services.racing import race, sound_trail, tally
from tests.services.scene import Scene, last, refused, tags, trail_text
from tests.support.authenticator import Authenticator, give_passkey
from tests.support.cast import Cast
from tests.support.clock import FrozenClock

SECRET = base64.b32encode(b"a secret of twenty b").decode()


def _newcomer(time: FrozenClock, name: str = "nell", *groups: str) -> Person:
    return people.create(
        username=name,
        full_name=name.capitalize(),
        email="",
        password="a long enough phrase",
        groups=groups or ["responders"],
        by=None,
        now=time.now,
    )


def _second_administrator(time: FrozenClock) -> tuple[Person, Authenticator]:
    person = _newcomer(time, "anna", "administrators")
    return person, give_passkey(person, time.now)


@pytest.fixture
def nell(cast: Cast, time: FrozenClock) -> Person:
    return _newcomer(time)


def _minted(person: Person, time: FrozenClock) -> enrolment.IssuedEnrolment:
    with transaction.atomic():
        return enrolment.mint(person, None, time.now)


def _enrol(person: Person, permit: enrolment.Permit, time: FrozenClock) -> list[str]:
    return second_factor.enrol_confirm(person, SECRET, totp.code(SECRET, time.now), time.now, permit=permit)


def test_an_administrators_code_enrols_once(cast: Cast, nell: Person, time: FrozenClock) -> None:
    issued = recovery.issue_code(nell.pk, cast.admin, cast.code("admin", time.now), time.now)
    digits = issued.code.replace("-", "")
    assert len(digits) == 10 and digits not in trail_text() and issued.code not in trail_text()
    assert not EnrolmentCode.objects.filter(sha256__contains=digits).exists()
    permit = enrolment.look(nell, issued.code.upper().replace("-", " "), time.now).pk
    assert len(_enrol(nell, permit, time)) == 10
    assert last("second_factor:enrolled").data == {"kind": "app", "by": f"enrolment code {permit}"}
    assert last("enrolment_code:issued").actor_name == "admin"
    TotpFactor.objects.filter(user=nell).delete()
    with refused(Code.ENROLMENT_CODE_WRONG):
        enrolment.look(nell, issued.code, time.now)
    with refused(Code.ENROLMENT_CODE_WRONG):
        _enrol(nell, permit, time)
    assert not second_factor.has_factor(nell)


def test_a_code_enrols_a_passkey_as_well(cast: Cast, nell: Person, time: FrozenClock) -> None:
    permit = _minted(nell, time).row.pk
    made = Authenticator().create(passkey_making.begin(nell, permit, time.now))
    assert len(passkey_making.finish(nell, permit, "phone", made, time.now)) == 10
    assert passkeys.any_of(nell)


def test_a_code_is_one_persons_and_lives_for_a_day(cast: Cast, nell: Person, time: FrozenClock) -> None:
    other, issued = _newcomer(time, "nils"), _minted(nell, time)
    with refused(Code.ENROLMENT_CODE_WRONG):
        enrolment.look(other, issued.code, time.now)
    with refused(Code.ENROLMENT_CODE_WRONG):
        _enrol(other, issued.row.pk, time)
    assert last("enrolment_code:refused").actor_name == "nils"
    newer = _minted(nell, time)
    with refused(Code.ENROLMENT_CODE_WRONG):
        enrolment.look(nell, issued.code, time.now)
    enrolment.look(nell, newer.code, time.now)
    time.forward(hours=24)
    with refused(Code.ENROLMENT_CODE_WRONG):
        _enrol(nell, newer.row.pk, time)


def test_who_has_a_factor_enrols_another_with_that_and_not_with_a_code(cast: Cast, time: FrozenClock) -> None:
    permit = _minted(cast.ada, time).row.pk
    made = Authenticator().create(passkey_making.begin(cast.ada, permit, time.now))
    with refused(Code.NOT_ALLOWED):
        passkey_making.finish(cast.ada, permit, "phone", made, time.now)
    with refused(Code.BAD_INPUT):
        recovery.issue_code(cast.ada.pk, cast.admin, cast.code("admin", time.now), time.now)


def test_one_code_used_twice_at_once_enrols_one_factor(committed: Scene) -> None:
    nell, now = _newcomer(committed.time), committed.now
    permit = _minted(nell, committed.time).row.pk
    made = [Authenticator().create(passkey_making.begin(nell, permit, now)) for _ in range(3)]
    outcomes = race(*[partial(passkey_making.finish, nell, permit, "phone", one, now) for one in made])
    assert tally(outcomes) == {"ok": 1, "not_allowed": 2}
    assert len(passkeys.of(nell)) == 1
    sound_trail()


def test_only_administrators_issue_codes_and_none_for_themselves(
    cast: Cast, nell: Person, time: FrozenClock
) -> None:
    for name in ("rita", "ada", "sam", "vera", "otto"):
        with refused(Code.NOT_ALLOWED):
            recovery.issue_code(nell.pk, cast.people[name], cast.code(name, time.now), time.now)
    with refused(Code.NOT_ALLOWED):
        recovery.issue_code(cast.admin.pk, cast.admin, cast.code("admin", time.now), time.now)
    with refused(Code.SECOND_FACTOR_WRONG):
        recovery.issue_code(nell.pk, cast.admin, cast.wrong_code("admin", time.now), time.now)


def test_the_command_is_for_the_first_administrator(cast: Cast, nell: Person, time: FrozenClock) -> None:
    with pytest.raises(CommandError, match="page People"):
        call_command("enrolment_code", "nell")
    with pytest.raises(CommandError, match="no active person"):
        call_command("enrolment_code", "nemo")
    TotpFactor.objects.filter(user=cast.admin).delete()
    said = StringIO()
    call_command("enrolment_code", "admin", stdout=said)
    permit = enrolment.look(cast.admin, said.getvalue().rpartition(": ")[2].strip(), _now()).pk
    assert EnrolmentCode.objects.get(pk=permit).issued_by is None


def test_the_one_administrator_who_lost_everything_starts_anew_at_the_shell(
    cast: Cast, time: FrozenClock
) -> None:
    recovery.issue_by_operator(cast.admin, time.now)
    assert not second_factor.has_factor(cast.admin)
    assert Notice.objects.filter(person=cast.admin, subject__contains="were removed").exists()


# --- recovery


def test_two_administrators_let_a_person_start_anew(cast: Cast, time: FrozenClock) -> None:
    anna, key = _second_administrator(time)
    give_passkey(cast.rita, time.now)
    client = Client()
    client.force_login(cast.rita, backend="django.contrib.auth.backends.ModelBackend")
    stranger = Client()
    stranger.force_login(cast.ben, backend="django.contrib.auth.backends.ModelBackend")
    asked = recovery.ask(cast.rita.pk, cast.admin, "At the gate.", cast.code("admin", time.now), time.now)
    assert second_factor.has_app(cast.rita)
    given = key.get(_challenge(anna, asked, time))
    issued = recovery.confirm(asked.pk, anna, given, time.now)
    assert not second_factor.has_factor(cast.rita) and second_factor.recovery_codes_left(cast.rita) == 0
    kept = {row.get_decoded().get("_auth_user_id") for row in Session.objects.all()}
    assert kept == {str(cast.ben.pk)}
    _enrol(cast.rita, enrolment.look(cast.rita, issued.code, time.now).pk, time)
    told = set(
        Notice.objects.filter(subject__startswith="Second factors were").values_list("person__username")
    )
    assert told == {("rita",), ("admin",), ("anna",)}
    assert [tag for tag in tags(cast.rita) if "recovery:" in tag] == [
        "recovery:asked",
        "recovery:confirmed",
    ]
    assert last("recovery:confirmed").data["asked_by"] == "admin"
    asked.refresh_from_db()
    assert asked.confirmed and asked.decided_factor.startswith("passkey:")


def test_one_administrator_alone_recovers_nobody(cast: Cast, time: FrozenClock) -> None:
    asked = recovery.ask(cast.rita.pk, cast.admin, "At the gate.", cast.code("admin", time.now), time.now)
    time.forward(seconds=30)
    with refused(Code.RECOVERY_TAKES_TWO):
        recovery.confirm(asked.pk, cast.admin, cast.code("admin", time.now), time.now)
    with refused(Code.RECOVERY_TAKES_TWO):
        recovery.ask(cast.admin.pk, cast.admin, "Me.", cast.code("admin", time.now), time.now)
    with refused(Code.NOT_ALLOWED):
        recovery.confirm(asked.pk, cast.ada, cast.code("ada", time.now), time.now)
    with refused(Code.BAD_INPUT):
        recovery.ask(cast.rita.pk, cast.admin, "Again.", cast.code("admin", time.now), time.now)
    assert second_factor.has_app(cast.rita)
    assert last("recovery:refused").actor_name == "admin"


def test_the_first_word_counts_while_who_gave_it_may_and_for_a_day(cast: Cast, time: FrozenClock) -> None:
    anna, key = _second_administrator(time)
    asked = recovery.ask(cast.rita.pk, cast.admin, "At the gate.", cast.code("admin", time.now), time.now)
    people.disable(cast.admin, by=None, now=time.now)
    with refused(Code.RECOVERY_TAKES_TWO):
        recovery.confirm(asked.pk, anna, key.get(_challenge(anna, asked, time)), time.now)
    people.enable(cast.admin, by=None, now=time.now)
    time.forward(seconds=25 * 3600)
    with refused(Code.RECOVERY_TAKES_TWO):
        recovery.confirm(asked.pk, anna, key.get(_challenge(anna, asked, time)), time.now)
    assert second_factor.has_app(cast.rita)
    anew = recovery.ask(cast.rita.pk, cast.admin, "Again.", cast.code("admin", time.now), time.now)
    recovery.confirm(anew.pk, anna, key.get(_challenge(anna, anew, time)), time.now)
    assert not second_factor.has_app(cast.rita)


def test_a_barred_passkey_takes_two_administrators_as_well(cast: Cast, time: FrozenClock) -> None:
    nell = _newcomer(time)
    give_passkey(nell, time.now)
    WebAuthnCredential.objects.filter(user=nell).update(confirmed=False)
    assert not second_factor.has_factor(nell)
    with refused(Code.BAD_INPUT):
        recovery.issue_code(nell.pk, cast.admin, cast.code("admin", time.now), time.now)


def test_an_administrator_doesnt_confirm_their_own_recovery(cast: Cast, time: FrozenClock) -> None:
    anna, key = _second_administrator(time)
    asked = recovery.ask(anna.pk, cast.admin, "Says it is her.", cast.code("admin", time.now), time.now)
    with refused(Code.RECOVERY_TAKES_TWO):
        recovery.confirm(asked.pk, anna, key.get(_challenge(anna, asked, time)), time.now)
    # Whose factors they are stops it; so does who asked.
    recovery.decline(asked.pk, anna, time.now)
    with refused(Code.NOT_FOUND):
        recovery.confirm(asked.pk, cast.admin, cast.code("admin", time.now), time.now)
    assert passkeys.any_of(anna)


def test_who_lost_nothing_stops_it_and_nobody_else_does(cast: Cast, time: FrozenClock) -> None:
    asked = recovery.ask(cast.rita.pk, cast.admin, "On the phone.", cast.code("admin", time.now), time.now)
    with refused(Code.NOT_ALLOWED):
        recovery.decline(asked.pk, cast.rob, time.now)
    recovery.decline(asked.pk, cast.rita, time.now)
    with refused(Code.NOT_ALLOWED):
        recovery.decline(asked.pk, cast.rita, time.now)
    assert last("recovery:declined").actor_name == "rita"


def test_of_a_yes_and_a_no_at_once_one_stands(committed: Scene) -> None:
    cast, now = committed.cast, committed.now
    anna, key = _second_administrator(committed.time)
    asked = recovery.ask(cast.rita.pk, cast.admin, "At the gate.", cast.code("admin", now), now)
    given = key.get(_challenge(anna, asked, committed.time))
    outcomes = race(
        partial(recovery.confirm, asked.pk, anna, given, now),
        partial(recovery.decline, asked.pk, cast.rita, now),
    )
    row = FactorRecovery.objects.get()
    assert row.decided_at is not None
    assert second_factor.has_app(cast.rita) is not row.confirmed
    assert isinstance(outcomes[0], str) is not row.confirmed
    sound_trail()


def _challenge(person: Person, asked: FactorRecovery, time: FrozenClock) -> dict[str, object]:
    return step_up.challenge(person, "confirm recovery", asked.pk, time.now)


def _now() -> datetime:
    return clock.now()
