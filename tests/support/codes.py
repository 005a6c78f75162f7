"""Second-factor codes for people of a running demo, each good once, with as little waiting as the rules allow."""

from __future__ import annotations

import time
from datetime import timedelta

from breakglass import clock
from breakglass.demo import totp
from breakglass.demo.cast import PEOPLE

SECRETS = {player.username: player.totp_secret for player in PEOPLE}


class Codes:
    """The broker takes a code of the step before, of now, and of the step after, but never one twice or an older one."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def fresh(self, username: str) -> str:
        """A code that was not given before. Waits only when three were taken within half a minute."""
        base = int(clock.now().timestamp()) // totp.STEP
        step = max(base - 1, self._last.get(username, 0) + 1)
        if step == base - 1 and totp.seconds_left(clock.now()) < 15:
            step = base  # the oldest code would be too old by the time it arrives
        while step > int(clock.now().timestamp()) // totp.STEP + 1:
            time.sleep(0.2)
        self._last[username] = step
        now = clock.now()
        offset = step - int(now.timestamp()) // totp.STEP
        return totp.code(SECRETS[username], now + timedelta(seconds=offset * totp.STEP))
