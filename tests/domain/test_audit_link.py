"""The hash of a row holds the whole row and everything before it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from breakglass.domain import audit
from breakglass.domain.audit import GENESIS, AuditTag, Entry, canonical

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ENTRY = Entry(
    7, NOON, "grants:grant:issued", "person:1", "grant:2", {"asset": "hist-01", "n": [1, 2]}, "rita"
)


def link(previous: str, entry: Entry) -> str:
    return audit.link(previous, canonical(entry))


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
entries = st.builds(
    Entry,
    seq=st.integers(1, 10**9),
    at=st.datetimes(timezones=st.just(UTC)),
    tag=text,
    actor=text,
    subject=text,
    data=st.dictionaries(text, plain, max_size=4),
    actor_name=text,
)


@given(entries, st.sampled_from(["seq", "at", "tag", "actor", "subject", "data", "actor_name"]), st.data())
def test_any_changed_field_changes_the_hash(entry: Entry, name: str, data: st.DataObject) -> None:
    other: Any = getattr(data.draw(entries), name)
    assume(canonical(replace(entry, **{name: other})) != canonical(entry) or other != getattr(entry, name))
    assert link(GENESIS, replace(entry, **{name: other})) != link(GENESIS, entry)


@given(entries, entries)
def test_two_rows_share_a_hash_only_if_they_are_the_same(one: Entry, other: Entry) -> None:
    assume(one != other)
    assert link(GENESIS, one) != link(GENESIS, other)


@pytest.mark.parametrize(
    "changes",
    [
        # Text that is moved from one column to its neighbour.
        {"actor": "person:1 rita", "actor_name": ""},
        {"actor": "person:", "actor_name": "1rita"},
        {"subject": "grant:", "tag": "grants:grant:issued2"},
        {"data": {"asset": "hist-01", "n": [12]}},
        {"data": {"asset": "hist-01", "n": ["1", "2"]}},
        {"data": {}},
        {"at": NOON + timedelta(microseconds=1)},
    ],
)
def test_a_shifted_border_between_fields_shows(changes: dict[str, Any]) -> None:
    assert link(GENESIS, replace(ENTRY, **changes)) != link(GENESIS, ENTRY)


@given(st.text("0123456789abcdef", min_size=64, max_size=64))
def test_the_hash_hangs_on_the_row_before(previous: str) -> None:
    assume(previous != GENESIS)
    assert link(previous, ENTRY) != link(GENESIS, ENTRY)


def test_the_same_instant_in_another_zone_and_another_key_order_is_the_same_row() -> None:
    elsewhere = replace(ENTRY, at=NOON.astimezone(timezone(timedelta(hours=5, minutes=30))))
    reordered = replace(ENTRY, data={"n": [1, 2], "asset": "hist-01"})
    assert canonical(elsewhere) == canonical(ENTRY) == canonical(reordered)


def test_the_bytes_that_are_hashed_are_these() -> None:
    """A trail must be checkable by a program of somebody else's: these bytes never change silently."""
    assert canonical(ENTRY) == (
        b'{"actor":"person:1","actor_name":"rita","at":"2026-03-02T12:00:00.000000+00:00",'
        b'"data":{"asset":"hist-01","n":[1,2]},"seq":7,"subject":"grant:2","tag":"grants:grant:issued"}'
    )
    assert link(GENESIS, ENTRY) == hashlib.sha256(b"\0" + bytes(32) + canonical(ENTRY)).hexdigest()
    assert link("ab" * 32, ENTRY) == hashlib.sha256(b"\0" + b"\xab" * 32 + canonical(ENTRY)).hexdigest()


def test_tags_are_three_words_and_each_is_there_once() -> None:
    assert all(re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z_]+", tag) for tag in AuditTag)
    assert len({tag.value for tag in AuditTag}) == len(AuditTag.__members__)
