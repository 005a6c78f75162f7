"""Wrong codes after a password alone: bounded by address and by person, told, and apart from the person's own codes."""

from __future__ import annotations

from datetime import timedelta

from breakglass.domain.refusals import RefusalCode as Code
from breakglass.models import AuditEvent, Notice, TotpFactor
from breakglass.services import half_logins, second_factor
from tests.services.scene import refused
from tests.support.cast import Cast
from tests.support.clock import FrozenClock


def _wrong(cast: Cast, time: FrozenClock, address: str) -> None:
    with refused(Code.SECOND_FACTOR_WRONG):
        half_logins.verify(cast.ada, cast.wrong_code("ada", time.now), address, time.now)


def test_five_wrong_codes_from_an_address_wait_five_minutes_there(cast: Cast, time: FrozenClock) -> None:
    for _ in range(5):
        _wrong(cast, time, "203.0.113.9")
        time.forward(seconds=10)
    before = AuditEvent.objects.count()
    with refused(Code.THROTTLED) as said:
        half_logins.verify(cast.ada, cast.code("ada", time.now), "203.0.113.9", time.now)
    assert "Try again in 251 s" in said[0].help
    assert AuditEvent.objects.count() == before
    # The right code wasn't used up, and the device knows of nothing.
    device = TotpFactor.objects.get(user=cast.ada)
    assert (device.failures, device.blocked_until) == (0, None)
    half_logins.verify(cast.ada, cast.code("ada", time.now), "10.0.0.1", time.now)
    time.forward(seconds=251)
    half_logins.verify(cast.ada, cast.code("ada", time.now), "203.0.113.9", time.now)


def test_thirty_in_an_hour_is_all_from_wherever_they_come(cast: Cast, time: FrozenClock) -> None:
    for n in range(30):
        _wrong(cast, time, f"203.0.113.{n}")
        assert Notice.objects.filter(person=cast.ada).count() == (n >= 9)
    with refused(Code.THROTTLED):
        half_logins.verify(cast.ada, cast.code("ada", time.now), "203.0.113.99", time.now)
    # The person themself, logged in or by ssh, and with a recovery code:
    second_factor.verify(cast.ada, cast.code("ada", time.now), time.now)
    code = second_factor.fresh_recovery_codes(cast.ada)[0]
    before = AuditEvent.objects.count()
    with refused(Code.SECOND_FACTOR_WRONG):
        half_logins.verify(cast.ada, "aaaa-bbbb-cccc-dddd", "10.0.0.1", time.now, recovery=True)
    assert AuditEvent.objects.count() == before
    half_logins.verify(cast.ada, code, "10.0.0.1", time.now, recovery=True)
    later = time.forward(seconds=timedelta(hours=1).total_seconds())
    half_logins.verify(cast.ada, cast.code("ada", later), "203.0.113.99", later)


def test_a_code_that_logged_in_counts_nowhere_again(cast: Cast, time: FrozenClock) -> None:
    code = cast.code("ada", time.now)
    half_logins.verify(cast.ada, code, "10.0.0.1", time.now)
    with refused(Code.SECOND_FACTOR_USED):
        second_factor.verify(cast.ada, code, time.now)
    with refused(Code.SECOND_FACTOR_USED):
        half_logins.verify(cast.ada, code, "10.0.0.1", time.now)
