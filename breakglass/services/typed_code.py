"""One-time codes that a tired hand can copy: 50 random bits, no i, l, o or u, and those typed for 1 and 0 taken as such."""

from __future__ import annotations

import secrets

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 10
FOLDED = str.maketrans("ilo", "110", "- ")


def fresh() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def shown(digits: str) -> str:
    return f"{digits[:5]}-{digits[5:]}"


def folded(typed: str) -> str:
    """What was meant: capitals, spaces and dashes don't matter."""
    return typed.strip().lower().translate(FOLDED)
