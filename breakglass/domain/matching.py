"""Number matching: the requester sees two digits, the approver picks them among three. Nobody approves in their sleep.

The numbers beside the right one are always the same for a request: whoever loads the page again learns nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

LEAST, MOST = 10, 99
CHOICES = 3
# Wrong numbers by one person for one request: after the first they type it, after the third they don't approve it.
WRONG_BEFORE_TYPING = 1
MOST_WRONG = 3


def choices(number: int, secret: bytes) -> tuple[int, ...]:
    """The right number and two others, in an order that says nothing. `secret`: of this request, and not public."""
    found = [number]
    for other in _stream(secret):
        if len(found) == CHOICES:
            break
        # Not one digit away: a slip of the eye isn't a match.
        if all(other // 10 != one // 10 and other % 10 != one % 10 for one in found):
            found.append(other)
    return tuple(sorted(found, key=lambda one: hashlib.sha256(secret + bytes([one])).digest()))


def _stream(secret: bytes) -> Iterator[int]:
    block = secret
    while True:
        block = hashlib.sha256(b"decoys" + block).digest()
        yield from (LEAST + byte % (MOST - LEAST + 1) for byte in block)
