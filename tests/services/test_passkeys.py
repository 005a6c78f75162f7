"""Passkeys: an answer counts for the very act that it was given for, by a verified person, once, within 60 s."""

from __future__ import annotations

import json
from functools import partial
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import override_settings
from django_otp_webauthn.models import WebAuthnCredential

from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import Approval, AuditEvent, Notice, Person, SpentChallenge, TotpFactor
from breakglass.queries import person_facts
from breakglass.services import approvals, passkey_making, passkeys, people, second_factor, step_up
from breakglass.services.challenges import Purpose
from breakglass.services.passkeys import Assertion
from tests.services.racing import race, sound_trail, tally
from tests.services.scene import Scene, last, refused, tags
from tests.support.authenticator import Authenticator, answer, give_passkey
from tests.support.cast import Cast
from tests.support.clock import FrozenClock


@pytest.fixture
def key(cast: Cast, time: FrozenClock) -> Authenticator:
    """Ada's."""
    return give_passkey(cast.ada, time.now)


def test_a_passkey_approves_and_the_trail_names_it(scene: Scene) -> None:
    ada, request = scene.cast.ada, scene.asked()
    key = give_passkey(ada, scene.now)
    given = answer(key, ada, "approve", request.pk, scene.now)
    approvals.approve(request.pk, ada, given, "go", scene.now)
    row = WebAuthnCredential.objects.get(user=ada)
    assert Approval.objects.get().factor.startswith(f"passkey:{row.pk}:")
    assert last("approval:given").data["factor"] == Approval.objects.get().factor
    assert row.last_used_at == scene.now


def test_an_answer_for_one_request_is_none_for_another(scene: Scene) -> None:
    ada, first, second = scene.cast.ada, scene.asked(), scene.asked()
    key = give_passkey(ada, scene.now)
    given = answer(key, ada, "approve", first.pk, scene.now)
    with refused(Code.PASSKEY_REFUSED) as said:
        approvals.approve(second.pk, ada, given, "go", scene.now)
    assert "something else" in said[0].message and said[0].needs == ("otp",)
    assert not Approval.objects.exists()
    # Nor for the other decision on the same one. It is not used up by either, and still counts for its own.
    with refused(Code.PASSKEY_REFUSED):
        approvals.deny(first.pk, ada, given, "no", scene.now)
    approvals.approve(first.pk, ada, given, "go", scene.now)


def test_an_answer_counts_once(cast: Cast, key: Authenticator, time: FrozenClock) -> None:
    given = answer(key, cast.ada, "kill", 7, time.now)
    step_up.verify(cast.ada, "kill", 7, given, time.now)
    with refused(Code.SECOND_FACTOR_USED):
        step_up.verify(cast.ada, "kill", 7, given, time.now)
    assert last("second_factor:refused").data["kind"] == "passkey"


def test_of_one_answer_sent_many_times_at_once_one_counts(committed: Scene) -> None:
    ada, now = committed.cast.ada, committed.now
    # Kept in sync by its maker: its counter, always 0, catches nothing.
    key = give_passkey(ada, now, key=Authenticator(counts=False))
    for subject in range(4):
        given = answer(key, ada, "approve", subject, now)
        outcomes = race(*[partial(step_up.verify, ada, "approve", subject, given, now)] * 4)
        assert tally(outcomes) == {"ok": 1, "second_factor_used": 3}
    sound_trail()


def test_an_answer_is_old_after_60_seconds_and_none_from_the_future_counts(
    cast: Cast, key: Authenticator, time: FrozenClock
) -> None:
    given = answer(key, cast.ada, "kill", 7, time.now)
    time.forward(seconds=61)
    with refused(Code.PASSKEY_REFUSED) as said:
        step_up.verify(cast.ada, "kill", 7, given, time.now)
    assert "too old" in said[0].message
    early = answer(key, cast.ada, "kill", 7, time.now)
    time.forward(seconds=-30)
    with refused(Code.PASSKEY_REFUSED):
        step_up.verify(cast.ada, "kill", 7, early, time.now)


def test_what_a_passkey_says_without_pin_or_finger_is_refused(
    cast: Cast, key: Authenticator, time: FrozenClock
) -> None:
    with refused(Code.PASSKEY_REFUSED) as said:
        given = answer(key, cast.ada, "kill", 7, time.now, verified=False)
        step_up.verify(cast.ada, "kill", 7, given, time.now)
    assert "without its PIN" in said[0].message


@pytest.mark.parametrize("origin", ["https://localhost:8000", "http://localhost", "http://evil.example"])
def test_what_was_said_to_another_address_is_refused(
    cast: Cast, key: Authenticator, time: FrozenClock, origin: str
) -> None:
    with refused(Code.PASSKEY_REFUSED) as said:
        given = answer(key, cast.ada, "kill", 7, time.now, origin=origin)
        step_up.verify(cast.ada, "kill", 7, given, time.now)
    assert "another address" in said[0].message


def test_somebody_elses_passkey_is_refused(cast: Cast, key: Authenticator, time: FrozenClock) -> None:
    give_passkey(cast.ben, time.now)
    given = key.get(step_up.challenge(cast.ben, "kill", 7, time.now))
    with refused(Code.PASSKEY_REFUSED) as said:
        step_up.verify(cast.ben, "kill", 7, given, time.now)
    assert "isn't registered" in said[0].message


def test_a_forged_signature_is_refused_and_uses_nothing_up(
    cast: Cast, key: Authenticator, time: FrozenClock
) -> None:
    forged = Authenticator(id=key.id, handle=key.handle)
    with refused(Code.PASSKEY_REFUSED) as said:
        given = answer(forged, cast.ada, "kill", 7, time.now)
        step_up.verify(cast.ada, "kill", 7, given, time.now)
    assert "signature" in said[0].message
    assert WebAuthnCredential.objects.get(user=cast.ada).sign_count == 0


JUNK = [
    "{}",
    "[]",
    "null",
    "7",
    "x" * 20_000,
    "[" * 5000,
    '{"id": 1}',
    "\x00",
    '{"id":"AA","rawId":"AA","type":"x"}',
]


@pytest.mark.parametrize("junk", [*JUNK, '{"id":"AA","rawId":"AA","type":"public-key","response":{}}'])
def test_junk_is_refused_and_says_so(cast: Cast, key: Authenticator, time: FrozenClock, junk: str) -> None:
    with refused(Code.PASSKEY_REFUSED):
        step_up.verify(cast.ada, "kill", 7, Assertion(junk), time.now)


def test_each_field_of_an_answer_broken_by_itself_is_refused(
    cast: Cast, key: Authenticator, time: FrozenClock
) -> None:
    whole = json.loads(answer(key, cast.ada, "kill", 7, time.now).text)
    for name in whole["response"]:
        for value in (None, 7, "", "!", "AAAA", {"x": 1}):
            if name == "userHandle" and value is None:
                continue
            broken = whole | {"response": whole["response"] | {name: value}}
            with refused(Code.PASSKEY_REFUSED):
                step_up.verify(cast.ada, "kill", 7, Assertion(json.dumps(broken)), time.now)
    step_up.verify(cast.ada, "kill", 7, Assertion(json.dumps(whole)), time.now)


def test_a_counter_that_goes_back_bars_the_passkey_and_wakes_the_administrators(
    cast: Cast, key: Authenticator, time: FrozenClock
) -> None:
    given = answer(key, cast.ada, "kill", 7, time.now, counter=5)
    step_up.verify(cast.ada, "kill", 7, given, time.now)
    copy = answer(key, cast.ada, "kill", 7, time.now, counter=5)
    with refused(Code.PASSKEY_CLONED):
        step_up.verify(cast.ada, "kill", 7, copy, time.now)
    assert last("passkey:cloned").data["counter"] == 5
    told = {row.person.username for row in Notice.objects.filter(subject__startswith="Alarm: a passkey")}
    assert told == {"ada", "admin"}
    # It opens nothing any more, however its counter goes on.
    with refused(Code.PASSKEY_REFUSED):
        answer(key, cast.ada, "kill", 7, time.now, counter=9)


def test_what_was_answered_is_forgotten_when_no_answer_could_be_in_time(
    cast: Cast, key: Authenticator, time: FrozenClock
) -> None:
    for _ in range(3):
        step_up.verify(cast.ada, "kill", 7, answer(key, cast.ada, "kill", 7, time.now), time.now)
        time.forward(minutes=61)
    assert SpentChallenge.objects.count() == 1


# --- making and removing


def test_a_passkey_is_a_second_factor_by_itself(cast: Cast, key: Authenticator) -> None:
    TotpFactor.objects.filter(user=cast.ada).delete()
    assert second_factor.has_factor(cast.ada)
    assert person_facts(cast.ada).has_second_factor
    TotpFactor.objects.filter(user=cast.ben).delete()
    assert not person_facts(cast.ben).has_second_factor


def test_a_new_passkey_needs_what_permitted_it_and_is_made_once(cast: Cast, time: FrozenClock) -> None:
    permit = passkey_making.permit(cast.ada, cast.code("ada", time.now), time.now)
    options = passkey_making.begin(cast.ada, permit, time.now)
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["rp"]["id"] == "localhost"
    made = Authenticator().create(options)
    with refused(Code.PASSKEY_REFUSED):
        passkey_making.finish(cast.ben, permit, "key", made, time.now)
    with refused(Code.PASSKEY_REFUSED):
        passkey_making.finish(cast.ada, uuid4(), "key", made, time.now)
    assert passkey_making.finish(cast.ada, permit, "key", made, time.now) == []
    with refused(Code.SECOND_FACTOR_USED):
        passkey_making.finish(cast.ada, permit, "key", made, time.now)
    other = Authenticator().create(passkey_making.begin(cast.ada, permit, time.now))
    with refused(Code.SECOND_FACTOR_USED):
        passkey_making.finish(cast.ada, permit, "another for the same code", other, time.now)
    assert [row.name for row in passkeys.of(cast.ada)] == ["key"]
    assert last("second_factor:enrolled").data["by"] == permit.name


def test_a_passkey_made_without_verification_or_elsewhere_or_too_late_isnt_stored(
    cast: Cast, time: FrozenClock
) -> None:
    permit = passkey_making.permit(cast.ada, cast.code("ada", time.now), time.now)
    options = passkey_making.begin(cast.ada, permit, time.now)
    for made in (
        Authenticator().create(options, verified=False),
        Authenticator().create(options, origin="http://evil.example"),
        "{}",
        "[" * 5000,
    ):
        with refused(Code.PASSKEY_REFUSED):
            passkey_making.finish(cast.ada, permit, "key", made, time.now)
    time.forward(minutes=6)
    with refused(Code.PASSKEY_REFUSED):
        passkey_making.finish(cast.ada, permit, "key", Authenticator().create(options), time.now)
    assert not passkeys.of(cast.ada)


def test_removing_one_needs_a_factor_and_never_takes_the_last(
    cast: Cast, key: Authenticator, time: FrozenClock
) -> None:
    row = passkeys.of(cast.ada)[0]
    with refused(Code.SECOND_FACTOR_REQUIRED):
        passkey_making.remove(cast.ada, row.pk, "", time.now)
    with refused(Code.NOT_FOUND):
        passkey_making.remove(cast.ben, row.pk, cast.code("ben", time.now), time.now)
    TotpFactor.objects.filter(user=cast.ada).delete()
    with refused(Code.LAST_FACTOR):
        passkey_making.remove(
            cast.ada, row.pk, answer(key, cast.ada, "remove passkey", row.pk, time.now), time.now
        )
    give_passkey(cast.ada, time.now, name="drawer")
    passkey_making.remove(
        cast.ada, row.pk, answer(key, cast.ada, "remove passkey", row.pk, time.now), time.now
    )
    assert [row.name for row in passkeys.of(cast.ada)] == ["drawer"]
    assert "second_factor:removed" in tags(cast.ada)


def test_of_two_passkeys_removed_at_once_one_stays(committed: Scene) -> None:
    ada, now = committed.cast.ada, committed.now
    keys = [give_passkey(ada, now, name=name) for name in ("one", "two")]
    TotpFactor.objects.filter(user=ada).delete()
    rows = passkeys.of(ada)
    outcomes = race(
        *[
            partial(passkey_making.remove, ada, row.pk, answer(key, ada, "remove passkey", row.pk, now), now)
            for key, row in zip(keys, rows, strict=True)
        ]
    )
    assert tally(outcomes)["last_factor"] == 1
    assert len(passkeys.of(ada)) == 1


# --- logging in


def test_a_stranger_is_known_by_the_passkey_alone(cast: Cast, key: Authenticator, time: FrozenClock) -> None:
    purpose = Purpose("login", "", "login", "this browser")
    person, proof = passkeys.verify(
        purpose, None, key.get(passkeys.options(purpose, None, time.now)), time.now
    )
    assert person == cast.ada
    assert proof.persistent_id == passkeys.of(cast.ada)[0].persistent_id


def test_an_answer_from_another_browser_for_another_handle_or_of_a_disabled_person_logs_nobody_in(
    cast: Cast, key: Authenticator, time: FrozenClock
) -> None:
    mine, theirs = Purpose("login", "", "login", "mine"), Purpose("login", "", "login", "theirs")
    with refused(Code.PASSKEY_REFUSED):
        passkeys.verify(mine, None, key.get(passkeys.options(theirs, None, time.now)), time.now)
    with refused(Code.PASSKEY_REFUSED):
        given = key.get(passkeys.options(mine, None, time.now), handle=cast.ben.pk.bytes)
        passkeys.verify(mine, None, given, time.now)
    people.disable(cast.ada, by=None, now=time.now)
    with refused(Code.PASSKEY_REFUSED):
        passkeys.verify(mine, None, key.get(passkeys.options(mine, None, time.now)), time.now)


def test_a_strangers_noise_fills_no_trail(cast: Cast, time: FrozenClock) -> None:
    before = AuditEvent.objects.count()
    for junk in (*JUNK, Authenticator().get(passkeys.options(Purpose("login"), None, time.now)).text):
        with refused(Code.PASSKEY_REFUSED):
            passkeys.verify(Purpose("login"), None, Assertion(junk), time.now)
    assert AuditEvent.objects.count() == before


def test_who_only_names_a_passkey_writes_nothing_under_its_persons_name(
    cast: Cast, key: Authenticator, time: FrozenClock
) -> None:
    purpose = Purpose("login")
    forged = Authenticator(id=key.id, handle=key.handle)
    signed = key.get(passkeys.options(purpose, None, time.now))
    before = AuditEvent.objects.count()
    for given in (forged.get(passkeys.options(purpose, None, time.now)), _spoiled(signed)):
        with refused(Code.PASSKEY_REFUSED):
            passkeys.verify(purpose, None, given, time.now)
    assert AuditEvent.objects.count() == before
    time.forward(seconds=61)
    with refused(Code.PASSKEY_REFUSED):
        passkeys.verify(purpose, None, signed, time.now)
    assert AuditEvent.objects.count() == before + 1
    assert last("second_factor:refused").actor_name == "ada", "too late, but really hers"


def _spoiled(given: Assertion) -> Assertion:
    """With the client data of nobody's challenge."""
    said = json.loads(given.text)
    said["response"]["clientDataJSON"] = "e30"
    return Assertion(json.dumps(said))


def test_an_answer_that_approves_doesnt_log_in(cast: Cast, key: Authenticator, time: FrozenClock) -> None:
    given = answer(key, cast.ada, "login", "", time.now)
    with refused(Code.PASSKEY_REFUSED):
        passkeys.verify(Purpose("login", str(cast.ada.pk), "login"), cast.ada, given, time.now)


def test_where_the_address_is_a_number_no_passkey_is_offered(
    person_without: Person, time: FrozenClock
) -> None:
    numbered = settings.BREAKGLASS.model_copy(update={"public_url": "http://10.0.0.5:8000"})
    with override_settings(BREAKGLASS=numbered), refused(Code.NOT_OFFERED):
        passkey_making.begin(person_without, uuid4(), time.now)


@pytest.fixture
def person_without(cast: Cast) -> Person:
    TotpFactor.objects.filter(user=cast.rob).delete()
    return cast.rob
