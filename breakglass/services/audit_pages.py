"""Pages of the trail: read raw, and judged, all rows of a page at once where they hold, one by one where they don't.

What is done for each row is done by loops inside of C functions: the walk over a million rows is spent there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from operator import concat
from typing import Any

from django.db import connection

from breakglass.domain.audit import spelled
from breakglass.models.audit_event import TABLE

PAGES = {"sqlite": 256, "postgresql": 1024}
"""Rows read at once, a power of two: on SQLite what stays in the processor's cache, elsewhere what is worth a question."""
MOST_KNOWN = 8192

# The moment of a row in digits, as bytes: no converter of the database's may touch it. SQLite keeps a blank in the middle,
# and leaves out a fraction that is nothing.
_AT = {
    "sqlite": "CAST(at AS BLOB)",
    "postgresql": """convert_to(to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), 'UTF8')""",
}
_LONGEST_AT = len("2026-03-02 12:00:00.123456")
_AFTER_AT = b'+00:00","data":{'


def read(first: int, last: int) -> Iterator[list[Any]]:
    """Rows `first` to `last`, in order, as `judge` takes them."""
    query = (
        f"SELECT seq, previous_hash, hash, body, {_AT[connection.vendor]}, actor, actor_name, subject, tag "
        f"FROM {TABLE} WHERE seq BETWEEN %s AND %s ORDER BY seq"
    )
    # Borders at multiples of the page: each page is then one whole subtree.
    size = PAGES[connection.vendor]
    for low in range(first, last + 1, size):
        if page := _fetched(query, [low, min(low + size - 1, last)]):
            yield page


def _fetched(query: str, arguments: list[int]) -> list[Any]:
    """Past Django's own cursor on SQLite, where that takes half of the time."""
    if connection.vendor != "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(query, arguments)
            return list(cursor.fetchall())
    connection.ensure_connection()
    with connection.wrap_database_errors:
        found: list[Any] = (
            connection.connection.cursor().execute(query.replace("%s", "?"), arguments).fetchall()
        )
        return found


_ROW = sha256(b"\0")
_SEQ = b'},"seq":'


def judge(page: list[Any], previous: bytes, count: int) -> tuple[list[bytes], str]:
    """The hashes of the rows that hold, and what is wrong with the first that doesn't."""
    try:
        leaves = _all_at_once(page, previous, count)
    except (TypeError, ValueError):  # text, a number or nothing where there must be bytes, or the reverse
        leaves = None
    return _one_by_one(page, previous, count) if leaves is None else (leaves, "")


def _all_at_once(page: list[Any], previous: bytes, count: int) -> list[bytes] | None:
    """The rows' hashes, if each is plainly what it must be. None says nothing: some time without a fraction, or worse."""
    seqs, before, digests, bodies, ats, actors, names, subjects, tags = zip(*page, strict=True)
    if seqs != tuple(range(count + 1, count + 1 + len(page))):
        return None
    leaves = _hashes(bodies, previous)
    if list(digests) != leaves or list(before) != [previous, *leaves[:-1]]:
        return None
    # A row's own numbers, put between what many rows share: joined and split again, which is quicker than one by one.
    moments = (b"\n".join(ats).replace(b" ", b"T").replace(b"\n", _AFTER_AT + b"\n") + _AFTER_AT).split(b"\n")
    places = repr([*seqs])[1:-1].encode().replace(b", ", b"\n" + _SEQ).split(b"\n")
    places[0] = _SEQ + places[0]
    if not len(moments) == len(places) == len(page) or max(map(len, ats)) > _LONGEST_AT:
        return None
    starts: Iterator[Any] = map(concat, map(_BEGUN.__getitem__, zip(actors, names, strict=True)), moments)
    ends: Iterator[Any] = map(concat, places, map(_ENDED.__getitem__, zip(subjects, tags, strict=True)))
    if all(map(bytes.startswith, bodies, starts)) and all(map(bytes.endswith, bodies, ends)):
        return leaves
    return None


def _hashes(bodies: Iterable[bytes], previous: bytes) -> list[bytes]:
    """The chain's hashes (domain.audit.link). A copy of a begun hash is made quicker than a new one."""
    begun = _ROW.copy
    leaves: list[bytes] = []
    keep = leaves.append
    for body in bodies:
        row = begun()
        row.update(previous)
        row.update(body)
        previous = row.digest()
        keep(previous)
    return leaves


def _one_by_one(page: list[Any], previous: bytes, count: int) -> tuple[list[bytes], str]:
    """As `judge`; slower, and it knows which row it is."""
    leaves: list[bytes] = []
    keep = leaves.append
    seq, stated = count, b""
    try:
        for seq, stated, digest, body, at, actor, actor_name, subject, tag in page:
            count += 1
            found = sha256(b"\0" + previous + body).digest()
            start, end = _BEGUN[actor, actor_name], _ENDED[subject, tag]
            if (
                found != digest
                or stated != previous
                or seq != count
                or len(at) > _LONGEST_AT
                or not body.endswith(b'},"seq":%d%b' % (seq, end))
                or not (
                    body.startswith(b"%b%b%b" % (start, at.replace(b" ", b"T"), _AFTER_AT))
                    or body.startswith(b"%b%b.000000%b" % (start, at.replace(b" ", b"T"), _AFTER_AT))
                )
            ):
                return leaves, _diagnosis(seq, count, stated == previous)
            keep(found)
            previous = found
    except (TypeError, AttributeError):  # text, a number or nothing where there must be bytes, or the reverse
        return leaves, _diagnosis(seq, count, stated == previous)
    return leaves, ""


class _Spelled(dict[tuple[str, ...], bytes]):
    """A part of a body with two columns' words in it; many rows share them.

    Inside a JSON string a quote always follows a backslash, so the last `,"seq":` and what comes after it can't be part
    of some text in `data`.
    """

    def __init__(self, form: str) -> None:
        super().__init__()
        self._form = form

    def __missing__(self, words: tuple[str, ...]) -> bytes:
        if not all(isinstance(word, str) for word in words):
            raise TypeError("a column isn't text")
        if len(self) >= MOST_KNOWN:
            self.clear()
        self[words] = made = (self._form % tuple(spelled(word) for word in words)).encode()
        return made


_BEGUN = _Spelled('{"actor":%s,"actor_name":%s,"at":"')
_ENDED = _Spelled(',"subject":%s,"tag":%s}')


def _diagnosis(seq: int, expected: int, follows: bool) -> str:
    if seq != expected:
        return f"row {expected} is missing"
    if not follows:
        return f"row {seq} doesn't follow the row before it"
    return f"row {seq} was changed after it was written"
