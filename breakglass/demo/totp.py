"""The code that an authenticator app shows (RFC 6238: SHA-1, six digits, thirty seconds)."""

from __future__ import annotations

import base64
import hmac
from datetime import datetime

STEP = 30


def code(secret: str, now: datetime) -> str:
    """The code of the base32 `secret` at `now`."""
    counter = int(now.timestamp()) // STEP
    digest = hmac.digest(base64.b32decode(secret), counter.to_bytes(8), "sha1")
    offset = digest[-1] & 15
    return f"{(int.from_bytes(digest[offset : offset + 4]) & 0x7FFFFFFF) % 1_000_000:06d}"


def seconds_left(now: datetime) -> int:
    """How long the code of `now` is still shown."""
    return STEP - int(now.timestamp()) % STEP
