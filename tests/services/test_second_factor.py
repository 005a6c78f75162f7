"""Second factors: enrolled once, each code good once, a wrong one never blocks for long."""

from __future__ import annotations

import base64
import os
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from django.db import transaction

from breakglass.demo import totp
from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import AuditEvent, Person, RecoveryCode, TotpFactor
from breakglass.services import enrolment, people, second_factor
from tests.services.scene import last, refused, trail_text
from tests.support.cast import PLAYERS, Cast
from tests.support.clock import FrozenClock


@pytest.fixture
def newcomer(db: None, time: FrozenClock) -> Person:
    """A person without any second factor."""
    return people.create(
        username="lena",
        full_name="Lena Berg",
        email="",
        password="a long enough phrase",
        groups=["responders"],
        by=None,
        now=time.now,
    )


# --- verifying


def test_a_right_code_proves_its_person_once(cast: Cast, time: FrozenClock) -> None:
    code = cast.code("ada", time.now)
    proof = second_factor.verify(cast.ada, code, time.now)
    assert proof.at == time.now
    with refused(Code.SECOND_FACTOR_USED):
        second_factor.verify(cast.ada, code, time.now)


def test_a_code_from_the_next_step_uses_up_those_before_it(cast: Cast, time: FrozenClock) -> None:
    """A phone's clock may run ahead by a step; what it showed before is then as good as used."""
    second_factor.verify(cast.ada, cast.code("ada", time.now + timedelta(seconds=30)), time.now)
    with refused(Code.SECOND_FACTOR_USED):
        second_factor.verify(cast.ada, cast.code("ada", time.now), time.now)


@pytest.mark.parametrize(("offset", "good"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_a_code_counts_in_its_own_step_and_one_either_side(
    cast: Cast, time: FrozenClock, offset: int, good: bool
) -> None:
    code = cast.code("ada", time.now + timedelta(seconds=offset))
    if good:
        second_factor.verify(cast.ada, code, time.now)
    else:
        with refused(Code.SECOND_FACTOR_WRONG):
            second_factor.verify(cast.ada, code, time.now)


def test_a_code_is_read_with_the_spaces_that_people_type(cast: Cast, time: FrozenClock) -> None:
    code = cast.code("ada", time.now)
    second_factor.verify(cast.ada, f" {code[:3]} {code[3:]} ", time.now)


def test_each_proof_has_a_name_of_its_own(cast: Cast, time: FrozenClock) -> None:
    names = set()
    for _ in range(3):
        names.add(second_factor.verify(cast.ada, cast.code("ada", time.now), time.now).name)
        time.forward(seconds=30)
    names.add(second_factor.verify(cast.ben, cast.code("ben", time.now), time.now).name)
    assert len(names) == 4


def test_without_a_factor_nothing_is_proven(newcomer: Person, time: FrozenClock) -> None:
    with refused(Code.SECOND_FACTOR_REQUIRED):
        second_factor.verify(newcomer, "123456", time.now)
    with refused(Code.SECOND_FACTOR_REQUIRED):
        second_factor.use_recovery_code(newcomer, "abcd-efgh-ijkl-mnop", time.now)


def test_a_factor_that_isnt_confirmed_proves_nothing(cast: Cast, time: FrozenClock) -> None:
    TotpFactor.objects.filter(user=cast.ada).update(confirmed=False)
    with refused(Code.SECOND_FACTOR_REQUIRED):
        second_factor.verify(cast.ada, cast.code("ada", time.now), time.now)


# --- throttling


def test_a_wrong_code_never_blocks_for_longer_than_32_seconds(cast: Cast, time: FrozenClock) -> None:
    waits = []
    for _ in range(12):
        with refused(Code.SECOND_FACTOR_WRONG):
            second_factor.verify(cast.ada, cast.wrong_code("ada", time.now), time.now)
        until = TotpFactor.objects.get(user=cast.ada).blocked_until
        wait = (until - time.now).total_seconds() if until else 0.0
        waits.append(wait)
        time.forward(seconds=wait)
    assert waits == [0, 0, 0, 2, 4, 8, 16, 32, 32, 32, 32, 32]
    second_factor.verify(cast.ada, cast.code("ada", time.now), time.now)


def test_while_blocked_even_a_right_code_waits_and_isnt_used_up(cast: Cast, time: FrozenClock) -> None:
    for _ in range(4):
        with refused(Code.SECOND_FACTOR_WRONG):
            second_factor.verify(cast.ada, cast.wrong_code("ada", time.now), time.now)
    code = cast.code("ada", time.now)
    with refused(Code.THROTTLED) as said:
        second_factor.verify(cast.ada, code, time.now)
    assert "Try again in 3 s" in said[0].help
    second_factor.verify(cast.ada, code, time.forward(seconds=2))


def test_trying_while_blocked_doesnt_prolong_it(cast: Cast, time: FrozenClock) -> None:
    for _ in range(4):
        with refused(Code.SECOND_FACTOR_WRONG):
            second_factor.verify(cast.ada, cast.wrong_code("ada", time.now), time.now)
    before = TotpFactor.objects.get(user=cast.ada).blocked_until
    for _ in range(20):
        with refused(Code.THROTTLED):
            second_factor.verify(cast.ada, cast.wrong_code("ada", time.now), time.now)
    assert TotpFactor.objects.get(user=cast.ada).blocked_until == before


def test_a_right_code_forgives_and_another_person_is_never_held_up(cast: Cast, time: FrozenClock) -> None:
    for _ in range(3):
        with refused(Code.SECOND_FACTOR_WRONG):
            second_factor.verify(cast.ada, cast.wrong_code("ada", time.now), time.now)
    second_factor.verify(cast.ben, cast.code("ben", time.now), time.now)
    second_factor.verify(cast.ada, cast.code("ada", time.now), time.now)
    assert TotpFactor.objects.get(user=cast.ada).failures == 0


def test_failures_are_in_the_trail_and_the_codes_are_not(cast: Cast, time: FrozenClock) -> None:
    wrong = cast.wrong_code("ada", time.now)
    with refused(Code.SECOND_FACTOR_WRONG):
        second_factor.verify(cast.ada, wrong, time.now)
    assert last("second_factor:refused").data["refusal"] == "second_factor_wrong"
    second_factor.verify(cast.ada, cast.code("ada", time.now), time.now)
    assert wrong not in trail_text()
    assert cast.code("ada", time.now) not in trail_text()


# --- enrolling


def test_enrolling_takes_a_code_of_the_new_secret_and_gives_ten_recovery_codes(
    newcomer: Person, time: FrozenClock
) -> None:
    begun = second_factor.enrol_begin(newcomer)
    query = parse_qs(urlsplit(begun.otpauth_uri).query)
    assert query["secret"] == [begun.secret_base32]
    assert not second_factor.has_factor(newcomer)
    with refused(Code.SECOND_FACTOR_WRONG):
        second_factor.enrol_confirm(
            newcomer, begun.secret_base32, "000000", time.now, permit=_permit(newcomer, time)
        )
    code = totp.code(begun.secret_base32, time.now)
    codes = second_factor.enrol_confirm(
        newcomer, begun.secret_base32, code, time.now, permit=_permit(newcomer, time)
    )
    assert len(set(codes)) == 10
    assert second_factor.recovery_codes_left(newcomer) == 10
    # The code that confirmed it is used up by that.
    with refused(Code.SECOND_FACTOR_USED):
        second_factor.verify(newcomer, code, time.now)
    time.forward(seconds=30)
    second_factor.verify(newcomer, totp.code(begun.secret_base32, time.now), time.now)


def test_two_begun_enrolments_have_two_secrets(newcomer: Person) -> None:
    secrets = {second_factor.enrol_begin(newcomer).secret_base32 for _ in range(3)}
    assert len(secrets) == 3
    assert all(len(base64.b32decode(secret)) == 20 for secret in secrets)


def test_a_second_factor_cant_be_replaced_by_enrolling_again(cast: Cast, time: FrozenClock) -> None:
    begun = second_factor.enrol_begin(cast.ada)
    with refused(Code.NOT_ALLOWED):
        second_factor.enrol_confirm(
            cast.ada,
            begun.secret_base32,
            totp.code(begun.secret_base32, time.now),
            time.now,
            permit=_permit(cast.ada, time),
        )
    second_factor.verify(cast.ada, cast.code("ada", time.now), time.now)


@pytest.mark.parametrize("secret", ["", "A", "not base32!", "GEZDGNBV", "\u00e4" * 8])
def test_a_secret_that_is_none_or_too_short_isnt_enrolled(
    newcomer: Person, time: FrozenClock, secret: str
) -> None:
    try:
        code = totp.code(secret, time.now)
    except ValueError:
        code = "123456"
    with refused(Code.BAD_INPUT):
        second_factor.enrol_confirm(newcomer, secret, code, time.now, permit=_permit(newcomer, time))
    assert not second_factor.has_factor(newcomer)


def test_secrets_and_recovery_codes_lie_in_the_database_as_ciphertext_and_hashes(
    newcomer: Person, time: FrozenClock
) -> None:
    begun = second_factor.enrol_begin(newcomer)
    code = totp.code(begun.secret_base32, time.now)
    codes = second_factor.enrol_confirm(
        newcomer, begun.secret_base32, code, time.now, permit=_permit(newcomer, time)
    )
    stored = bytes(TotpFactor.objects.get(user=newcomer).secret)
    assert base64.b32decode(begun.secret_base32) not in stored
    assert begun.secret_base32.encode() not in stored
    hashes = set(RecoveryCode.objects.values_list("sha256", flat=True))
    assert hashes.isdisjoint({code.replace("-", "") for code in codes} | set(codes))
    assert begun.secret_base32 not in trail_text()


def _permit(person: Person, time: FrozenClock) -> UUID:
    with transaction.atomic():
        return enrolment.mint(person, None, time.now).row.pk


# --- recovery codes


@pytest.fixture
def codes(newcomer: Person, time: FrozenClock) -> list[str]:
    secret = base64.b32encode(os.urandom(20)).decode()
    return second_factor.enrol_confirm(
        newcomer, secret, totp.code(secret, time.now), time.now, permit=_permit(newcomer, time)
    )


def test_a_recovery_code_counts_once(newcomer: Person, codes: list[str], time: FrozenClock) -> None:
    second_factor.use_recovery_code(newcomer, codes[0].upper(), time.now)
    with refused(Code.SECOND_FACTOR_WRONG):
        second_factor.use_recovery_code(newcomer, codes[0], time.now)
    second_factor.use_recovery_code(newcomer, codes[1].replace("-", " "), time.now)
    assert second_factor.recovery_codes_left(newcomer) == 8
    assert AuditEvent.objects.filter(tag__endswith="recovery_code:used").count() == 2


def test_a_recovery_code_is_its_persons_own(
    cast: Cast, newcomer: Person, codes: list[str], time: FrozenClock
) -> None:
    with refused(Code.SECOND_FACTOR_WRONG):
        second_factor.use_recovery_code(cast.ada, codes[0], time.now)


def test_a_recovery_code_is_no_second_factor_for_a_decision(
    newcomer: Person, codes: list[str], time: FrozenClock
) -> None:
    with refused(Code.SECOND_FACTOR_WRONG):
        second_factor.verify(newcomer, codes[0], time.now)
    assert second_factor.recovery_codes_left(newcomer) == 10


def test_guessing_recovery_codes_is_slowed_down_too(
    newcomer: Person, codes: list[str], time: FrozenClock
) -> None:
    for _ in range(4):
        with refused(Code.SECOND_FACTOR_WRONG):
            second_factor.use_recovery_code(newcomer, "aaaa-bbbb-cccc-dddd", time.now)
    with refused(Code.THROTTLED):
        second_factor.use_recovery_code(newcomer, codes[0], time.now)
    second_factor.use_recovery_code(newcomer, codes[0], time.forward(seconds=2))


def test_django_otps_own_entry_point_keeps_the_same_rules(cast: Cast, frozen: FrozenClock) -> None:
    device = TotpFactor.objects.get(user=cast.ada)
    code = cast.code("ada", frozen.now)
    assert device.verify_token(code)
    assert not device.verify_token(code)


def test_the_code_shown_by_devtotp_is_the_one_of_the_app(cast: Cast, time: FrozenClock) -> None:
    assert second_factor.current_code(cast.ada, time.now) == totp.code(PLAYERS["ada"].totp_secret, time.now)
