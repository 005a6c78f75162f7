"""One-time connect codes: once, within a minute, for one person and one grant."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from functools import partial

import pytest

from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import ConnectCode, Grant
from breakglass.services import connect_codes, grants, people
from tests.services.racing import race, sound_trail, tally
from tests.services.scene import Scene, last, refused, trail_text

FROM = "192.0.2.7"


def issued(scene: Scene, grant: Grant) -> str:
    scene.time.forward(seconds=30)
    return connect_codes.issue(scene.cast.rita, grant.pk, scene.code(scene.cast.rita), scene.now).code


def test_it_is_shown_once_kept_as_a_hash_and_good_once(scene: Scene, grant: Grant) -> None:
    code = issued(scene, grant)
    row = ConnectCode.objects.get()
    assert row.sha256 == hashlib.sha256(code.replace("-", "").encode()).hexdigest()
    assert code not in trail_text() and code.replace("-", "") not in trail_text()
    used = connect_codes.redeem("rita", "hist-01", code, FROM, scene.now)
    assert (used.person, used.grant) == (scene.cast.rita, grant)
    row.refresh_from_db()
    assert (row.used_at, row.used_from) == (scene.now, FROM)
    with refused(Code.CONNECT_CODE_WRONG):
        connect_codes.redeem("rita", "hist-01", code, FROM, scene.now)
    assert last("connect_code:used").data["address"] == FROM


def test_a_tired_hand_is_understood(scene: Scene, grant: Grant) -> None:
    code = issued(scene, grant)
    typed = f"  {code.upper().replace('-', ' ').replace('0', 'O').replace('1', 'I')} "
    connect_codes.redeem("rita", "hist-01", typed, FROM, scene.now)


def test_it_lives_for_sixty_seconds(scene: Scene, grant: Grant) -> None:
    code = issued(scene, grant)
    with refused(Code.CONNECT_CODE_WRONG):
        connect_codes.redeem("rita", "hist-01", code, FROM, scene.now + timedelta(seconds=60))
    almost = scene.now + timedelta(seconds=60) - timedelta(microseconds=1)
    connect_codes.redeem("rita", "hist-01", code, FROM, almost)


@pytest.mark.parametrize(("who", "asset"), [("rob", "hist-01"), ("rita", "hmi-02"), ("Rita", "hist-01")])
def test_it_is_for_that_person_and_the_grants_assets(
    scene: Scene, grant: Grant, who: str, asset: str
) -> None:
    code = issued(scene, grant)
    with refused(Code.CONNECT_CODE_WRONG):
        connect_codes.redeem(who, asset, code, FROM, scene.now)
    connect_codes.redeem("rita", "hist-01", code, FROM, scene.now)


@pytest.mark.parametrize("guess", ["", " ", "aaaaa-aaaaa", "\x00", "x" * 5000])
def test_a_guess_is_nothing(scene: Scene, grant: Grant, guess: str) -> None:
    issued(scene, grant)
    with refused(Code.CONNECT_CODE_WRONG):
        connect_codes.redeem("rita", "hist-01", guess, FROM, scene.now)


def test_a_new_code_voids_the_one_before(scene: Scene, grant: Grant) -> None:
    first = issued(scene, grant)
    second = issued(scene, grant)
    with refused(Code.CONNECT_CODE_WRONG):
        connect_codes.redeem("rita", "hist-01", first, FROM, scene.now)
    connect_codes.redeem("rita", "hist-01", second, FROM, scene.now)


def test_it_takes_a_fresh_second_factor(scene: Scene, grant: Grant) -> None:
    scene.time.forward(seconds=30)
    rita, code = scene.cast.rita, scene.code(scene.cast.rita)
    with refused(Code.SECOND_FACTOR_WRONG):
        connect_codes.issue(rita, grant.pk, scene.cast.wrong_code("rita", scene.now), scene.now)
    connect_codes.issue(rita, grant.pk, code, scene.now)
    with refused(Code.SECOND_FACTOR_USED):
        connect_codes.issue(rita, grant.pk, code, scene.now)
    assert last("connect_code:refused").data["refusal"] == "second_factor_used"


def test_only_the_holder_of_a_live_grant_gets_one(scene: Scene, grant: Grant) -> None:
    with refused(Code.GRANT_FOREIGN):
        connect_codes.issue(scene.cast.rob, grant.pk, scene.code(scene.cast.rob), scene.now)
    grants.release(grant.pk, scene.cast.rita, scene.now)
    with refused(Code.GRANT_ENDED):
        issued(scene, grant)
    assert not ConnectCode.objects.exists()


def test_a_disabled_person_gets_nowhere_with_it(scene: Scene, grant: Grant) -> None:
    code = issued(scene, grant)
    people.disable(scene.cast.rita, by=None, now=scene.now)
    with refused(Code.CONNECT_CODE_WRONG):
        connect_codes.redeem("rita", "hist-01", code, FROM, scene.now)


def test_of_six_who_race_with_one_code_exactly_one_gets_in(committed: Scene) -> None:
    grant = committed.granted()
    for _ in range(5):
        code = issued(committed, grant)
        use = partial(connect_codes.redeem, "rita", "hist-01", code, FROM, committed.now)
        assert tally(race(*[use] * 6)) == {"ok": 1, "connect_code_wrong": 5}
    assert ConnectCode.objects.filter(used_at__isnull=False).count() == 5
    sound_trail()
